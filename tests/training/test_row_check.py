"""A dataset is checked once it is there, before a model is downloaded for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import command_line, local_run
from liger_benchmark.flyte.local_run import checked_rows
from liger_benchmark.sources.fetch import fetch_dataset
from liger_benchmark.training.row_check import check_builtin_rows
from liger_benchmark.validation import InvalidInput


def fetched(rows: list[dict[str, object]], folder: Path) -> tuple[Path, TrainingArguments]:
    """The rows as a file, fetched as a local run does, and arguments that name it."""
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments = dataclasses.replace(TINY, dataset_name=str(file), dataset_format="auto")
    return fetch_dataset(str(file), folder / "fetched"), arguments


@pytest.mark.parametrize(
    ("row", "changes", "words"),
    [
        (
            {"query": "a", "response": "b"},
            {},
            "cannot tell.*; set dataset_format.*completion: response}",
        ),
        ({"prompt": "a", "completion": "b"}, {"dataset_format": "text"}, "has no column 'text'"),
        ({"prompt": "a", "completion": "b"}, {"columns": {"prompt": "promt"}}, "not a column"),
        ({"text": "no response in it"}, {}, "0 rows whose text holds"),
    ],
)
def test_what_no_model_is_needed_for_is_refused_as_the_dataset_is_there(
    row: dict[str, object], changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    folder, arguments = fetched([row] * 4, tmp_path)
    grid = [dataclasses.replace(arguments, **changes)]  # type: ignore[arg-type]
    with local_run.experiment(grid), pytest.raises(InvalidInput, match=words):
        checked_rows(folder)
    # A pod knows its own condition alone.
    assert checked_rows(folder) == folder


def test_rows_that_fit_are_passed_on(tmp_path: Path) -> None:
    folder, arguments = fetched([{"prompt": "a", "completion": "b"}] * 4, tmp_path)
    with local_run.experiment([arguments]):
        assert checked_rows(folder) == folder


def test_a_built_in_dataset_is_checked_before_a_cluster_is_given_anything() -> None:
    check_builtin_rows([dataclasses.replace(TINY, dataset_name="org/rows")])
    given = {"training_args": {"dataset_name": "builtin:chat"}}
    with pytest.raises(InvalidInput, match='"messages" would fit'):
        command_line.check(given, on_cluster=True)
