"""The environment of a run: package versions, processor, GPU, driver, other processes on the GPU.

The GPU is queried through NVML, the driver's management library, which needs no CUDA context.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import os
import platform
from collections import Counter
from collections.abc import Iterator
from typing import Any

from liger_benchmark.training import ranks

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "trl",
    "liger-kernel",
    "datasets",
    "accelerate",
    "peft",
    "bitsandbytes",
    "flash-attn",
    "deepspeed",
    "tokenizers",
    "numpy",
    "nvidia-cublas",
    "nvidia-cudnn-cu13",
    "flytekit",
    "wandb",
)
MIB = 2**20
GIB = 2**30


class GpuNotIdle(RuntimeError):
    """Another process uses the GPU that is to be measured. The message is one line."""


def software() -> dict[str, Any]:
    """Versions of Python and of `PACKAGES`, the platform, and the processor's name."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "packages": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """The installed version of each of `PACKAGES`; packages that are not installed are left out."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def gpu(device: str | None = None) -> dict[str, Any] | None:
    """Name, memory (GiB), driver and power limit (W) of a GPU, or None if there is none.

    Args:
        device: its index or UUID; by default the one that this process's runs use.
    """
    with _nvml_device(device) as (nvml, handle):
        if handle is None:
            return None
        return {
            "name": _text(nvml.nvmlDeviceGetName(handle)),
            "uuid": _read_or_none(nvml, lambda: _text(nvml.nvmlDeviceGetUUID(handle))),
            "memory_GiB": round(nvml.nvmlDeviceGetMemoryInfo(handle).total / GIB, 2),
            "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            "power_limit_W": _read_or_none(
                nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
            ),
        }


def clocks() -> dict[str, int | None]:
    """The GPU's current clocks (MHz) and temperature (degrees Celsius); None if not readable."""
    with _nvml_device() as (nvml, handle):
        if handle is None:
            return {}
        readings = {
            "sm_MHz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_MHz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "temperature_C": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
        }
        return {key: _read_or_none(nvml, read) for key, read in readings.items()}


def other_processes() -> list[dict[str, Any]] | None:
    """The compute processes on the GPU: `pid`, `name` and `memory_MB`; None if not readable.

    Must be called before this process uses CUDA: NVML reports the host's process ids, by which a
    process in a container cannot recognise itself.
    """
    with _nvml_device() as (nvml, handle):
        if handle is None:
            return []
        processes = _read_or_none(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        if processes is None:
            return None
        found = []
        for process in processes:
            name = _read_or_none(nvml, lambda pid=process.pid: nvml.nvmlSystemGetProcessName(pid))
            used = process.usedGpuMemory
            found.append(
                {
                    "pid": process.pid,
                    "name": _text(name) if name else "unknown",
                    "memory_MB": round(used / MIB) if used else None,
                }
            )
        return found


def check_idle(processes: list[dict[str, Any]] | None) -> None:
    """Check that no other process uses the GPU.

    Args:
        processes: as returned by `other_processes`.

    Raises:
        GpuNotIdle: naming the processes, or if they could not be read.
    """
    if processes is None:
        raise GpuNotIdle(
            "training_args.require_idle_gpu: true, but the driver does not tell which processes "
            "use the GPU; set it to false"
        )
    if processes:
        names = ", ".join(f"{p['name']} (pid {p['pid']})" for p in processes)
        raise GpuNotIdle(
            f"training_args.require_idle_gpu: true, but the GPU is in use by {names}; "
            "stop them or set it to false"
        )


class GpuMonitor:
    """The GPU's energy counter and clocks, with NVML kept open for as long as the process lives.

    The driver updates the counter ten to fifty times a second: it is exact over a run, and
    imprecise over a step of 0.1 s. Cards before Volta, and some virtual ones, have no counter.
    """

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._nvml, self._handle = self._open.enter_context(_nvml_device())
        self._clocks: list[int] = []
        self._slowed_by: Counter[str] = Counter()

    def joules(self) -> float | None:
        """The energy used since the driver was loaded, in joules; None if there is no counter."""
        millijoules = self._read("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def sample_clock(self) -> None:
        """Note the present clock of the streaming multiprocessors and what slows it down."""
        clock = self._read("nvmlDeviceGetClockInfo", 1)  # NVML_CLOCK_SM
        if clock is not None:
            self._clocks.append(int(clock))
        reasons = self._read("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        self._slowed_by.update(name for bit, name in THROTTLE_REASONS.items() if reasons & bit)

    def window(self) -> dict[str, Any]:
        """`mean_sm_MHz` and `min_sm_MHz` of the samples, and the share of them `slowed_by` what."""
        if not self._clocks:
            return {}
        n = len(self._clocks)
        return {
            "mean_sm_MHz": round(sum(self._clocks) / n),
            "min_sm_MHz": min(self._clocks),
            "slowed_by": {name: round(count / n, 3) for name, count in self._slowed_by.items()},
        }

    def _read(self, function: str, *arguments: Any) -> Any:
        if self._handle is None:
            return None
        return _read_or_none(
            self._nvml, lambda: getattr(self._nvml, function)(self._handle, *arguments)
        )


# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (NVML API reference, nvmlClocksEventReasons).
# A GPU that idles or runs at the clocks that were asked for is not slowed down.
THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def memory_used_MB() -> float:
    """The GPU memory in use by all processes, in MB of 2**20 bytes; 0 without a GPU."""
    with _nvml_device() as (nvml, handle):
        if handle is None:
            return 0.0
        # The second version of the call counts what the driver reserves for itself apart.
        version = getattr(nvml, "nvmlMemory_v2", None)
        memory = _read_or_none(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version))
        if memory is None:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return float(memory.used / MIB)


def visible_gpu() -> str | None:
    """The name of the GPU that a run would use, or None. Does not initialise CUDA."""
    with _nvml_device() as (nvml, handle):
        return None if handle is None else _text(nvml.nvmlDeviceGetName(handle))


def first_visible_device() -> str:
    """The index or UUID of the GPU that a run uses; empty if CUDA_VISIBLE_DEVICES hides all.

    In a rank of a group it is the GPU of that rank.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    return visible[min(ranks.rank(), len(visible) - 1)].strip()


def visible_devices() -> list[str]:
    """The indices or UUIDs of all GPUs that this process sees; empty if there is none."""
    if visible_gpu() is None:
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        # CUDA stops reading at the first that is none.
        named = [device.strip() for device in given.split(",")]
        return list(itertools.takewhile(lambda device: device not in ("", "-1"), named))
    with _nvml_device() as (nvml, _):
        return [str(index) for index in range(nvml.nvmlDeviceGetCount())]


@contextlib.contextmanager
def _nvml_device(device: str | None = None) -> Iterator[tuple[Any, Any]]:
    """NVML and the handle of a device, by default the first visible; None for what is missing."""
    visible = first_visible_device() if device is None else device
    if visible in ("", "-1"):
        yield None, None
        return
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None, None
        return
    try:
        try:
            handle = (
                pynvml.nvmlDeviceGetHandleByIndex(int(visible))
                if visible.isdigit()
                else pynvml.nvmlDeviceGetHandleByUUID(visible)
            )
        except pynvml.NVMLError:
            handle = None
        yield pynvml, handle
    finally:
        pynvml.nvmlShutdown()


def _read_or_none(nvml: Any, read: Any) -> Any:
    """The result of `read`, or None if the GPU, driver or container does not support it."""
    try:
        return read()
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu_name() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
