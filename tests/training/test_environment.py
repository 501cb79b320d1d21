"""The environment of a run and other processes on the GPU, with a fake of NVML."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from liger_benchmark.training import environment, isolated_process
from liger_benchmark.training.environment import GpuNotIdle


class FakeNvml:
    """NVML with one GPU that other processes may be using."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 3

    def __init__(self, processes: list[tuple[int, int | None]] | None) -> None:
        self.processes = processes
        self.asked_for: list[Any] = []
        self.joules: float | None = 12.5
        self.closed = True

    def nvmlInit(self) -> None:
        self.closed = False

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self.asked_for.append(index)
        return "handle"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked_for.append(uuid)
        return "handle"

    def nvmlDeviceGetName(self, handle: str) -> bytes:
        return b"NVIDIA Fake 40GB"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(total=40 * 2**30)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:
        raise self.NVMLError("not supported")

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        return {1: 1980, 2: 2619}[kind]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if self.closed:
            raise AssertionError("asked after it was shut down")
        if self.joules is None:
            raise self.NVMLError
        return round(1000 * self.joules)

    def nvmlDeviceGetTemperature(self, handle: str, kind: int) -> int:
        return 41

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        if self.processes is None:
            raise self.NVMLError("no permission")
        return [SimpleNamespace(pid=p, usedGpuMemory=m) for p, m in self.processes]

    def nvmlSystemGetProcessName(self, pid: int) -> str:
        if pid == 2:
            raise self.NVMLError("not found")
        return "python"


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml([(1, 2**30), (2, None)])
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_other_processes_are_named_and_make_a_gpu_that_is_not_idle(nvml: FakeNvml) -> None:
    others = environment.other_processes()
    assert others == [
        {"pid": 1, "name": "python", "memory_MB": 1024},
        {"pid": 2, "name": "unknown", "memory_MB": None},
    ]
    with pytest.raises(GpuNotIdle, match=r"in use by python \(pid 1\), unknown \(pid 2\)"):
        environment.check_idle(others)


def test_an_idle_gpu_is_idle(nvml: FakeNvml) -> None:
    nvml.processes = []
    environment.check_idle(environment.other_processes())


def test_a_gpu_whose_processes_cannot_be_read_does_not_count_as_idle(nvml: FakeNvml) -> None:
    nvml.processes = None
    assert environment.other_processes() is None
    with pytest.raises(GpuNotIdle, match="does not tell"):
        environment.check_idle(None)


def test_readings_that_a_gpu_does_not_support_are_none(nvml: FakeNvml) -> None:
    assert environment.gpu() == {
        "name": "NVIDIA Fake 40GB",
        "memory_GiB": 40.0,
        "driver": "580.1",
        "power_limit_W": None,
    }
    assert environment.clocks() == {"sm_MHz": 1980, "memory_MHz": 2619, "temperature_C": 41}


@pytest.mark.parametrize(
    ("visible", "asked_for"),
    [(None, 0), ("0", 0), ("3", 3), ("2,0", 2), ("GPU-1234", "GPU-1234")],
)
def test_the_gpu_asked_about_is_the_first_visible_one(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str | None, asked_for: Any
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment.visible_gpu() == "NVIDIA Fake 40GB"
    assert nvml.asked_for == [asked_for]


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_none(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert environment.visible_gpu() is None
    assert environment.gpu() is None
    assert environment.other_processes() == []


def test_a_run_sees_only_the_gpu_that_nvml_was_asked_about(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDA_DEVICE_ORDER", "PYTORCH_NVML_BASED_CUDA_CHECK"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    isolated_process._prepare_fork_server()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_the_energy_meter_stays_open_and_reads_joules(nvml: FakeNvml) -> None:
    import gc

    meter = environment.EnergyMeter()
    gc.collect()
    assert meter.joules() == 12.5
    nvml.joules = 13.0
    assert meter.joules() == 13.0
    nvml.joules = None
    assert meter.joules() is None


def test_without_a_gpu_there_is_no_energy_to_read(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert environment.EnergyMeter().joules() is None
