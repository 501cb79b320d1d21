"""What counts as out of memory, and whose memory it was."""

from __future__ import annotations

import pytest

from liger_benchmark.training import device
from liger_benchmark.training.environment import GIB
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
