"""A dataset's columns and rows are checked by themselves, before a model is downloaded for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.sources import fetch
from liger_benchmark.training.row_formats import format_of, usable_rows

if TYPE_CHECKING:
    import datasets


def check_rows(dataset_folder: Path, grid: Sequence[TrainingArguments]) -> None:
    """Refuse a fetched dataset whose columns or rows are not those that the grid asks for.

    What takes the model's tokenizer to tell is left to the dry pass.

    Raises:
        InvalidInput: as `format_of` and `usable_rows`.
    """
    import datasets

    _check(datasets.load_from_disk(str(dataset_folder)), grid)


def check_builtin_rows(grid: Sequence[TrainingArguments]) -> None:
    """The same for a built-in dataset, which is not fetched for it; others are not looked at.

    Raises:
        InvalidInput: as `format_of` and `usable_rows`.
    """
    import datasets

    name = grid[0].dataset_name
    if fetch.origin_of(name, "dataset") == "builtin":
        _check(datasets.Dataset.from_list(fetch.builtin_rows(name)), grid)


def _check(rows: datasets.Dataset, grid: Sequence[TrainingArguments]) -> None:
    asked = {(each.dataset_format, *sorted(each.columns.items())): each for each in grid}
    for arguments in asked.values():
        found = format_of(rows, arguments)
        usable_rows(rows, found, arguments.dataset_name, arguments.columns)
