"""The end of a local run in the terminal: the headline, the table, where the page is."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from liger_benchmark.analysis import BATCH_SIZE, Analysis
from liger_benchmark.wording import (
    NO_VALUE,
    baseline_first,
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
    comparison = analysis.comparison.set_index(BATCH_SIZE)
    arms = baseline_first(analysis.cells["arm"])
    both = not comparison.empty
    table = Table(pad_edge=False)
    headings = ["Batch size", *(f"{arm} tokens/s" for arm in arms)]
    headings += ["Speed-up"] if both else []
    headings += [f"{arm} GiB" for arm in arms]
    headings += ["Saving"] if both else []
    for heading in headings:
        table.add_column(heading, justify="right")
    for size in sorted(analysis.cells[BATCH_SIZE].unique()):
        row = [str(size)]
        row += [_mean(cells, (size, arm), "tokens_per_second") for arm in arms]
        row += [_gain(comparison.loc[size], "speedup_percent")] if both else []
        row += [_mean(cells, (size, arm), "peak_memory_MB") for arm in arms]
        row += [_gain(comparison.loc[size], "memory_saving_percent")] if both else []
        table.add_row(*row)
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


def _gain(pair: pd.Series, column: str) -> str:
    return f"{signed(pair[column])} %" if known(pair[column]) else NO_VALUE
