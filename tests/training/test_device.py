"""The GPU that a run is measured on: its setup, limit, peaks and clock, without a GPU."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.training import device, environment
from liger_benchmark.training.device import CudaDevice, record_gpu_at_end, set_up_device
from liger_benchmark.training.environment import GIB, MIB, GpuNotIdle
from liger_benchmark.validation import InvalidInput

TOTAL_GIB = 80
CLOCKS = {"sm_MHz": 1980}


class FakeGpu:
    """What torch.cuda and the driver answer, and in which order they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        self.calls: list[Any] = []
        self.processes: list[dict[str, Any]] | None = []
        self.used_MB = 3.0
        self.retries = 0
        for name, answer in {
            "set_device": lambda index: self.calls.append(("device", index)),
            "set_per_process_memory_fraction": lambda share: self.calls.append(("share", share)),
            "synchronize": lambda: self.calls.append("synchronize"),
            "reset_peak_memory_stats": lambda: self.calls.append("reset"),
            "get_device_properties": lambda index: SimpleNamespace(total_memory=TOTAL_GIB * GIB),
            "max_memory_allocated": lambda: 20 * MIB,
            "max_memory_reserved": lambda: 30 * MIB,
            "memory_reserved": lambda: 30 * MIB,
            "memory_stats": lambda: {"num_alloc_retries": self.retries},
        }.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(torch, "zeros", self.make_context)
        monkeypatch.setattr(environment, "gpu", lambda: {"name": "H100"})
        monkeypatch.setattr(environment, "clocks", lambda: dict(CLOCKS))
        monkeypatch.setattr(environment, "memory_used_MB", lambda: self.used_MB)
        monkeypatch.setattr(environment, "other_processes", self.other_processes)
        monkeypatch.setattr(device, "silence_libraries", lambda: None)

    def make_context(self, *size: int, device: str) -> None:
        assert device == "cuda"
        self.calls.append("context")
        self.used_MB += 500

    def other_processes(self) -> list[dict[str, Any]] | None:
        self.calls.append("others")
        return self.processes


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu(monkeypatch)


def test_the_gpu_is_described_before_and_after_this_process_uses_it(gpu: FakeGpu) -> None:
    record: dict[str, Any] = {}
    assert set_up_device(TINY, record)
    # NVML cannot tell this process from the others once it has a context.
    assert gpu.calls == ["others", ("device", 0), "context"]
    assert record["environment"]["gpu"] == {
        "name": "H100",
        "other_processes": [],
        "clocks_start": CLOCKS,
        "others_memory_MB": {"start": 3.0},
        "context_MB": 500.0,
    }
    assert record["environment"]["triton_interpreter"] is False


def test_a_rank_takes_the_gpu_of_its_own(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.ranks, "rank", lambda: 1)
    set_up_device(TINY, {})
    assert ("device", 1) in gpu.calls


@pytest.mark.parametrize(("limit", "share"), [(20.0, 0.25), (float(TOTAL_GIB), 1.0)])
def test_the_memory_limit_is_a_share_of_the_gpus_memory(
    limit: float, share: float, gpu: FakeGpu
) -> None:
    set_up_device(replace(TINY, gpu_memory_limit_gib=limit), {})
    assert gpu.calls[-1] == ("share", share)


def test_without_a_memory_limit_none_is_set(gpu: FakeGpu) -> None:
    set_up_device(TINY, {})
    assert not [call for call in gpu.calls if call[0] == "share"]


def test_a_memory_limit_above_what_the_gpu_has_is_refused(gpu: FakeGpu) -> None:
    with pytest.raises(InvalidInput) as refusal:
        set_up_device(replace(TINY, gpu_memory_limit_gib=80.5), {})
    assert str(refusal.value) == (
        "training_args.gpu_memory_limit_gib: 80.5 is more than this GPU has, 80.0 GiB"
    )
    assert not [call for call in gpu.calls if call[0] == "share"]


@pytest.mark.parametrize(
    ("processes", "words"),
    [
        ([{"pid": 7, "name": "python", "memory_MB": 900}], r"in use by python \(pid 7\)"),
        (None, "the driver does not tell which processes use the GPU"),
    ],
)
def test_a_gpu_that_others_use_is_refused_before_it_is_used_if_it_has_to_be_idle(
    processes: list[dict[str, Any]] | None, words: str, gpu: FakeGpu
) -> None:
    gpu.processes = processes
    with pytest.raises(GpuNotIdle, match=words):
        set_up_device(replace(TINY, require_idle_gpu=True), {})
    assert gpu.calls == ["others"]
    record: dict[str, Any] = {}
    assert set_up_device(TINY, record)
    assert record["environment"]["gpu"]["other_processes"] == processes


def test_an_idle_gpu_is_not_refused(gpu: FakeGpu) -> None:
    assert set_up_device(replace(TINY, require_idle_gpu=True), {})


def test_synchronising_waits_for_the_gpu(gpu: FakeGpu) -> None:
    CudaDevice().synchronize()
    assert gpu.calls == ["synchronize"]


def test_the_peaks_are_the_allocators_since_the_reset(gpu: FakeGpu) -> None:
    cuda = CudaDevice()
    cuda.reset_peak_memory()
    assert gpu.calls == ["reset"]
    assert cuda.peak_memory() == {"memory_allocated_MB": 20.0, "memory_reserved_MB": 30.0}


def test_retries_are_counted_in_all_and_in_measured_steps(gpu: FakeGpu) -> None:
    cuda = CudaDevice()
    for before_step, in_step, is_measured in ((2, 4, False), (1, 3, True), (0, 5, True)):
        gpu.retries += before_step
        cuda.reset_peak_memory()
        gpu.retries += in_step
        if is_measured:
            cuda.sample_clock()
    assert cuda.retries() == {"allocator_retries": 15, "retries_in_measured_steps": 8}


def test_energy_and_clocks_are_those_of_the_driver(gpu: FakeGpu) -> None:
    cuda = CudaDevice()
    sampled = []
    cuda.monitor = SimpleNamespace(  # type: ignore[assignment]
        joules=lambda: 12.5, sample_clock=lambda: sampled.append(True), window=lambda: {"min": 1}
    )
    assert cuda.energy_joules() == 12.5
    cuda.sample_clock()
    assert sampled == [True]
    record = {"environment": {"gpu": {"context_MB": 500.0, "others_memory_MB": {"start": 3.0}}}}
    gpu.used_MB = 1000.0
    record_gpu_at_end(cuda, record)
    assert record == {
        "memory": {"allocator_retries": 0, "retries_in_measured_steps": 0},
        "environment": {
            "gpu": {
                "context_MB": 500.0,
                "others_memory_MB": {"start": 3.0, "end": 1000.0 - 30 - 500},
                "clocks_end": CLOCKS,
                "window": {"min": 1},
            }
        },
    }


@pytest.mark.gpu
def test_a_gpu_is_waited_for_and_its_peaks_are_measured_anew() -> None:
    import torch

    cuda = CudaDevice()
    cuda.reset_peak_memory()
    before = cuda.peak_memory()
    block = torch.ones(64 * MIB, dtype=torch.uint8, device="cuda")
    with_block = cuda.peak_memory()
    assert with_block["memory_allocated_MB"] == pytest.approx(before["memory_allocated_MB"] + 64)
    assert with_block["memory_reserved_MB"] >= with_block["memory_allocated_MB"]
    del block
    cuda.reset_peak_memory()
    assert cuda.peak_memory()["memory_allocated_MB"] == before["memory_allocated_MB"]
    matrix = torch.ones(8192, 8192, device="cuda")
    torch.mm(matrix, matrix)  # loads cuBLAS
    cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        torch.mm(matrix, matrix)
    submitted = time.perf_counter() - start
    cuda.synchronize()
    assert time.perf_counter() - start > 2 * submitted
    assert torch.cuda.current_stream().query()
