"""The container image, the GPU and the pods' resources as flytekit's objects, from the settings."""

import hashlib
import os
import sys
from pathlib import Path

from flytekit import ImageSpec, Resources
from flytekit.extras import accelerators

from liger_benchmark.flyte import settings
from liger_benchmark.flyte.settings import (
    ANALYSIS_SIZE,
    ANY_GPU,
    APT_PACKAGES,
    DOWNLOAD_SIZE,
    GPU_KIND,
    PLANNING_SIZE,
    PYTHON_VERSION,
    REGISTRY,
    REQUIREMENTS,
    TRAINING_SIZE,
    PodSize,
)


def _registration_digest() -> str:
    """The GPU kind and a short hash of all that a registration hands on to its containers."""
    handed_on = "\0".join(f"{key}={value}" for key, value in sorted(REGISTRATION.items()))
    return f"{GPU_KIND.lower()}-{hashlib.sha256(handed_on.encode()).hexdigest()[:8]}"


def resources(pod: PodSize) -> Resources:
    """A pod's resources as flytekit takes them, without its shared memory."""
    gpu = str(pod.gpus) if pod.gpus else None
    return Resources(cpu=pod.cpu, mem=pod.memory, gpu=gpu, ephemeral_storage=pod.storage)


# None leaves the choice of the node to the cluster.
GPU = None if GPU_KIND == ANY_GPU else getattr(accelerators, GPU_KIND)

# Every task states these as requests and as limits: Flyte refuses requests above the platform's
# limits with a message, but cuts limits down to them in silence.
TRAINING_POD = resources(TRAINING_SIZE)
DOWNLOAD_POD = resources(DOWNLOAD_SIZE)
PLANNING_POD = resources(PLANNING_SIZE)
ANALYSIS_POD = resources(ANALYSIS_SIZE)

BY_UNION = Path(sys.argv[0]).stem == "union"
# Plain Flyte wants a secret's group (in Kubernetes, the secret's own name); Union has none. That
# the package `union` is installed, here or in the image, does not make the cluster Union's.
SECRET_GROUP = os.environ.get("LIGER_BENCHMARK_SECRET_GROUP", "" if BY_UNION else "liger-benchmark")

REGISTRATION = settings.REGISTRATION | {"LIGER_BENCHMARK_SECRET_GROUP": SECRET_GROUP}

image = ImageSpec(
    name="liger-kernel-finetuning",
    registry=REGISTRY or None,
    python_version=PYTHON_VERSION,
    requirements=REQUIREMENTS,
    apt_packages=APT_PACKAGES,
    # flytekit makes a registration's version out of code and image. Flyte refuses one version with
    # two contents, so settings that are neither have to show in the image's tag.
    tag_format=f"{{spec_hash}}-{_registration_digest()}",
    # Without a registry to push to, nothing but Union's own builder makes an image that a cluster
    # can pull. Union Serverless uses it anyway; elsewhere flytekit would build for this machine.
    builder="union" if BY_UNION and not REGISTRY else None,
)
