"""The environment of a run and other processes on the GPU, with a fake of NVML."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.isolated_functions import visible_devices

from liger_benchmark.training import environment, ranks
from liger_benchmark.training.environment import GpuNotIdle
from liger_benchmark.training.isolated_process import run_isolated


class FakeNvml:
    """NVML with one GPU that other processes may be using."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 3
    nvmlMemory_v2 = 0x2000028

    def __init__(self, processes: list[tuple[int, int | None]] | None) -> None:
        self.processes = processes
        self.asked_for: list[Any] = []
        self.joules: float | None = 12.5
        self.closed = True
        self.knows_version_2 = True
        self.throttle_reasons: list[int] = []
        self.sm_clocks = [1980]

    def nvmlInit(self) -> None:
        self.closed = False

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self.asked_for.append(index)
        return "handle"

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked_for.append(uuid)
        return "handle"

    def nvmlDeviceGetName(self, handle: str) -> bytes:
        return b"NVIDIA Fake 40GB"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return "GPU-1234"

    def nvmlDeviceGetMemoryInfo(self, handle: str, version: int | None = None) -> Any:
        if version is not None and not self.knows_version_2:
            raise self.NVMLError("not supported")
        reserved = 0 if version is not None else 600 * 2**20
        return SimpleNamespace(total=40 * 2**30, used=2**30 + reserved)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return self.throttle_reasons.pop(0) if self.throttle_reasons else 0

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:
        raise self.NVMLError("not supported")

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        if kind == self.NVML_CLOCK_MEM:
            return 2619
        return self.sm_clocks.pop(0) if len(self.sm_clocks) > 1 else self.sm_clocks[0]

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
        "uuid": "GPU-1234",
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
    seen, _ = run_isolated(visible_devices, on_message=lambda message: None)
    assert seen == {"CUDA_VISIBLE_DEVICES": "2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    both, _ = run_isolated(visible_devices, on_message=lambda message: None, devices=["2", "3"])
    assert both["CUDA_VISIBLE_DEVICES"] == "2,3"


@pytest.mark.parametrize(
    ("visible", "devices"),
    [(None, ["0", "1", "2"]), ("2", ["2"]), ("2, 0", ["2", "0"]), ("1,-1,0", ["1"]), ("", [])],
)
def test_all_gpus_that_are_left_visible_are_known(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str | None, devices: list[str]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment.visible_devices() == devices


def test_a_rank_asks_about_its_own_gpu(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv(ranks.RANK_VARIABLE, "1/2")
    assert environment.first_visible_device() == "3"
    assert environment.visible_gpu() == "NVIDIA Fake 40GB"
    assert nvml.asked_for == [3]


def test_the_gpu_monitor_stays_open_and_reads_joules(nvml: FakeNvml) -> None:
    import gc

    meter = environment.GpuMonitor()
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
    monitor = environment.GpuMonitor()
    monitor.sample_clock()
    assert monitor.joules() is None
    assert monitor.window() == {}


def test_the_window_has_the_mean_clock_and_the_share_of_samples_that_were_slowed_down(
    nvml: FakeNvml,
) -> None:
    monitor = environment.GpuMonitor()
    assert monitor.window() == {}
    # Idle (0x1) and the clocks that were asked for (0x2) slow nothing down.
    nvml.sm_clocks, nvml.throttle_reasons = [2000, 1000, 1200, 1800], [0x1, 0x4 | 0x20, 0x4, 0x2]
    for _ in range(4):
        monitor.sample_clock()
    assert monitor.window() == {
        "mean_sm_MHz": 1500,
        "min_sm_MHz": 1000,
        "slowed_by": {"power cap": 0.5, "software thermal slowdown": 0.25},
    }


@pytest.mark.parametrize(("knows_version_2", "expected_MB"), [(True, 1024.0), (False, 1624.0)])
def test_memory_in_use_leaves_out_the_drivers_reserve_where_it_is_told_apart(
    nvml: FakeNvml, knows_version_2: bool, expected_MB: float
) -> None:
    nvml.knows_version_2 = knows_version_2
    assert environment.memory_used_MB() == expected_MB


def test_without_a_gpu_no_memory_is_in_use(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert environment.memory_used_MB() == 0.0
