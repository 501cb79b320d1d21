"""Runs that disagree are told of as soon as there are two; other rows stop the grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import grids
from support.runs import make_run
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.flyte import conditions, local_run
from liger_benchmark.flyte.disagreement import compare_with_others
from liger_benchmark.flyte.endings import own_error
from liger_benchmark.flyte.local_run import GridRun
from liger_benchmark.run import Run

Fault = Callable[[Run], Any]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    return tmp_path / "build"


def said(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> tuple[list[str], GridRun]:
    """The lines that are printed when the runs of a grid end one after the other."""
    grid = GridRun([run.training_args for run in runs])
    for run in runs:
        grid.ended.append(run)
        compare_with_others(grid, run)
    return capsys.readouterr().out.splitlines(), grid


@pytest.mark.parametrize("name", grids.ALL)
def test_nothing_is_said_of_a_healthy_grid(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines, grid = said(grids.ALL[name](), capsys)
    assert not lines and not grid.stopped


def other_losses(run: Run) -> None:
    run.history["loss"] *= 1.1


def other_start(run: Run) -> None:
    run.record["weights"]["checksum"] = "another"


def other_gradients(run: Run) -> None:
    run.record["gradients"]["lm_head.weight"] = [25.0, 19.6, -28.4, 23.4, 32.0]


def other_rows(run: Run) -> None:
    run.record["dataset"]["checksum"] = "another"


def other_batches(run: Run) -> None:
    run.record["batches"]["checksum"] = "another"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (other_losses, "its losses differ from the baseline's by up to 10%"),
        (other_start, "it started from other weights than the baseline"),
        (other_gradients, "its gradients at the first step differ from the baseline's"),
    ],
)
def test_a_disagreement_is_told_at_the_second_run_and_the_grid_goes_on(
    fault: Fault, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = grids.one_batch_size()
    assert [run.training_args.arm for run in runs[:2]] == ["Liger", "vanilla"]
    fault(runs[0])
    lines, grid = said(runs[:2], capsys)
    assert len(lines) == 1 and not grid.stopped
    assert (
        lines[0]
        .strip()
        .startswith(
            "warning: phi3-mini bs=16 liger run=1, beside phi3-mini bs=16 vanilla run=1: " + words
        )
    )
    assert lines[0].endswith(": Liger at batch size 16 is invalid")
    assert len(said(runs, capsys)[0]) == 1  # not once more with every further run


@pytest.mark.parametrize("fault", [other_rows, other_batches])
def test_other_rows_stop_the_grid(fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    runs = grids.one_batch_size()
    fault(runs[0])
    lines, grid = said(runs, capsys)
    assert len(lines) == 1 and grid.stopped in lines[0]
    assert "bs=16 liger run=1, beside phi3-mini bs=16 vanilla run=1: it " in grid.stopped


def test_other_rows_in_another_repeat_stop_the_grid(capsys: pytest.CaptureFixture[str]) -> None:
    runs = grids.one_batch_size()
    for run in runs[2:4]:
        other_rows(run)
    lines, grid = said(runs, capsys)
    assert grid.stopped.startswith(
        "phi3-mini bs=16 liger run=2, beside phi3-mini bs=16 vanilla run=1: it was given other "
        "rows than vanilla's repeat 1"
    )


def test_other_rows_in_another_environment_cost_that_arm_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [
        make_run("vanilla", 16),
        make_run("old", 16, environment="old", environments={"old": "old.txt"}),
    ]
    other_rows(runs[1])
    lines, grid = said(runs, capsys)
    assert not grid.stopped
    assert lines[0].strip().startswith("warning: ") and "other rows than the baseline" in lines[0]


@pytest.fixture
def varying(build: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Conditions that train nothing, of which every one has other rows; which ones were trained."""
    trained: list[str] = []

    def run_condition(arguments: TrainingArguments, *folders: Path, **_: Any) -> Run:
        trained.append(arguments.condition)
        run = make_run(arguments.arm, arguments.per_device_train_batch_size, arguments.run, steps=3)
        run.record["dataset"]["checksum"] = str(len(trained))
        return Run(arguments, run.outcome, run.history, run.record)

    monkeypatch.setattr(conditions, "run_condition", run_condition)
    monkeypatch.setattr(conditions, "_dry_pass", lambda *_: None)
    return trained


@pytest.mark.parametrize("n_runs", [2, 12])
def test_a_stopped_grid_keeps_its_runs_and_leaves_a_page(
    n_runs: int, varying: list[str], build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where fewer than a tenth of the conditions have a result, which Flyte refuses."""
    grid = ExperimentArguments(use_liger=[True, False], per_device_train_batch_size=[1])
    try:
        workflow.benchmarking_experiment(experiment_args=grid, training_args=TINY, n_runs=n_runs)
        message = ""
    except Exception as error:
        message = own_error(error) or ""
    assert message.startswith("not run, since the grid was stopped: ") == (n_runs == 12)
    assert len(varying) == 2 == len(list((build / "runs").iterdir()))
    printed = capsys.readouterr().out
    [line] = [line for line in printed.splitlines() if "stopped: " in line and "Finished" in line]
    assert "run=1, beside phi3-tiny bs=1 vanilla run=1: it was given other rows" in line
    [page] = build.glob("results/*-*/report.html")
    assert str(page) in printed
    assert "it was given other rows than the baseline" in page.read_text(encoding="utf-8")
    if n_runs == 2:
        assert "not run, since the grid was stopped" in page.read_text(encoding="utf-8")
