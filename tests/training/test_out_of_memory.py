"""What counts as out of memory, whose memory it was, and what is recorded of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import isolated_training
from support.tiny import TINY

from liger_benchmark.training import condition, device
from liger_benchmark.training.environment import GIB
from liger_benchmark.training.isolated_process import run_isolated
from liger_benchmark.training.out_of_memory import (
    GpuShared,
    describe_out_of_memory,
    refuse_if_others_hold_it,
)

NO_HANDLE = [
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
]


@pytest.mark.parametrize("message", NO_HANDLE)
@pytest.mark.parametrize(("free_GiB", "is_memory"), [(0.1, True), (0.9, True), (20.0, False)])
def test_a_handle_that_was_not_given_is_out_of_memory_only_if_little_is_free(
    message: str, free_GiB: float, is_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free_GiB * GIB), 80 * GIB))
    described = describe_out_of_memory(RuntimeError(message))
    assert (described is not None) == is_memory
    if described is not None:
        assert described["requested_MB"] is None
        assert described["message"] == message


@pytest.mark.parametrize("error", [ValueError(NO_HANDLE[0]), RuntimeError("not initialized")])
def test_other_errors_do_not_even_ask_for_the_free_memory(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def asked() -> None:
        raise AssertionError("it was asked for")

    monkeypatch.setattr(torch.cuda, "mem_get_info", asked)
    assert describe_out_of_memory(error) is None


def test_what_others_hold_makes_it_no_measurement() -> None:
    error = RuntimeError("CUDA out of memory")
    for others_MB in (0.0, 500.0, 1024.0):
        refuse_if_others_hold_it(others_MB, error)
    with pytest.raises(GpuShared, match=r"while other processes held 2\.5 GiB of it") as refused:
        refuse_if_others_hold_it(2560.0, error)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is error


def test_the_memory_of_others_is_what_is_used_and_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 10 * GIB)
    monkeypatch.setattr(device.environment, "memory_used_MB", lambda: 13 * 1024.0)
    assert device.memory_of_others({"context_MB": 500.0}) == 3 * 1024.0 - 500.0
    # Others may have freed what they held when our context was made.
    assert device.memory_of_others({"context_MB": 4000.0}) == 0.0
    assert device.memory_of_others(None) == 0.0


@pytest.mark.parametrize(
    ("stage", "phase", "step", "n_rows"),
    [
        ("model", "model", 0, 0),
        ("first step", "first step", 1, 0),
        ("mid-run", "step", 2, 1),
        ("optimizer", "optimizer", 2, 1),
    ],
)
def test_running_out_of_memory_is_recorded_with_phase_and_step(
    stage: str,
    phase: str,
    step: int,
    n_rows: int,
    dataset_folder: Path,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    rows: list[Any] = []
    record, _ = run_isolated(
        isolated_training.train_with_fault,
        stage,
        isolated_training.OUT_OF_MEMORY,
        TINY,
        dataset_folder,
        model_folder,
        tmp_path,
        on_message=rows.append,
    )
    refused = record["out_of_memory"]
    assert (refused["phase"], refused["step"]) == (phase, step)
    assert refused["requested_MB"] == 1536.0
    assert "1.50 GiB" in refused["message"]
    assert {"allocated_MB", "reserved_MB"} <= refused.keys()
    assert len(rows) == n_rows


@pytest.mark.parametrize(
    ("message", "is_memory"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("CUDA error: out of memory", True),
        ("CUDA driver error: out of memory", True),
        ("Triton Error [CUDA]: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("out of shared memory", False),
        ("Triton Error [CUDA]: an illegal memory access was encountered", False),
        ("CUDA error: device-side assert triggered", False),
        ("No space left on device", False),
    ],
)
def test_out_of_memory_errors_of_every_library_are_recognised(
    message: str, is_memory: bool
) -> None:
    described = describe_out_of_memory(RuntimeError(message))
    assert (described is not None) == is_memory
    if described is not None:
        assert described["requested_MB"] == (2048.0 if "Tried" in message else None)


@pytest.mark.gpu
def test_a_gpu_out_of_memory_is_recorded_with_phase_and_sizes(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = replace(
        TINY,
        bf16=True,
        max_seq_length=512,
        per_device_train_batch_size=256,
        gpu_memory_limit_gib=0.5,
    )
    run = condition.run_condition(arguments, dataset_folder, model_folder, tmp_path)
    assert run.outcome == "out_of_memory"
    refused = run.record["out_of_memory"]
    assert refused["phase"] == "first step"
    assert refused["requested_MB"] > 0
    assert refused["reserved_MB"] <= 512
