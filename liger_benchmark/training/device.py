"""The device that a run is measured on: made ready, synchronised, and read.

Importing this module costs nothing: torch is imported by what uses it.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path
from typing import Any, Protocol

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.code_version import code_digest
from liger_benchmark.training import environment, triton_interpreter
from liger_benchmark.training.environment import MIB, EnergyMeter
from liger_benchmark.validation import InvalidInput


class Device(Protocol):
    """What is measured besides time. Memory is in MB of 2**20 bytes."""

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def reset_peak_memory(self) -> None:
        """Forget earlier peaks."""

    def peak_memory(self) -> dict[str, float]:
        """The peaks since the reset, by kind: the names end up in the history's columns."""

    def energy_joules(self) -> float | None:
        """A counter of the energy used, or None where there is none."""


class CudaDevice:
    """A GPU; its memory is what PyTorch's allocator handed out and what it reserved for that."""

    def __init__(self) -> None:
        self.energy_meter = EnergyMeter()

    def synchronize(self) -> None:
        import torch

        torch.cuda.synchronize()

    def reset_peak_memory(self) -> None:
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> dict[str, float]:
        import torch

        return {
            "memory_allocated_MB": torch.cuda.max_memory_allocated() / MIB,
            "memory_reserved_MB": torch.cuda.max_memory_reserved() / MIB,
        }

    def energy_joules(self) -> float | None:
        """The whole GPU's energy, as its driver counts it."""
        return self.energy_meter.joules()


class CpuDevice:
    """A CPU; its memory is the process's resident set.

    Linux tells its peak and can forget it; elsewhere it is what is resident at the step's end.
    """

    def synchronize(self) -> None:
        """Nothing to wait for: a CPU's work is done when the call returns."""

    def reset_peak_memory(self) -> None:
        """Forget the peak so far (proc(5): 5 in clear_refs resets VmHWM)."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak_memory(self) -> dict[str, float]:
        import psutil

        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return {"resident_set_MB": int(line.split()[1]) / 1024}
        return {"resident_set_MB": psutil.Process().memory_info().rss / MIB}

    def energy_joules(self) -> float | None:
        """A CPU's counter, where there is one, is for the administrator alone."""
        return None


def set_up_device(arguments: TrainingArguments, record: dict[str, Any]) -> bool:
    """Import torch, look at the GPU, cap its memory; returns whether there is a GPU."""
    others = environment.other_processes()
    if arguments.require_idle_gpu:
        environment.check_idle(others)
    gpu = environment.gpu()
    record["environment"] = {"code": code_digest(), **environment.software(), "gpu": gpu}
    if gpu is None:
        triton_interpreter.check_without_gpu(arguments)
        triton_interpreter.enable()
    _quieten_libraries()
    import torch

    record["environment"]["triton_interpreter"] = gpu is None
    if gpu is None:
        return False
    gpu |= {"other_processes": others, "clocks_start": environment.clocks()}
    if arguments.gpu_memory_limit_gib is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        share = arguments.gpu_memory_limit_gib * environment.GIB / total
        if share > 1:
            raise InvalidInput(
                f"training_args.gpu_memory_limit_gib: {arguments.gpu_memory_limit_gib} is more "
                f"than this GPU has, {total / environment.GIB:.1f} GiB"
            )
        torch.cuda.set_per_process_memory_fraction(share)
    return True


def _quieten_libraries() -> None:
    """Silence what says nothing about a run and would be said once a condition."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    # Liger names its optional backends that are not installed.
    logging.getLogger("liger_kernel").setLevel(logging.ERROR)
    # trl and transformers disagree on what the option is called; both names mean the same.
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)


def allocator_retries() -> int:
    """How often the allocator had to give back what it cached before a request could be met."""
    import torch

    return int(torch.cuda.memory_stats().get("num_alloc_retries", 0))
