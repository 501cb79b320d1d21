"""The container image, secrets and task environments of Flyte 2, made from the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import flyte

from liger_benchmark.flyte import settings
from liger_benchmark.flyte.settings import (
    ANALYSIS_SIZE,
    ANY_GPU,
    APT_PACKAGES,
    DOWNLOAD_SIZE,
    GPU_KIND,
    HF_SECRET_KEY,
    PLANNING_SIZE,
    PYTHON_VERSION,
    REGISTRY,
    REQUIREMENTS,
    SECRETS,
    TRAINING_SIZE,
    WANDB_SECRET_KEY,
    PodSize,
)

# Where Flyte 2 calls a kind of GPU by another name than Flyte 1.
GPU_NAMES = {"A100_80GB": "A100_80G", "L40S": "L40s"}
# Secrets of Flyte 2 need no group.
SECRET_GROUP = os.environ.get("LIGER_BENCHMARK_SECRET_GROUP") or None
REGISTRATION = settings.REGISTRATION | {"LIGER_BENCHMARK_SECRET_GROUP": SECRET_GROUP or ""}


def resources(pod: PodSize) -> flyte.Resources:
    """A pod's resources as the SDK takes them."""
    gpu: int | flyte.Device | None = pod.gpus or None
    if pod.gpus and GPU_KIND != ANY_GPU:
        gpu = flyte.Device(pod.gpus, "GPU", device=GPU_NAMES.get(GPU_KIND, GPU_KIND))
    # A pair is request and limit. A single value would be a request alone.
    return flyte.Resources(
        cpu=(pod.cpu, pod.cpu),
        memory=(pod.memory, pod.memory),
        disk=pod.storage,
        gpu=gpu,
        shm=pod.shared_memory,
    )


def _secrets(key: str, variable: str) -> list[str | flyte.Secret] | None:
    """The secret, in the environment variable in which its reader looks for it, if asked for."""
    if key not in SECRETS:
        return None
    return [flyte.Secret(key=key, group=SECRET_GROUP, as_env_var=variable)]


_MAJOR, _MINOR = (int(part) for part in PYTHON_VERSION.split("."))
image = (
    flyte.Image.from_debian_base(
        python_version=(_MAJOR, _MINOR),
        name="liger-kernel-finetuning",
        registry=REGISTRY or None,
    )
    .with_apt_packages(*APT_PACKAGES)
    .with_requirements(Path(REQUIREMENTS))
)


def _environment(name: str, pod: PodSize, **options: Any) -> flyte.TaskEnvironment:
    """An environment of the image, with what the registration hands on to its pods."""
    return flyte.TaskEnvironment(
        name=name, image=image, resources=resources(pod), env_vars=REGISTRATION, **options
    )


download = _environment(
    "liger-benchmark-download", DOWNLOAD_SIZE, secrets=_secrets(HF_SECRET_KEY, "HF_TOKEN")
)
training = _environment(
    "liger-benchmark-training",
    TRAINING_SIZE,
    secrets=_secrets(WANDB_SECRET_KEY, "WANDB_API_KEY"),
)
analysis = _environment("liger-benchmark-analysis", ANALYSIS_SIZE)
experiment = _environment(
    "liger-benchmark", PLANNING_SIZE, depends_on=[download, training, analysis]
)
