"""The container image, the pods' resources and what else is settled at registration.

They are read from the environment of whoever registers. A container that registers in its turn
(the dynamic task does, for the grid) has to come to the same values: `REGISTRATION` hands them on.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

from flytekit import ImageSpec, Resources
from flytekit.extras import accelerators

# Every package of the image, and not requirements.txt with these as its constraints: flytekit's
# builder and Union's both send this one file, so that a `-c` in it would lead nowhere.
# The path is from the current folder, as flytekit looks for it. An image is told from another by
# this path too: a container, where the file lies elsewhere or nowhere, has to know it as it was.
REQUIREMENTS = os.environ.get("LIGER_BENCHMARK_REQUIREMENTS") or os.path.relpath(
    Path(__file__).parent / "constraints.txt"
)
ACCELERATORS = {
    name: getattr(accelerators, name)
    for name in ("A10G", "A100", "A100_80GB", "H100", "H200", "L4", "L40S", "T4", "V100")
}


def _pins_digest() -> str:
    """A short hash of constraints.txt; a container, which may lack the file, is told it."""
    handed_on = os.environ.get("LIGER_BENCHMARK_PINS")
    if handed_on:
        return handed_on
    return hashlib.sha256(Path(REQUIREMENTS).read_bytes()).hexdigest()[:12]


def _registration_digest() -> str:
    """The GPU kind and a short hash of all that a registration hands on to its containers."""
    settings = "\0".join(f"{key}={value}" for key, value in sorted(REGISTRATION.items()))
    return f"{GPU_KIND.lower()}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def _gpu_kind() -> str:
    kind = os.environ.get("LIGER_BENCHMARK_GPU", "A100").upper().replace("-", "_")
    if kind not in (*ACCELERATORS, ANY_GPU):
        raise SystemExit(
            f"LIGER_BENCHMARK_GPU: {kind!r} is not one of {', '.join(sorted(ACCELERATORS))}, "
            f"or {ANY_GPU} for a node of any kind"
        )
    return kind


def _amount(variable: str, default: str, form: str, example: str) -> str:
    """The amount of a resource that a variable asks for, as Kubernetes writes it.

    Args:
        form: a regular expression for what Kubernetes takes.
    """
    amount = os.environ.get(variable) or default
    if not re.fullmatch(form, amount):
        raise SystemExit(f"{variable}: {amount!r} is not an amount such as {example}")
    return amount


def _on(cpu: str, memory: str, storage: str | None = None, gpu: str | None = None) -> Resources:
    return Resources(cpu=cpu, mem=memory, gpu=gpu, ephemeral_storage=storage)


PYTHON_VERSION = "3.11"
# Triton compiles its kernels' launcher with the C compiler it finds at run time.
APT_PACKAGES = ["build-essential"]

# What a training pod gets; the defaults fit the blog's run. Storage is that of downloads, too: both
# hold the model's weights.
_BYTES = r"\d+(\.\d+)?([KMGT]i|[kMGT])?"
CPU = _amount("LIGER_BENCHMARK_CPU", "12", r"\d+(\.\d+)?|\d+m", "12")
MEMORY = _amount("LIGER_BENCHMARK_MEMORY", "24Gi", _BYTES, "24Gi")
STORAGE = _amount("LIGER_BENCHMARK_STORAGE", "20Gi", _BYTES, "20Gi")
ANY_GPU = "ANY"
GPU_KIND = _gpu_kind()
# None leaves the choice of the node to the cluster.
GPU = ACCELERATORS.get(GPU_KIND)

# Every task states these as requests and as limits: Flyte refuses requests above the platform's
# limits with a message, but cuts limits down to them in silence. docs/cluster.md has the sizes.
TRAINING_POD = _on(CPU, MEMORY, STORAGE, gpu="1")
DOWNLOAD_POD = _on("2", "8Gi", STORAGE)
PLANNING_POD = _on("1", "1Gi")
ANALYSIS_POD = _on("2", "2Gi")

# What else of a training container a measurement may depend on. Memory and storage decide whether
# a run gets to its end, and not what it measures.
MACHINE_DIGEST = hashlib.sha256(repr((PYTHON_VERSION, APT_PACKAGES, CPU)).encode()).hexdigest()[:8]

BY_UNION = Path(sys.argv[0]).stem == "union"
PINS_DIGEST = _pins_digest()
REGISTRY = os.environ.get("LIGER_BENCHMARK_REGISTRY", "")
WANDB_PROJECT = os.environ.get("WANDB_PROJECT", "liger-kernel-finetuning")
WANDB_ENTITY = os.environ.get("WANDB_ENTITY", "")
# The secrets that tasks ask for. Where one does not exist, plain Flyte starts the pod without it.
SECRETS = os.environ.get("LIGER_BENCHMARK_SECRETS", "wandb_api_key").split()
# Plain Flyte wants a secret's group (in Kubernetes, the secret's own name); Union has none. That
# the package `union` is installed, here or in the image, does not make the cluster Union's.
SECRET_GROUP = os.environ.get("LIGER_BENCHMARK_SECRET_GROUP", "" if BY_UNION else "liger-benchmark")

REGISTRATION = {
    "LIGER_BENCHMARK_CPU": CPU,
    "LIGER_BENCHMARK_GPU": GPU_KIND,
    "LIGER_BENCHMARK_MEMORY": MEMORY,
    "LIGER_BENCHMARK_PINS": PINS_DIGEST,
    "LIGER_BENCHMARK_REGISTRY": REGISTRY,
    "LIGER_BENCHMARK_REQUIREMENTS": REQUIREMENTS,
    "LIGER_BENCHMARK_SECRETS": " ".join(SECRETS),
    "LIGER_BENCHMARK_SECRET_GROUP": SECRET_GROUP,
    "LIGER_BENCHMARK_STORAGE": STORAGE,
    "WANDB_PROJECT": WANDB_PROJECT,
    "WANDB_ENTITY": WANDB_ENTITY,
}

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
