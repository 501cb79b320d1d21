"""What a run ran on: package versions, processor, GPU, driver, and who else uses the GPU.

The GPU is asked through NVML, the driver's management library, which needs no CUDA context.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from typing import Any

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "trl",
    "liger-kernel",
    "datasets",
    "accelerate",
    "tokenizers",
    "numpy",
    "flytekit",
    "wandb",
)
MIB = 2**20
GIB = 2**30


class GpuNotIdle(RuntimeError):
    """Another process computes on the GPU that is to be measured. The message is one line."""


def software() -> dict[str, Any]:
    """Versions of Python and of the packages that matter, and the processor's name."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "packages": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """The installed version of each package that matters; absent ones are left out."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def gpu() -> dict[str, Any] | None:
    """Name, memory (GiB), driver and power limit (W) of the GPU in use, or None without one."""
    with _nvml_device() as (nvml, handle):
        if handle is None:
            return None
        return {
            "name": _text(nvml.nvmlDeviceGetName(handle)),
            "memory_GiB": round(nvml.nvmlDeviceGetMemoryInfo(handle).total / GIB, 2),
            "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            "power_limit_W": _or_none(
                nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
            ),
        }


def clocks() -> dict[str, int | None]:
    """The GPU's present clocks in MHz and its temperature in degrees Celsius."""
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
        return {key: _or_none(nvml, read) for key, read in readings.items()}


def other_processes() -> list[dict[str, Any]] | None:
    """The processes that compute on the GPU: `pid`, `name` and `memory_MB`; None if it won't tell.

    Call it before this process uses CUDA: in a container NVML counts processes by the host's
    numbers, by which a process cannot recognise itself.
    """
    with _nvml_device() as (nvml, handle):
        if handle is None:
            return []
        processes = _or_none(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        if processes is None:
            return None
        found = []
        for process in processes:
            name = _or_none(nvml, lambda pid=process.pid: nvml.nvmlSystemGetProcessName(pid))
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
    """Refuse a GPU that others use, or that does not tell.

    Raises:
        GpuNotIdle: naming the processes.
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


class EnergyMeter:
    """The GPU's own counter of the energy it has used, open for as long as the process lives.

    The driver renews it some ten to fifty times a second: over a run it is exact, over a step of a
    tenth of a second it is coarse. Cards before Volta, and some virtual ones, have none.
    """

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._nvml, self._handle = self._open.enter_context(_nvml_device())

    def joules(self) -> float | None:
        """What the GPU has used since its driver was loaded; None where the card does not tell."""
        if self._handle is None:
            return None
        millijoules = _or_none(
            self._nvml, lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        )
        return None if millijoules is None else millijoules / 1000


def visible_gpu() -> str | None:
    """The name of the GPU a run would use, or None without one. Does not touch CUDA."""
    with _nvml_device() as (nvml, handle):
        return None if handle is None else _text(nvml.nvmlDeviceGetName(handle))


def first_visible_device() -> str:
    """The number or UUID of the GPU that a run uses; empty if CUDA_VISIBLE_DEVICES hides all."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()


@contextlib.contextmanager
def _nvml_device() -> Iterator[tuple[Any, Any]]:
    """NVML and the first device that CUDA_VISIBLE_DEVICES leaves visible, or (None, None)."""
    visible = first_visible_device()
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


def _or_none(nvml: Any, read: Any) -> Any:
    """A reading that not every card, driver or container grants."""
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
