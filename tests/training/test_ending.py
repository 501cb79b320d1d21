"""A run that has trained its last step is kept, whatever goes wrong after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support import isolated_groups, isolated_training
from support.isolated_training import (
    ANYTHING_ELSE,
    FULL_DISK,
    KILLED,
    NEIGHBOUR,
    NO_PERMISSION,
    OUT_OF_MEMORY,
)
from support.tiny import TINY

from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import COMPLETED, Run, read_run, write_run
from liger_benchmark.training import condition
from liger_benchmark.training.isolated_process import ChildFailed, summary

Folders = tuple[Path, Path, Path]
REASONS = {
    OUT_OF_MEMORY: "OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a "
    "total capacity of …",
    FULL_DISK: "OSError: [Errno 28] No space left on device",
    NO_PERMISSION: "PermissionError: [Errno 13] Permission denied",
    ANYTHING_ELSE: "RuntimeError: something else broke",
    KILLED: "ProcessDied: the process was killed by signal 9 (SIGKILL); the usual reason is that "
    "the machine ran out of memory",
}
# What fails after the last step, how, with which settings, and where the record says that it was.
AT_THE_END = [
    ("evaluate", OUT_OF_MEMORY, {"eval_strategy": "epoch"}, "evaluation"),
    ("evaluate", ANYTHING_ELSE, {"eval_strategy": "epoch"}, "evaluation"),
    ("_save_checkpoint", OUT_OF_MEMORY, {"save_strategy": "epoch"}, "checkpoint"),
    ("_save_checkpoint", FULL_DISK, {"save_strategy": "epoch"}, "checkpoint"),
    ("record_gpu_at_end", ANYTHING_ELSE, {}, "record"),
    ("weights_checksum", OUT_OF_MEMORY, {}, "record"),
    ("flops_per_token", OUT_OF_MEMORY, {}, "record"),
    ("save_state", OUT_OF_MEMORY, {}, "save"),
    ("save_state", FULL_DISK, {}, "save"),
    ("save_model", NO_PERMISSION, {"save_strategy": "epoch"}, "save"),
    ("save_state", KILLED, {}, "process"),
]


@pytest.fixture
def folders(dataset_folder: Path, model_folder: Path, tmp_path: Path) -> Folders:
    return dataset_folder, model_folder, tmp_path / "output"


@pytest.fixture(scope="module")
def baseline(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    arguments = replace(TINY, arm_name="plain")
    return condition.run_condition(
        arguments, dataset_folder, model_folder, tmp_path_factory.mktemp("output")
    )


def _train(stage: str, kind: str, send: Any, *args: Any) -> Any:
    return isolated_training.train_with_fault(send, stage, kind, *args)


def run_with_fault(
    stage: str, kind: str, arguments: TrainingArguments, folders: Folders
) -> tuple[Run, list[Any]]:
    """The run in which `stage` fails, as it is read back from its files, and the rows passed on."""
    rows: list[Any] = []
    with mock.patch.object(condition, "train", partial(_train, stage, kind)):
        run = condition.run_condition(arguments, *folders, on_row=rows.append)
    return read_run(write_run(folders[2].parent / "run", run)), rows


@pytest.mark.parametrize(("stage", "kind", "settings", "where"), AT_THE_END)
def test_a_finished_run_is_kept_whatever_fails_after_its_last_step(
    stage: str,
    kind: str,
    settings: dict[str, Any],
    where: str,
    folders: Folders,
    baseline: Run,
) -> None:
    run, rows = run_with_fault(stage, kind, replace(TINY, **settings), folders)
    assert run.outcome == COMPLETED
    assert len(rows) == len(run.history) == TINY.max_steps
    assert "out_of_memory" not in run.record
    found = run.record["after_last_step"][where]
    # That a checkpoint or an evaluation failed ends the training, and nothing else.
    assert found == REASONS[kind] and len(run.record["after_last_step"]) == 1
    unknown = stage == "weights_checksum" or kind == KILLED
    assert run.record["proof"].get("weights_changed") is (None if unknown else True)
    for part in ("gradients", "batches"):
        assert run.record[part] == baseline.record[part]
    if not settings:
        assert invalid_reasons([baseline, run], "plain") == {}


def test_a_run_that_ends_well_records_nothing_of_the_kind(baseline: Run) -> None:
    assert "after_last_step" not in baseline.record
    assert baseline.record["flops"]["model"] > 0


def test_memory_that_runs_out_in_an_evaluation_between_steps_is_not_booked_as_a_steps(
    folders: Folders,
) -> None:
    arguments = replace(TINY, eval_strategy="steps")
    run, rows = run_with_fault("evaluate", OUT_OF_MEMORY, arguments, folders)
    refused = run.record["out_of_memory"]
    assert (refused["phase"], refused["step"]) == ("evaluation", 1)
    assert len(rows) == 1


@pytest.mark.parametrize("kind", [FULL_DISK, KILLED])
def test_a_run_that_fails_before_its_last_step_has_failed(kind: str, folders: Folders) -> None:
    with pytest.raises(ChildFailed) as failure:
        run_with_fault("evaluate", kind, replace(TINY, eval_strategy="steps"), folders)
    assert [row["step"] for row in failure.value.rows] == [1]


@pytest.mark.parametrize("stage", ["model", "mid-run"])
def test_memory_that_a_neighbour_holds_makes_a_run_a_failure_and_no_result(
    stage: str, folders: Folders
) -> None:
    with pytest.raises(ChildFailed) as failure:
        run_with_fault(stage, NEIGHBOUR, TINY, folders)
    assert summary(failure.value) == (
        "GpuShared: the GPU ran out of memory while other processes held 2.5 GiB of it, which says "
        "nothing about this condition; stop them and start again"
    )


def train_group_with_fault(send: Any, train: Callable[..., Any], *args: Any) -> Any:
    return isolated_groups.train_with_an_evaluation_that_fails(send, *args)


def test_a_rank_that_fails_after_the_last_step_does_not_lose_its_groups_run(
    folders: Folders,
) -> None:
    arguments = replace(TINY, n_gpus=2, eval_strategy="epoch")
    with mock.patch.object(condition, "train_group", train_group_with_fault):
        run = condition.run_condition(arguments, *folders)
    assert run.outcome == COMPLETED
    assert len(run.history) == TINY.max_steps
    assert len(run.record["group"]["ranks"]) == 2 and run.record["group"]["losses_agree"]
    assert run.record["after_last_step"]["process"].startswith(
        "OutOfMemoryError: rank 1 of 2: CUDA out of memory. Tried to allocate 1.50 GiB"
    )
