"""The end of a local run in the terminal: the headline, the table, where the page is."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import BATCH_SIZE
from liger_benchmark.wording import (
    NO_VALUE,
    gibibytes,
    known,
    number,
    signed,
)


def print_summary(analysis: Analysis, report_path: str | Path) -> None:
    """Print headline, warnings, table and verdict, then the page's path on a line of its own."""
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
            key = (size, arm)
            row = [Text(str(size)), Text(arm), Text(_mean(cells, key, "tokens_per_second"))]
            row += [Text(_gain(comparison, key, "speedup_percent"))] if several else []
            row += [Text(_mean(cells, key, "peak_memory_MB"))]
            row += [Text(_gain(comparison, key, "memory_saving_percent"))] if several else []
            table.add_row(*row, end_section=arm == analysis.arms[-1])
    return table


def _mean(cells: pd.DataFrame, key: tuple[int, str], column: str) -> str:
    if key not in cells.index:
        return "not run"
    cell = cells.loc[key]
    if known(cell[column]):
        value = cell[column]
        return number(value) if column == "tokens_per_second" else gibibytes(value)
    if cell["n_out_of_memory"]:
        return "OOM"
    return "failed" if cell["n_failed"] else NO_VALUE


def _gain(comparison: pd.DataFrame, key: tuple[int, str], column: str) -> str:
    if key not in comparison.index:
        return "baseline" if column.startswith("speedup") else NO_VALUE
    value = comparison.loc[key, column]
    return f"{signed(value)} %" if known(value) else NO_VALUE
