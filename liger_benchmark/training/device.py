"""The device that a run is measured on: its setup, synchronisation, peak memory and energy.

torch is imported inside the functions, so that importing this module is cheap.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import Any, Protocol

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.code_version import code_digest
from liger_benchmark.training import environment, ranks, triton_interpreter
from liger_benchmark.training.environment import MIB, GpuMonitor
from liger_benchmark.training.environment_variables import variables_that_matter
from liger_benchmark.training.optional_packages import check_packages
from liger_benchmark.validation import InvalidInput

# NCCL's buffers, which torch's allocator knows nothing of. Some hundred MB between two GPUs.
NCCL_MB = 2048.0


class Device(Protocol):
    """What the measurement needs of a device. Memory is in MB of 2**20 bytes."""

    def synchronize(self) -> None:
        """Wait until the device has finished all work that was submitted."""

    def reset_peak_memory(self) -> None:
        """Start measuring the peaks anew."""

    def peak_memory(self) -> dict[str, float]:
        """The peaks since the reset, by the suffix of their history columns."""

    def energy_joules(self) -> float | None:
        """A cumulative counter of the energy used, in joules; None if the device has none."""

    def sample_clock(self) -> None:
        """Note the device's clock and what slows it down, at the end of each measured step."""


class CudaDevice:
    """A GPU. Its memory is what PyTorch's allocator has allocated and reserved."""

    def __init__(self) -> None:
        self.monitor = GpuMonitor()
        self.retries_before_step = 0
        self.retries_in_measured_steps = 0

    def synchronize(self) -> None:
        """Wait until the GPU has finished all work that was submitted."""
        import torch

        torch.cuda.synchronize()

    def reset_peak_memory(self) -> None:
        """Start measuring the allocator's peaks anew, and counting its retries."""
        import torch

        torch.cuda.reset_peak_memory_stats()
        self.retries_before_step = allocator_retries()

    def peak_memory(self) -> dict[str, float]:
        """The peaks since the reset, in MB of 2**20 bytes."""
        import torch

        return {
            "memory_allocated_MB": torch.cuda.max_memory_allocated() / MIB,
            "memory_reserved_MB": torch.cuda.max_memory_reserved() / MIB,
        }

    def energy_joules(self) -> float | None:
        """The energy of the whole GPU, as counted by its driver."""
        return self.monitor.joules()

    def sample_clock(self) -> None:
        """Note the clock of the streaming multiprocessors, what slows it down, and retries."""
        self.monitor.sample_clock()
        self.retries_in_measured_steps += allocator_retries() - self.retries_before_step

    def retries(self) -> dict[str, int]:
        """How often the allocator had to free its cached blocks: in all, and in measured steps."""
        return {
            "allocator_retries": allocator_retries(),
            "retries_in_measured_steps": self.retries_in_measured_steps,
        }


class CpuDevice:
    """A CPU. Its memory is the process's resident set.

    On Linux it is the peak; elsewhere, where the peak cannot be reset, the current size.
    """

    def synchronize(self) -> None:
        """Do nothing: work on a CPU has finished when the call returns."""

    def reset_peak_memory(self) -> None:
        """Reset the peak, VmHWM, by writing 5 to clear_refs (proc(5))."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak_memory(self) -> dict[str, float]:
        """The peaks since the reset, in MB of 2**20 bytes."""
        import psutil

        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return {"resident_set_MB": int(line.split()[1]) / 1024}
        return {"resident_set_MB": psutil.Process().memory_info().rss / MIB}

    def energy_joules(self) -> float | None:
        """None: reading a CPU's counter needs administrator rights."""
        return None

    def sample_clock(self) -> None:
        """Do nothing: a CPU's timings are not reported."""


def set_up_device(arguments: TrainingArguments, record: dict[str, Any]) -> bool:
    """Check the device, import torch, set the memory limit, and record the environment.

    Returns:
        Whether there is a GPU.

    Raises:
        GpuNotIdle: if `require_idle_gpu` is set and other processes use the GPU.
        InvalidInput: if a setting needs a GPU or a package that is not there, or the memory limit
            is more than the GPU has.
    """
    check_packages(arguments)
    others = environment.other_processes()
    if arguments.require_idle_gpu:
        environment.check_idle(others)
    gpu, used_MB = environment.gpu(), environment.memory_used_MB()
    record["environment"] = {
        "code": code_digest(),
        **environment.software(),
        "variables": variables_that_matter(),
        "gpu": gpu,
        "load_average": list(os.getloadavg()),
    }
    if gpu is None:
        triton_interpreter.check_without_gpu(arguments)
        triton_interpreter.enable()
    silence_libraries()
    import torch

    record["environment"]["triton_interpreter"] = gpu is None
    if gpu is None:
        return False
    torch.cuda.set_device(ranks.rank())
    torch.zeros(1, device="cuda")  # makes the CUDA context, whose memory is no other process's
    gpu |= {
        "other_processes": others,
        "clocks_start": environment.clocks(),
        "others_memory_MB": {"start": used_MB},
        "context_MB": max(environment.memory_used_MB() - used_MB, 0.0),
    }
    if arguments.gpu_memory_limit_gib is not None:
        total = gpu_bytes()
        share = arguments.gpu_memory_limit_gib * environment.GIB / total
        if share > 1:
            raise InvalidInput(
                f"training_args.gpu_memory_limit_gib: {arguments.gpu_memory_limit_gib} is more "
                f"than this GPU has, {total / environment.GIB:.1f} GiB"
            )
        torch.cuda.set_per_process_memory_fraction(share)
    return True


def silence_libraries() -> None:
    """Suppress progress bars and warnings that every condition would repeat."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    # Liger warns about optional backends that are not installed.
    logging.getLogger("liger_kernel").setLevel(logging.ERROR)
    # trl warns that attention other than flash attention may let documents see each other: each run
    # proves that they do not.
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # Liger's forward hands a cache on by the name that transformers has deprecated.
    warnings.filterwarnings("ignore", "`past_key_values` is deprecated", FutureWarning)
    # trl sets this option by the name that transformers has deprecated.
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)


def gpu_bytes() -> int:
    """The memory of this process's GPU, in bytes."""
    import torch

    return int(torch.cuda.get_device_properties(ranks.rank()).total_memory)


def allocator_retries() -> int:
    """How often the allocator had to free its cached blocks before it could serve a request."""
    import torch

    return int(torch.cuda.memory_stats().get("num_alloc_retries", 0))


def memory_of_others(gpu: dict[str, Any] | None) -> float:
    """The GPU memory in MB that other processes hold now: all that is used and not ours.

    Args:
        gpu: the GPU's record, with `context_MB`; None if there is no GPU, of which they hold 0.
    """
    import torch

    if gpu is None:
        return 0.0

    ours = torch.cuda.memory_reserved() / MIB + gpu["context_MB"]
    if ranks.in_group():
        ours += NCCL_MB
    return max(environment.memory_used_MB() - ours, 0.0)


def record_gpu_at_end(device: Device, record: dict[str, Any]) -> None:
    """Record what the GPU and its allocator did, and what others hold of its memory now.

    Nothing is recorded of a CPU.
    """
    if not isinstance(device, CudaDevice):
        return
    record["memory"] = device.retries()
    gpu = record["environment"]["gpu"]
    gpu |= {"clocks_end": environment.clocks(), "window": device.monitor.window()}
    gpu["others_memory_MB"]["end"] = memory_of_others(gpu)
