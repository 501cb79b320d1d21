"""`liger-benchmark quick`: which inputs file it writes, and how it runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from liger_benchmark import quick
from liger_benchmark.__main__ import main
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.sources.fetch import builtin_rows
from liger_benchmark.training.row_formats import format_of

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[list[str], Path]]:
    calls = []

    class Child:
        def __init__(self, command: list[str], cwd: Path) -> None:
            calls.append((command, cwd))

        def wait(self) -> int:
            return 3

    monkeypatch.setattr(quick.subprocess, "Popen", Child)
    monkeypatch.setattr(quick.folders, "BUILD", tmp_path / "build")
    return calls


def test_on_a_gpu_the_settings_are_those_of_the_example() -> None:
    example = yaml.safe_load((PROJECT / "examples" / "quick.yaml").read_text(encoding="utf-8"))
    inputs = quick.quick_inputs("builtin:phi3-mini", "builtin:instructions", on_gpu=True)
    assert inputs == example


def test_it_writes_an_inputs_file_says_where_and_runs_it_as_make_run_does(
    started: list[tuple[list[str], Path]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(quick, "visible_gpu", lambda: None)
    arguments = ["quick", "builtin:llama-tiny", "--dataset", "builtin:chat"]
    assert main([*arguments, "--dataset-format", "messages", "--batch-size", "2"]) == 3
    [(command, cwd)] = started
    path = Path(command[-1])
    assert cwd == PROJECT
    assert Path(command[0]) == Path(sys.executable).with_name("pyflyte")
    assert command[1:-1] == [
        *("run", "liger_kernel_finetuning.py", "benchmarking_experiment", "--inputs-file")
    ]
    assert str(path) in capsys.readouterr().out
    inputs = read_inputs_file(path)
    assert inputs.n_runs == 2 and len(inputs.grid) == 4
    first = inputs.grid[0]
    assert first.model_name == "builtin:llama-tiny" and first.dataset_format == "messages"
    assert not first.bf16 and first.per_device_train_batch_size == 2


def test_the_format_of_the_rows_need_not_be_told(started: Any) -> None:
    assert main(["quick", "builtin:llama-tiny", "--dataset", "builtin:chat"]) == 3
    first = read_inputs_file(Path(started[0][0][-1])).grid[0]
    rows = datasets.Dataset.from_list(builtin_rows(first.dataset_name))
    assert first.dataset_format == "auto" and format_of(rows, first) == "messages"


def test_a_folder_is_named_by_its_absolute_path(
    started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    monkeypatch.chdir(tmp_path)
    inputs = quick.quick_inputs("org/model", "rows", on_gpu=True)
    assert inputs["training_args"]["dataset_name"] == str(tmp_path / "rows")
    assert inputs["training_args"]["model_name"] == "org/model"
