"""Fixtures for conditions that W&B tracks: its folder, their task, and a run that is online."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb
from flytekit.types.directory import FlyteDirectory
from support.tracked import ROWS, TRACKED, OnlineRun, Outcome, completes

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import conditions, local_run
from liger_benchmark.run import Run


@pytest.fixture
def wandb_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "tracked"))
    (tmp_path / "tracked").mkdir()
    return tmp_path / "tracked"


@pytest.fixture
def train(
    wandb_folder: Path, dataset_folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., workflow.TrainingResult]:
    """The workflow's training task with a stub in place of the child process."""

    def run(outcome: Outcome = completes, arguments: TrainingArguments = TRACKED) -> Any:
        def condition(
            given: TrainingArguments, *_: Path, on_row: Callable[[Any], None], devices: object
        ) -> Run:
            for row in ROWS:
                on_row(row)
            return outcome(given)

        monkeypatch.setattr(conditions, "run_condition", condition)
        return workflow.train_model(
            training_args=arguments,
            dataset_cache_dir=FlyteDirectory(str(dataset_folder)),
            model_cache_dir=FlyteDirectory(str(model_folder)),
        )

    return run


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> OnlineRun:
    run = OnlineRun()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    return run
