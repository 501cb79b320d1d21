"""The hardware that a grid was measured on, read from its runs' records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from liger_benchmark.catalog import TINY_MODELS
from liger_benchmark.columns import STEP_PEAK_RESERVED_MB, STEP_PEAK_RESIDENT_SET_MB
from liger_benchmark.experiment.gpu_peaks import dense_bf16_tflops
from liger_benchmark.run import Run

SMOKE_MODELS = tuple(f"builtin:{name}" for name in TINY_MODELS)


class Trial(StrEnum):
    """Why a grid's timings say nothing about the kernels, worded to follow "a trial"."""

    ON_CPU = "on a CPU"  # or in Triton's interpreter
    SMOKE_MODEL = "with a smoke model"
    UNRECORDED_DEVICE = "on an unrecorded device"


@dataclass(frozen=True)
class Hardware:
    """The device of a grid.

    Attributes:
        name: the GPU's name, or "CPU"; with their number where every condition uses several.
        card: the GPU's name alone.
        peak_tflops: dense bf16 TFLOP/s; None where the GPU is not in the table.
        trial: why the timings say nothing about the kernels; None where they do.
    """

    name: str
    peak_tflops: float | None
    trial: Trial | None = None
    card: str = ""


def hardware_of(runs: Sequence[Run]) -> Hardware:
    """The device that `runs` were measured on, from their records, else from their histories."""
    environments = [run.record["environment"] for run in runs if "environment" in run.record]
    gpus = [environment["gpu"] for environment in environments if environment.get("gpu")]
    on_cpu = not gpus and (
        any("gpu" in environment for environment in environments)
        or any(STEP_PEAK_RESIDENT_SET_MB in run.history for run in runs)
    )
    on_gpu = bool(gpus) or any(STEP_PEAK_RESERVED_MB in run.history for run in runs)
    if gpus:
        name = str(gpus[0].get("name", "unnamed GPU"))
    elif on_cpu:
        name = "CPU"
    else:
        name = "unrecorded GPU" if on_gpu else "unrecorded device"
    interpreted = any(environment.get("triton_interpreter") for environment in environments)
    trial = None
    if interpreted or on_cpu:
        trial = Trial.ON_CPU
    elif any(run.training_args.model_name in SMOKE_MODELS for run in runs):
        trial = Trial.SMOKE_MODEL
    elif not on_gpu:
        trial = Trial.UNRECORDED_DEVICE
    n_gpus = {run.training_args.n_gpus for run in runs}
    several = f"{max(n_gpus)} × " if len(n_gpus) == 1 and n_gpus != {1} else ""
    return Hardware(several + name, dense_bf16_tflops(name) if gpus else None, trial, name)
