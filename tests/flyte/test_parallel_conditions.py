"""Conditions of a local grid that run at the same time, each on GPUs of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.flyte import conditions, local_run, side_by_side
from liger_benchmark.run import COMPLETED, Run, read_run
from liger_benchmark.training.isolated_process import ChildFailed

TWO_AT_A_TIME = replace(TINY, parallel_conditions=2)
TWO_SIZES = ExperimentArguments(use_liger=[False, True], per_device_train_batch_size=[1, 2])
ROWS = [{"step": 1, "loss": 2.0, "avg_tokens_per_second": 10.0}]
Trained = Callable[..., Run]


@pytest.fixture(autouse=True)
def build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    # What is trained is a stand-in, so neither a check of the model nor a page is needed.
    monkeypatch.setattr(conditions, "check_and_announce", lambda *_: None)
    monkeypatch.setattr(conditions, "publish_so_far", lambda *_: None)
    return tmp_path / "build"


def completed(arguments: TrainingArguments) -> Run:
    return Run(arguments, COMPLETED, pd.DataFrame(ROWS), {"phases": {}})


def run_grid(
    grid: list[TrainingArguments],
    dataset_folder: Path,
    model_folder: Path,
    train: Trained,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Any]:
    monkeypatch.setattr(conditions, "run_condition", train)
    return list(
        workflow.run_cached_training_benchmark(
            training_args_list=grid,
            dataset_cache_dir=str(dataset_folder),
            model_cache_dir=str(model_folder),
        )
    )


def test_two_conditions_run_at_the_same_time_and_those_that_are_compared_in_turns(
    dataset_folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = expand_grid(TWO_SIZES, TWO_AT_A_TIME, n_runs=2)
    both_run = threading.Barrier(2, timeout=60)
    began: dict[str, list[TrainingArguments]] = {}

    def train(arguments: TrainingArguments, *_: Path, **__: Any) -> Run:
        began.setdefault(threading.current_thread().name, []).append(arguments)
        both_run.wait()  # breaks if the other lane has no condition running
        return completed(arguments)

    results = run_grid(grid, dataset_folder, model_folder, train, monkeypatch)
    assert [result.training_args for result in results] == grid
    by_size = {tuple(a.per_device_train_batch_size for a in lane) for lane in began.values()}
    assert by_size == {(1,) * 4, (2,) * 4}
    for lane in began.values():
        assert lane == [a for a in grid if a in lane]


def test_each_lane_has_gpus_of_its_own(
    dataset_folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = expand_grid(TWO_SIZES, replace(TWO_AT_A_TIME, n_gpus=2), n_runs=1)
    monkeypatch.setattr(side_by_side, "visible_devices", lambda: ["4", "5", "6", "7", "8"])
    given: dict[int, set[tuple[str, ...]]] = {}

    def train(arguments: TrainingArguments, *_: Path, devices: Sequence[str], **__: Any) -> Run:
        given.setdefault(arguments.per_device_train_batch_size, set()).add(tuple(devices))
        return completed(arguments)

    run_grid(grid, dataset_folder, model_folder, train, monkeypatch)
    assert given == {1: {("4", "5")}, 2: {("6", "7")}}


def test_a_condition_that_fails_costs_no_other_and_is_tried_once(
    build_folder: Path, dataset_folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = expand_grid(TWO_SIZES, TWO_AT_A_TIME, n_runs=1)
    tried = []

    def train(arguments: TrainingArguments, *_: Path, **__: Any) -> Run:
        tried.append(arguments.slug)
        if arguments == grid[0]:
            raise ChildFailed({"type": "ValueError", "message": "no", "traceback": ""})
        return completed(arguments)

    results = run_grid(grid, dataset_folder, model_folder, train, monkeypatch)
    assert [result is None for result in results] == [True, False, False, False]
    assert sorted(tried) == sorted(arguments.slug for arguments in grid)
    [failed] = (build_folder / "failed").iterdir()
    assert read_run(failed).record["error"]["message"] == "no"


def test_an_interrupt_ends_the_conditions_that_run_and_begins_no_other(
    build_folder: Path,
    dataset_folder: Path,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grid = expand_grid(TWO_SIZES, TWO_AT_A_TIME, n_runs=2)
    interrupted, tried = threading.Event(), []

    def train(arguments: TrainingArguments, *_: Path, **__: Any) -> Run:
        tried.append(arguments.slug)
        if arguments.slug == grid[0].slug:
            return completed(arguments)
        assert interrupted.wait(60)
        raise ChildFailed({"type": "ProcessDied", "message": "killed", "traceback": ""})

    def result(self: Any, arguments: TrainingArguments) -> Any:
        if arguments == grid[1]:
            raise KeyboardInterrupt
        return waits(self, arguments)

    waits = side_by_side.SideBySide.result
    monkeypatch.setattr(side_by_side.SideBySide, "result", result)
    monkeypatch.setattr(side_by_side, "kill_running", interrupted.set)
    with pytest.raises(KeyboardInterrupt):
        run_grid(grid, dataset_folder, model_folder, train, monkeypatch)
    assert set(tried) <= {grid[0].slug, grid[1].slug, grid[2].slug}
    assert not (build_folder / "failed").exists()
    assert "Interrupted: 1 of 8 runs are kept" in capsys.readouterr().out


def test_results_are_those_of_conditions_that_take_turns(
    dataset_folder: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2])

    def losses(training_args: TrainingArguments) -> list[list[float]]:
        monkeypatch.setattr(local_run, "BUILD", tmp_path / str(training_args.parallel_conditions))
        results, _ = workflow.benchmarking_experiment(
            experiment_args=sizes, training_args=training_args, n_runs=2
        )
        histories = [pd.read_csv(result.training_history.path) for result in results]
        return [list(history["loss"]) for history in histories]

    assert losses(TWO_AT_A_TIME) == losses(TINY)
    [page] = tmp_path.glob("2/results/*-*/report.html")
    assert "2 conditions ran at the same time" in page.read_text(encoding="utf-8")
