"""W&B as a person finds it afterwards: read back from the files that its offline mode writes."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from flytekit.types.directory import FlyteDirectory
from support.tracked import (
    ROWS,
    TRACKED,
    OnlineRun,
    Outcome,
    completes,
    fails,
    is_interrupted,
    record_of,
    runs_out_of_memory,
)
from support.wandb_files import tracked_runs

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import local_run, settings, tracking
from liger_benchmark.run import read_run


def test_a_condition_is_one_named_run_with_its_settings_as_config(
    train: Any, wandb_folder: Path
) -> None:
    train()
    [run] = tracked_runs(wandb_folder)
    assert run.name == "phi3-tiny bs=2 vanilla run=2" == TRACKED.condition
    assert (run.project, run.entity) == (settings.WANDB_PROJECT, settings.WANDB_ENTITY)
    config = {key: value for key, value in run.config.items() if key != "_wandb"}
    assert config == dataclasses.asdict(TRACKED)


def test_project_and_entity_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "kernels")
    monkeypatch.setenv("WANDB_ENTITY", "a-team")
    settled = runpy.run_path(settings.__file__)
    assert (settled["WANDB_PROJECT"], settled["WANDB_ENTITY"]) == ("kernels", "a-team")
    handed_on = settled["REGISTRATION"]
    assert (handed_on["WANDB_PROJECT"], handed_on["WANDB_ENTITY"]) == ("kernels", "a-team")


def test_every_steps_figures_are_logged_at_their_step(train: Any, wandb_folder: Path) -> None:
    train()
    [run] = tracked_runs(wandb_folder)
    assert [row["_step"] for row in run.history] == [1, 2, 3]
    for logged, row in zip(run.history, ROWS, strict=True):
        assert logged["loss"] == row["loss"]
        assert logged["learning_rate"] == row["learning_rate"]
        assert logged["avg_tokens_per_second"] == row["avg_tokens_per_second"]
        assert "use_liger" not in logged


def test_a_completed_condition_is_closed_with_exit_code_0(train: Any, wandb_folder: Path) -> None:
    result = train()
    [run] = tracked_runs(wandb_folder)
    assert (run.exit_code, run.summary["outcome"]) == (0, "completed")
    assert "wandb_url" not in record_of(result)


def test_out_of_memory_is_a_measurement_closed_with_exit_code_0(
    train: Any, wandb_folder: Path
) -> None:
    assert train(runs_out_of_memory).outcome == "out_of_memory"
    [run] = tracked_runs(wandb_folder)
    assert (run.exit_code, run.summary["outcome"]) == (0, "out_of_memory")
    assert len(run.history) == len(ROWS)


@pytest.mark.parametrize("how", [fails, is_interrupted])
def test_a_failed_condition_is_closed_with_another_exit_code(
    train: Any, wandb_folder: Path, how: Outcome
) -> None:
    with pytest.raises((Exception, KeyboardInterrupt)):  # noqa: B017 - flytekit wraps the first
        train(how)
    [run] = tracked_runs(wandb_folder)
    assert (run.exit_code, run.summary["outcome"]) == (1, "failed")
    assert wandb.run is None


def test_conditions_of_an_experiment_share_a_group_of_their_own(
    train: Any, wandb_folder: Path
) -> None:
    train()
    train(arguments=dataclasses.replace(TRACKED, use_liger=True, per_device_train_batch_size=4))
    train(arguments=dataclasses.replace(TRACKED, max_seq_length=64))
    groups = [run.group for run in tracked_runs(wandb_folder)]
    assert len(groups) == 3
    assert len(set(groups)) == 2
    assert all(group.startswith("phi3-tiny ") for group in groups)


def test_what_the_grid_varies_parts_no_group() -> None:
    short, long = (dataclasses.replace(TRACKED, max_seq_length=n) for n in (64, 128))

    def groups(grid: list[TrainingArguments]) -> set[str]:
        return {tracking.experiment_name(args, grid, "version") for args in (short, long)}

    assert len(groups([])) == 2
    assert len(groups([short, long])) == 1


def test_a_result_kept_from_an_earlier_run_makes_no_wandb_run(
    train: Any, wandb_folder: Path
) -> None:
    first, second = train(), train(fails)
    assert first.outcome == second.outcome == "completed"
    assert len(tracked_runs(wandb_folder)) == 1


def test_without_tracking_nothing_of_wandb_is_touched(
    train: Any, wandb_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: Any, **__: Any) -> None:
        raise AssertionError("W&B was touched")

    for name in ("init", "login", "setup", "finish", "log"):
        monkeypatch.setattr(wandb, name, touched)
    monkeypatch.setattr("socket.socket.connect", touched)
    assert train(arguments=dataclasses.replace(TRACKED, report_to="none")).outcome == "completed"
    assert not any(wandb_folder.iterdir())


@pytest.mark.parametrize("how", [completes, runs_out_of_memory])
def test_the_address_of_the_run_is_kept_in_the_record(
    train: Any, online: OnlineRun, how: Outcome
) -> None:
    assert record_of(train(how))["wandb_url"] == online.url
    assert online.exit_codes == [0]


def test_the_address_of_a_failed_run_is_kept_with_its_error(
    train: Any, online: OnlineRun, wandb_folder: Path
) -> None:
    with pytest.raises(Exception, match="no"):
        train(fails)
    [folder] = (local_run.BUILD / "failed").iterdir()
    assert read_run(folder).record == {
        "error": {"type": "ValueError", "message": "no", "traceback": "ValueError: no"},
        "wandb_url": online.url,
    }


def test_a_real_training_in_its_own_process_is_logged_step_by_step(
    wandb_folder: Path, dataset_folder: Path, model_folder: Path
) -> None:
    result = workflow.train_model(
        training_args=TRACKED,
        dataset_cache_dir=FlyteDirectory(str(dataset_folder)),
        model_cache_dir=FlyteDirectory(str(model_folder)),
    )
    history = pd.read_csv(result.training_history.path)
    [run] = tracked_runs(wandb_folder)
    assert [row["_step"] for row in run.history] == list(history["step"]) == [1, 2, 3]
    for column in ("step_tokens_per_second", "step_peak_resident_set_MB", "loss"):
        assert [row[column] for row in run.history] == pytest.approx(list(history[column]))
    assert (run.exit_code, run.summary["outcome"]) == (0, "completed")
