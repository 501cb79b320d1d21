"""What a condition loses while W&B cannot be used: its tracking, and no measurement."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import wandb
from support.tracked import (
    ROWS,
    TRACKED,
    OnlineRun,
    completes,
    is_interrupted,
    record_of,
)
from support.wandb_files import tracked_runs
from wandb.errors import CommError, UsageError

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import local_run, tracking
from liger_benchmark.flyte.tracking import TrackingRefused
from liger_benchmark.run import Run


@pytest.mark.parametrize("call", ["log", "finish"])
def test_an_error_of_wandbs_costs_a_line_and_no_measurement(
    train: Any,
    online: OnlineRun,
    call: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise CommError("the line\nis dead")

    monkeypatch.setattr(online, call, breaks)
    result = train()
    assert result.outcome == "completed"
    assert len(pd.read_csv(result.training_history.path)) == len(ROWS)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert warnings == ["W&B: CommError: the line is dead"]
    if call == "log":  # the record is written before the run is closed
        assert record_of(result)["wandb_error"] == "CommError: the line is dead"


def test_a_wandb_process_that_dies_costs_its_condition_the_tracking_and_the_next_one_nothing(
    train: Any, wandb_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def kills_wandb(arguments: TrainingArguments) -> Run:
        for process in psutil.Process().children():
            if process.name().startswith("wandb-core"):
                process.kill()
                process.wait(10)
        tracking.log_row(ROWS[-1])
        return completes(arguments)

    result = train(kills_wandb)
    assert result.outcome == "completed"
    assert len(pd.read_csv(result.training_history.path)) == len(ROWS)
    error = record_of(result)["wandb_error"]
    assert len([line for line in capsys.readouterr().err.splitlines() if "W&B: " in line]) == 1
    assert "Connection" in error or "Broken" in error
    assert wandb.run is None
    following = train(arguments=dataclasses.replace(TRACKED, use_liger=True))
    assert not {"wandb_error", "wandb_url"} & record_of(following).keys()
    whole = [run for run in tracked_runs(wandb_folder) if run.exit_code == 0]
    assert [run.config["use_liger"] for run in whole] == [True]


def test_without_a_wandb_that_answers_the_condition_is_trained_untracked(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(**_: Any) -> None:
        raise CommError("no route to host")

    monkeypatch.setattr(wandb, "init", unreachable)
    result = train()
    assert result.outcome == "completed"
    problem = "the run is not tracked: CommError: no route to host"
    assert f"W&B: {problem}\n" in capsys.readouterr().err
    assert record_of(result)["wandb_error"] == problem


def test_a_wandb_that_cannot_be_reached_costs_one_wait_and_one_line_in_a_grid(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[str] = []

    def unreachable(**options: Any) -> None:
        waits.append(options["name"])
        raise CommError("no route to host")

    monkeypatch.setattr(wandb, "init", unreachable)
    grid = [dataclasses.replace(TRACKED, run=run) for run in (1, 2, 3)]
    with local_run.grid_run(grid):
        results = [train(arguments=arguments) for arguments in grid]
    problem = "the run is not tracked: CommError: no route to host"
    assert len(waits) == 1
    assert capsys.readouterr().err.count(problem) == 1
    assert {record_of(result)["wandb_error"] for result in results} == {problem}


def test_a_missing_key_is_said_before_anything_is_trained(
    train: Any, wandb_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(**_: Any) -> None:
        raise UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuses)
    with pytest.raises(TrackingRefused, match=r"(?s)wandb login.*report_to") as caught:
        train(is_interrupted)
    assert "\n" not in str(caught.value).partition("W&B:")[2]
