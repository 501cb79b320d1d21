"""The end of a local run in the terminal: the headline, the table, where the page is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.agreement import gradients_line, liger_line, losses_line
from liger_benchmark.report.data_line import data_line
from liger_benchmark.report.outcomes import gain_text, no_number
from liger_benchmark.report.progress import replace_unprintable
from liger_benchmark.report.recommendation import recommendation
from liger_benchmark.wording import decimals_for, gibibytes, known, number, percent_range


def print_summary(analysis: Analysis, report_path: str | Path) -> None:
    """Print headline, warnings, table, data and advice, then the page's path on its own line.

    A trial has no table: its timings mean nothing, which the headline says. What it shows is
    printed instead: whether losses and gradients agree, and where Liger was active.
    """
    replace_unprintable()
    console = Console(file=sys.stdout, highlight=False)
    console.print(Text(analysis.headline, style="bold"))
    for caveat in analysis.caveats:
        if caveat.kind != "trial":
            console.print(Text(f"! {caveat.text}", style="yellow"))
    if analysis.hardware.trial:
        for line in (losses_line(analysis), gradients_line(analysis), liger_line(analysis)):
            console.print(Text(line))
    else:
        console.print(_table(analysis))
        for line in _claims(analysis):
            console.print(Text(line))
    console.print(Text(data_line(analysis.runs)))
    if advice := recommendation(analysis):
        console.print(Text(advice.text))
        for line in (*advice.code, advice.note):
            console.print(Text(line))
    # Not through rich, which would wrap a long path: it is there to be copied.
    print(report_path, flush=True)


def _claims(analysis: Analysis) -> list[str]:
    """The verdict and a line for each of the blog's claims, or one that says why it has none."""
    if reason := analysis.claims[0].not_tested_because:
        return [f"Published claims: not tested; {reason}"]
    lines = [f"  {claim.name}: {claim.judgement}; {claim.measured}" for claim in analysis.claims]
    return [f"Published claims: {analysis.verdict}", *lines]


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
            row += [Text(_gain(pair, "speedup"))] if several else []
            row += [Text(_mean(cell, "peak_memory_MB", gibibytes))]
            row += [Text(_gain(pair, "memory_saving"))] if several else []
            table.add_row(*row, end_section=arm == analysis.arms[-1])
    if several:
        table.caption = "Below a speed-up or saving: its 95% interval."
    return table


def _gain(pair: Mapping[str, Any] | None, name: str) -> str:
    """The gain, and its interval on a line below it."""
    text = gain_text(pair, name)
    if pair is None or not known(pair[f"{name}_low"]):
        return text
    low, high = pair[f"{name}_low"], pair[f"{name}_high"]
    return f"{text}\n{percent_range(low, high, decimals_for(low, high))}"


def _row(frame: pd.DataFrame, size: int, arm: str) -> Mapping[str, Any] | None:
    return frame.loc[(size, arm)] if (size, arm) in frame.index else None


def _mean(cell: Mapping[str, Any] | None, column: str, write: Callable[[float], str]) -> str:
    if cell is None or not known(cell[column]):
        return no_number(cell)
    return write(cell[column])
