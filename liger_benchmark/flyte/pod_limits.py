"""Whether a training pod got the resources that its task states.

Flyte 1's admin holds the tasks that are registered against the platform's `task_resources.limits`.
The training task is not among them: it comes out of the dynamic task, and so do its resources for
several GPUs. Propeller cuts both down to the platform's limits without a word. The pod itself
therefore compares, before it fetches anything, since a run with less would be killed for memory, or
kept under the key of a machine that it did not have.
"""

from __future__ import annotations

import os
from pathlib import Path

from liger_benchmark.flyte.settings import quantity, training_size
from liger_benchmark.training import environment
from liger_benchmark.wording import enumerate_words, plural

# Where the control groups are mounted, in either version.
CGROUPS = Path("/sys/fs/cgroup")
# The kernel rounds a limit of memory (bytes) down to whole pages, the kubelet one of CPUs to
# thousandths.
_MEMORY_TOLERANCE = 2**20
_CPU_TOLERANCE = 0.01


class PodCutDown(RuntimeError):
    """A pod has less than its task states. The message is one line and says what to change."""


def check_pod_limits(n_gpus: int) -> None:
    """Refuse to train in a pod that has less memory, CPUs or GPUs than its condition states.

    The disk is not compared: its limit is the kubelet's, and no file in the pod tells it. Where
    CUDA_VISIBLE_DEVICES is empty, GPUs are hidden on purpose, and are not compared either.

    Args:
        n_gpus: the condition's GPUs, which say what it states (`training_size`).

    Raises:
        PodCutDown: naming the platform's setting, or that the node shows no GPU.
    """
    stated = training_size(n_gpus)
    memory, cpus, visible = memory_limit(), cpu_limit(), len(environment.visible_devices())
    cut, settings = [], []
    if memory is not None and memory + _MEMORY_TOLERANCE < quantity(stated.memory):
        cut.append(f"{memory / 2**30:.3g} GiB of memory instead of {stated.memory}")
        settings.append("LIGER_BENCHMARK_MEMORY")
    if cpus is not None and cpus + _CPU_TOLERANCE < quantity(stated.cpu):
        cut.append(f"{cpus:g} CPU instead of {stated.cpu}")
        settings.append("LIGER_BENCHMARK_CPU")
    if 0 < visible < n_gpus:
        cut.append(f"{plural(visible, 'GPU')} instead of {n_gpus}")
        settings.append("n_gpus")
    if cut:
        raise PodCutDown(
            f"task_resources.limits: this pod has {enumerate_words(cut)}; raise the platform's "
            f"limits, or lower {enumerate_words(settings)}"
        )
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    if not visible and not is_hidden:
        raise PodCutDown(
            f"nvidia.com/gpu: no GPU is visible in this pod, which asks for {n_gpus}; its node "
            "needs NVIDIA's container runtime and device plugin"
        )


def memory_limit() -> int | None:
    """The limit of this container's memory in bytes; None if there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, version 1
        limit = _read(name)
        # Version 1 writes no limit as a number that no machine has.
        if limit.isdigit() and int(limit) < 2**60:
            return int(limit)
    return None


def cpu_limit() -> float | None:
    """The limit of this container's CPUs, a share of its period; None if there is none."""
    quota, _, period = _read("cpu.max").partition(" ")
    if not quota:
        quota, period = (_read(f"cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    # No limit is `max` in version 2 and -1 in version 1.
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(name: str) -> str:
    """What a control file holds; nothing if it cannot be read."""
    try:
        return (CGROUPS / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""
