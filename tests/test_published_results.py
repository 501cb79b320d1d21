"""The published results' summaries say what their runs give."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pandas as pd
import pytest

from liger_benchmark.analysis.tables import Analysis, analyse, read_experiment

RESULTS = Path(__file__).parents[1] / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/report.md"))
every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)

# A summary's columns, and what they hold of a cell of the analysis, as the summary writes it.
COLUMNS = {
    "Tokens/s": lambda cell: f"{cell['tokens_per_second']:,.0f}",
    "Loop tokens/s": lambda cell: f"{cell['loop_tokens_per_second']:,.0f}",
    "Peak reserved GiB": lambda cell: f"{cell['peak_memory_MB'] / 1024:.1f}",
    "Reserved GiB": lambda cell: f"{cell['peak_memory_MB'] / 1024:.1f}",
    "Allocated GiB": lambda cell: f"{cell['allocated_memory_MB'] / 1024:.1f}",
    "mJ/token": lambda cell: f"{1000 * cell['energy_J_per_token']:.1f}",
}
# Columns that name the cell, and those that compare it with another one.
NAMES = ("Batch size", "Arm")
COMPARISONS = ("Speed-up (95% interval)", "Saving")
OUT_OF_MEMORY, INVALID = "out of memory", "invalid"


@functools.cache
def analysis_of(folder: Path) -> Analysis:
    return analyse(read_experiment([folder]))


def first_table(folder: Path) -> list[dict[str, str]]:
    """The rows of the summary's first table, by the columns' names."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table
    names, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def cell_of(row: dict[str, str], cells: pd.DataFrame) -> pd.Series:
    """The analysis' cell that a summary's row is about."""
    arm = re.sub(r" \(\d+ of \d+ runs.*\)", "", row["Arm"]).replace(", without ", " + no ")
    found = cells[cells["arm"] == arm]
    if "Batch size" in row:
        found = found[found["per_device_train_batch_size"] == int(row["Batch size"])]
    assert len(found) == 1, row
    return found.iloc[0]


def test_there_are_published_results() -> None:
    assert len(FOLDERS) >= 7


@every_folder
def test_a_summarys_title_is_its_pages_headline(folder: Path) -> None:
    title = (folder / "report.md").read_text(encoding="utf-8").splitlines()[0]
    assert title == f"# {analysis_of(folder).headline}"


@every_folder
def test_a_summarys_first_table_has_a_row_for_each_cell(folder: Path) -> None:
    cells = analysis_of(folder).cells
    rows = [cell_of(row, cells).name for row in first_table(folder)]
    assert sorted(rows) == sorted(cells.index)


@every_folder
def test_a_summarys_first_table_says_what_the_runs_give(folder: Path) -> None:
    cells = analysis_of(folder).cells
    n_compared = 0
    for row in first_table(folder):
        assert row.keys() <= {*NAMES, *COLUMNS, *COMPARISONS}
        cell = cell_of(row, cells)
        assert (row["Tokens/s"] == INVALID) == bool(cell["invalid"]), row
        assert (row["Tokens/s"] == OUT_OF_MEMORY) == bool(cell["n_out_of_memory"]), row
        if row["Tokens/s"] in (INVALID, OUT_OF_MEMORY):
            continue
        for name in row.keys() & COLUMNS.keys():
            assert row[name] == COLUMNS[name](cell), (name, row)
            n_compared += 1
    assert n_compared >= 2 * 4


@every_folder
def test_the_runs_that_failed_are_said_beside_their_arm(folder: Path) -> None:
    cells = analysis_of(folder).cells
    for row in first_table(folder):
        cell = cell_of(row, cells)
        failed = re.search(r"\((\d+) of (\d+) runs; the other failed\)", row["Arm"])
        said = (int(failed[1]), int(failed[2])) if failed else (cell["n_runs"], cell["n_runs"])
        assert cell["n_failed"] == said[1] - said[0], row
        assert cell["n_runs"] == said[1], row
