"""The hardware that a grid was measured on, read from its runs' records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liger_benchmark.catalog import MODELS
from liger_benchmark.experiment.gpu_peaks import dense_bf16_tflops
from liger_benchmark.run import Run

# Models that are there to try the code on, whatever they run on.
SMOKE_MODELS = tuple(f"builtin:{name}" for name in MODELS if name.endswith("-tiny"))
GPU_HISTORY = "step_peak_memory_reserved_MB"
CPU_HISTORY = "step_peak_resident_set_MB"


@dataclass(frozen=True)
class Hardware:
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


def hardware_of(runs: Sequence[Run]) -> Hardware:
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
    return Hardware(name, dense_bf16_tflops(name) if gpus else None, trial)
