"""What a run was measured on, and the peak its GPU could reach."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from liger_benchmark.builtin import MODELS
from liger_benchmark.runs import Run

# Dense bf16 tensor-core peak in TFLOP/s, accumulated in fp32, and the document of NVIDIA's that
# gives it; "half of" where it prints the value with sparsity, which is twice the dense one. Looked
# for in NVML's names, in this order: a special form stands before the name that is a part of it.
DENSE_BF16_TFLOPS = (
    (r"\bB200\b", 2250.0, "half of 4,500, NVIDIA's specification of B200"),
    (r"\bH200$", 989.4, "half of 1,979, H200 data sheet"),
    (r"\bH100 PCIe\b", 756.0, "half of 1,513, H100 PCIe data sheet"),
    (r"\bH100 NVL\b", 835.5, "half of 1,671, H100 data sheet"),
    # The SXM board, which NVML calls "NVIDIA H100 80GB HBM3".
    (r"\bH100\b", 989.4, "half of 1,979, H100 data sheet"),
    (r"\bA100\b", 312.0, "A100 data sheet"),
    (r"\bA40\b", 149.7, "A40 data sheet"),
    (r"\bA10G\b", 70.0, "A10G data sheet"),
    (r"\bA10\b", 125.0, "A10 data sheet"),
    (r"\bL40S\b", 362.0, "L40S data sheet"),
    (r"\bL4\b", 121.0, "half of 242, L4 data sheet"),
)


# Models that are there to try the code on, whatever they run on.
SMOKE_MODELS = tuple(f"builtin:{name}" for name in MODELS if name.endswith("-tiny"))
GPU_HISTORY = "step_peak_memory_reserved_MB"
CPU_HISTORY = "step_peak_resident_set_MB"


@dataclass(frozen=True)
class Device:
    """The device of a grid.

    Attributes:
        name: for people: the GPU's name, or "CPU".
        peak_tflops: dense bf16 TFLOP/s; None where the GPU is not in the table.
        trial: why the timings say nothing about the kernels, to stand after "a trial": it ran
            "on a CPU" (or in Triton's interpreter), "with a smoke model", or "on an unrecorded
            device". Empty where they do.
    """

    name: str
    peak_tflops: float | None
    trial: str = ""

    @property
    def timings_count(self) -> bool:
        """Whether the timings say something about the kernels."""
        return not self.trial


def dense_bf16_tflops(gpu_name: str) -> float | None:
    """The GPU's dense bf16 peak in TFLOP/s; None for one not in the table or a MIG slice of one."""
    if "MIG" in gpu_name:
        return None
    hits = (peak for pattern, peak, _ in DENSE_BF16_TFLOPS if re.search(pattern, gpu_name, re.I))
    return next(hits, None)


def device_of(runs: Sequence[Run]) -> Device:
    """The device that `runs` were measured on, from their records, else from their histories."""
    environments = [run.record["environment"] for run in runs if "environment" in run.record]
    gpus = [environment["gpu"] for environment in environments if environment.get("gpu")]
    on_cpu = any("gpu" in environment for environment in environments) or any(
        CPU_HISTORY in run.history for run in runs
    )
    if gpus:
        name = str(gpus[0].get("name", "unnamed GPU"))
    elif on_cpu:
        name = "CPU"
    else:
        on_gpu = any(GPU_HISTORY in run.history for run in runs)
        name = "unrecorded GPU" if on_gpu else "unrecorded device"
    interpreted = any(environment.get("triton_interpreter") for environment in environments)
    if interpreted or name == "CPU":
        trial = "on a CPU"
    elif any(run.training_args.model_name in SMOKE_MODELS for run in runs):
        trial = "with a smoke model"
    else:
        trial = "on an unrecorded device" if name == "unrecorded device" else ""
    return Device(name, dense_bf16_tflops(name) if gpus else None, trial)
