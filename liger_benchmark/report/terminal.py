"""The end of a local run in the terminal: the headline, the table, where the page is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import BATCH_SIZE
from liger_benchmark.report.outcomes import gain_text, no_number
from liger_benchmark.report.progress import replace_unprintable
from liger_benchmark.wording import gibibytes, known, number


def print_summary(analysis: Analysis, report_path: str | Path) -> None:
    """Print headline, warnings, table and verdict, then the page's path on a line of its own."""
    replace_unprintable()
    console = Console(file=sys.stdout, highlight=False)
    console.print(Text(analysis.headline, style="bold"))
    for warning in analysis.warnings:
        console.print(Text(f"! {warning}", style="yellow"))
    console.print(_table(analysis))
    console.print(Text(f"Published claims: {analysis.verdict}"))
    for claim in analysis.claims:
        console.print(Text(f"  {claim.name}: {claim.judgement}; {claim.measured}"))
    # Not through rich, which would wrap a long path: it is there to be copied.
    print(report_path, flush=True)


def _table(analysis: Analysis) -> Table:
    cells = analysis.cells.set_index([BATCH_SIZE, "arm"])
    comparison = analysis.comparison.set_index([BATCH_SIZE, "arm"])
    several = len(analysis.arms) > 1
    table = Table(pad_edge=False)
    headings = ["Tokens/s", *(["Speed-up"] if several else [])]
    headings += ["GiB", *(["Saving"] if several else [])]
    table.add_column("Batch size", justify="right")
    table.add_column("Arm", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for size in sorted(analysis.cells[BATCH_SIZE].unique()):
        for arm in analysis.arms:
            cell, pair = _row(cells, size, arm), _row(comparison, size, arm)
            row = [Text(str(size)), Text(arm), Text(_mean(cell, "tokens_per_second", number))]
            row += [Text(gain_text(pair, "speedup"))] if several else []
            row += [Text(_mean(cell, "peak_memory_MB", gibibytes))]
            row += [Text(gain_text(pair, "memory_saving"))] if several else []
            table.add_row(*row, end_section=arm == analysis.arms[-1])
    return table


def _row(frame: pd.DataFrame, size: int, arm: str) -> pd.Series | None:
    return frame.loc[(size, arm)] if (size, arm) in frame.index else None


def _mean(cell: pd.Series | None, column: str, write: Callable[[float], str]) -> str:
    if cell is None or not known(cell[column]):
        return no_number(cell)
    return write(cell[column])
