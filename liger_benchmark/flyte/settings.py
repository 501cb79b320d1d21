"""What is settled when the workflow is registered, for the SDKs of Flyte 1 and Flyte 2 alike.

The settings are read from the environment of whoever registers. A container that registers in its
turn (Flyte 1's dynamic task does, and Flyte 2's parent task) has to come to the same values:
`REGISTRATION` hands them on. Neither SDK is imported here.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

# Every package of the image, and not requirements.txt with these as its constraints: the builders
# are sent this one file, so that a `-c` in it would lead nowhere.
# The path is from the current folder, as flytekit looks for it. An image is told from another by
# this path too: a container, where the file lies elsewhere or nowhere, has to know it as it was.
REQUIREMENTS = os.environ.get("LIGER_BENCHMARK_REQUIREMENTS") or os.path.relpath(
    Path(__file__).parents[2] / "constraints.txt"
)
GPU_KINDS = ("A10G", "A100", "A100_80GB", "H100", "H200", "L4", "L40S", "T4", "V100")
ANY_GPU = "ANY"


@dataclass(frozen=True)
class PodSize:
    """The resources of a task's pod, as Kubernetes writes them.

    Attributes:
        cpu: cores.
        memory: main memory.
        storage: the pod's own disk; None if it holds nothing large.
        gpus: GPUs of the kind `GPU_KIND`.
        shared_memory: what processes may share, /dev/shm; None for the container's own 64 MiB.
    """

    cpu: str
    memory: str
    storage: str | None = None
    gpus: int = 0
    shared_memory: str | None = None


def _pins_digest() -> str:
    """A short hash of constraints.txt; a container, which may lack the file, is told it."""
    handed_on = os.environ.get("LIGER_BENCHMARK_PINS")
    if handed_on:
        return handed_on
    return hashlib.sha256(Path(REQUIREMENTS).read_bytes()).hexdigest()[:12]


def _gpu_kind() -> str:
    kind = os.environ.get("LIGER_BENCHMARK_GPU", "A100").upper().replace("-", "_")
    if kind not in (*GPU_KINDS, ANY_GPU):
        raise SystemExit(
            f"LIGER_BENCHMARK_GPU: {kind!r} is not one of {', '.join(sorted(GPU_KINDS))}, "
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


PYTHON_VERSION = "3.11"
# Triton compiles its kernels' launcher with the C compiler it finds at run time.
APT_PACKAGES = ["build-essential"]

# What a training pod gets; the defaults fit the blog's run. Storage is that of downloads, too: both
# hold the model's weights.
_BYTES = r"\d+(\.\d+)?([KMGT]i|[kMGT])?"
CPU = _amount("LIGER_BENCHMARK_CPU", "12", r"\d+(\.\d+)?|\d+m", "12")
MEMORY = _amount("LIGER_BENCHMARK_MEMORY", "24Gi", _BYTES, "24Gi")
STORAGE = _amount("LIGER_BENCHMARK_STORAGE", "20Gi", _BYTES, "20Gi")
GPU_KIND = _gpu_kind()

# The ranks of a group pass messages and batches through it, beside what goes from GPU to GPU.
SHARED_MEMORY_A_GPU = "2Gi"


_UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def times(amount: str, factor: int) -> str:
    """An amount as Kubernetes writes it, multiplied: `24Gi` twice is `48Gi`."""
    number, unit = _number_and_unit(amount)
    return f"{number * factor:g}{unit}"


def quantity(amount: str) -> float:
    """An amount as Kubernetes writes it, as a number: `24Gi` in bytes, `500m` in CPUs."""
    number, unit = _number_and_unit(amount)
    return number * _UNITS[unit]


def _number_and_unit(amount: str) -> tuple[float, str]:
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", amount).groups()  # type: ignore[union-attr]
    return float(number), unit


def training_size(n_gpus: int) -> PodSize:
    """The pod of a condition on so many GPUs: `CPU` and `MEMORY` are for each of them."""
    if n_gpus == 1:
        return PodSize(CPU, MEMORY, STORAGE, gpus=1)
    shared = times(SHARED_MEMORY_A_GPU, n_gpus)
    return PodSize(times(CPU, n_gpus), times(MEMORY, n_gpus), STORAGE, n_gpus, shared)


# docs/cluster.md has the sizes.
TRAINING_SIZE = training_size(1)
DOWNLOAD_SIZE = PodSize("2", "8Gi", STORAGE)
PLANNING_SIZE = PodSize("1", "1Gi")
ANALYSIS_SIZE = PodSize("2", "2Gi")

# What else of a training container a measurement may depend on. Memory and storage decide whether
# a run gets to its end, and not what it measures.
MACHINE_DIGEST = hashlib.sha256(repr((PYTHON_VERSION, APT_PACKAGES, CPU)).encode()).hexdigest()[:8]

PINS_DIGEST = _pins_digest()
REGISTRY = os.environ.get("LIGER_BENCHMARK_REGISTRY", "")
WANDB_PROJECT = os.environ.get("WANDB_PROJECT", "liger-kernel-finetuning")
WANDB_ENTITY = os.environ.get("WANDB_ENTITY", "")
WANDB_SECRET_KEY = "wandb_api_key"
HF_SECRET_KEY = "hf_token"
# The secrets that tasks ask for. Where one does not exist, plain Flyte starts the pod without it.
SECRETS = os.environ.get("LIGER_BENCHMARK_SECRETS", WANDB_SECRET_KEY).split()

REGISTRATION = {
    "LIGER_BENCHMARK_CPU": CPU,
    "LIGER_BENCHMARK_GPU": GPU_KIND,
    "LIGER_BENCHMARK_MEMORY": MEMORY,
    "LIGER_BENCHMARK_PINS": PINS_DIGEST,
    "LIGER_BENCHMARK_REGISTRY": REGISTRY,
    "LIGER_BENCHMARK_REQUIREMENTS": REQUIREMENTS,
    "LIGER_BENCHMARK_SECRETS": " ".join(SECRETS),
    "LIGER_BENCHMARK_STORAGE": STORAGE,
    "WANDB_PROJECT": WANDB_PROJECT,
    "WANDB_ENTITY": WANDB_ENTITY,
}
