"""Grids of other machines, versions or models side by side, as one page and as Markdown.

liger-benchmark compare FOLDER FOLDER… [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from liger_benchmark.analysis.grids_side_by_side import Result, facts, results, unique_names
from liger_benchmark.analysis.tables import Analysis, NotOneExperiment, analyse, read_experiment
from liger_benchmark.files import write_text
from liger_benchmark.report.markdown import markdown_table
from liger_benchmark.report.markup import (
    Cell,
    Column,
    arm_cell,
    escape,
    integer_cell,
    paragraph,
    table,
)
from liger_benchmark.report.outcomes import gain_text, no_number
from liger_benchmark.report.page import baseline_in
from liger_benchmark.report.result_folder import simple_page
from liger_benchmark.report.table import Table
from liger_benchmark.run import UnreadableRun
from liger_benchmark.wording import decimals_for, gibibytes, known, number, percent_range

TITLE = "Liger Kernel benchmarks side by side"
METHOD = (
    "Below each number: the gain over the grid's own baseline, with its 95% interval. Nothing is "
    "computed across grids, since they differ in more than one respect."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its Markdown, and print both paths.

    Returns the exit status: 1, after one line on standard error, if a folder cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="liger-benchmark compare",
        description="Put grids of different machines, versions or models side by side.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="holds runs/")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        default=Path("comparison.html"),
        help="the page; the Markdown is written beside it (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        grids = read_grids(options.folders)
        pages = {".html": side_by_side_page(grids), ".md": side_by_side_markdown(grids)}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        for suffix, text in pages.items():
            write_text(options.output.with_suffix(suffix), text)
    except (NotOneExperiment, UnreadableRun, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    for suffix in reversed(pages):
        print(options.output.with_suffix(suffix))
    return 0


def read_grids(folders: Sequence[Path]) -> dict[str, Analysis]:
    """The grid of each folder, with its own baseline, by the folder's name.

    Raises:
        NotOneExperiment: if fewer than two folders are named, or one holds no grid.
        UnreadableRun: if a run's folder is incomplete or damaged.
    """
    if len(folders) < 2:
        raise NotOneExperiment("name two result folders or more")
    grids = []
    for folder in folders:
        runs = read_experiment([folder])
        grids.append(analyse(runs, baseline_in(folder, runs)))
    return dict(zip(unique_names([f.resolve().name for f in folders]), grids, strict=True))


def side_by_side_page(grids: Mapping[str, Analysis]) -> str:
    """The page, which stands alone and fetches nothing."""
    headlines = "".join(
        f"<li><strong>{escape(name)}</strong>: {escape(grid.headline)}</li>"
        for name, grid in grids.items()
    )
    tables = "".join(table(t.caption, t.columns, t.rows, "dense") for t in _tables(grids))
    return simple_page(TITLE, f"<ul>{headlines}</ul>{tables}{paragraph(METHOD, 'note')}")


def side_by_side_markdown(grids: Mapping[str, Analysis]) -> str:
    """The same in GitHub's Markdown."""
    headlines = "\n".join(f"* **{name}**: {grid.headline}" for name, grid in grids.items())
    tables = [
        f"## {t.caption}\n\n{markdown_table(t.columns, t.rows).rstrip()}" for t in _tables(grids)
    ]
    return "\n\n".join([f"# {TITLE}", headlines, *tables, METHOD]) + "\n"


def _tables(grids: Mapping[str, Analysis]) -> list[Table]:
    of_cells = results(grids)
    head = [Column("Batch size", True), Column("Arm")]
    per_grid = [Column(name, True) for name in grids]
    measured = []
    for caption, column, gain in (
        ("Tokens per second", "tokens_per_second", "speedup"),
        ("Peak memory in GiB", "peak_memory_MB", "memory_saving"),
    ):
        rows = [
            [integer_cell(size), arm_cell(arm), *(_cell(r, column, gain) for r in found.values())]
            for (size, arm), found in of_cells.items()
        ]
        measured.append(Table(caption, [*head, *per_grid], rows))
    differences = [
        [Cell(fact), *(Cell(text) for text in texts.values())]
        for fact, texts in facts(grids).items()
    ]
    columns = [Column("What"), *(Column(name) for name in grids)]
    return [*measured, Table("What was measured where", columns, differences)]


def _cell(result: Result, column: str, gain: str) -> Cell:
    cell = result.cell
    if cell is None or not known(cell[column]):
        return Cell(no_number(cell), is_number=True)
    if result.is_trial:
        return Cell("a trial", is_number=True)
    value = float(cell[column])
    text = number(value) if gain == "speedup" else gibibytes(value)
    return Cell(text, _gain(result, gain), value, is_number=True)


def _gain(result: Result, gain: str) -> str:
    if result.is_baseline:
        return "baseline"
    pair = result.pair
    if pair is None or not known(pair[f"{gain}_percent"]):
        return "not compared"
    low, high = pair[f"{gain}_low"], pair[f"{gain}_high"]
    interval = percent_range(low, high, decimals_for(low, high)) if known(low) else "one repeat"
    return f"{gain_text(pair, gain)} ({interval})"
