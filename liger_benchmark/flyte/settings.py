"""What is settled when the workflow is registered, for the SDKs of Flyte 1 and Flyte 2 alike.

The settings are read from the environment of whoever registers. A container that registers in its
turn (Flyte 1's dynamic task does, and Flyte 2's parent task) has to come to the same values:
`REGISTRATION` hands them on. Neither SDK is imported here.
"""

import hashlib
import os
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


@dataclass(frozen=True)
class PodSize:
    """The resources of a task's pod, as Kubernetes quantities.

    Attributes:
        cpu: cores.
        memory: main memory.
        disk: the pod's own disk; None if it holds nothing large. Only Flyte 2 is asked for it.
        gpus: GPUs of the kind `GPU_KIND`.
    """

    cpu: str
    memory: str
    disk: str | None = None
    gpus: int = 0


def _pins_digest() -> str:
    """A short hash of constraints.txt; a container, which may lack the file, is told it."""
    handed_on = os.environ.get("LIGER_BENCHMARK_PINS")
    if handed_on:
        return handed_on
    return hashlib.sha256(Path(REQUIREMENTS).read_bytes()).hexdigest()[:12]


def _gpu_kind() -> str:
    kind = os.environ.get("LIGER_BENCHMARK_GPU", "A100").upper().replace("-", "_")
    if kind not in GPU_KINDS:
        raise SystemExit(
            f"LIGER_BENCHMARK_GPU: {kind!r} is not one of {', '.join(sorted(GPU_KINDS))}"
        )
    return kind


PYTHON_VERSION = "3.11"
# Triton compiles its kernels' launcher with the C compiler it finds at run time.
APT_PACKAGES = ["build-essential"]
TRAINING_POD = PodSize(cpu="12", memory="24Gi", disk="30Gi", gpus=1)
DOWNLOAD_POD = PodSize(cpu="2", memory="8Gi", disk="30Gi")
ANALYSIS_POD = PodSize(cpu="2", memory="2Gi")
# The parent of all tasks in Flyte 2: it imports the code, and waits.
PARENT_POD = PodSize(cpu="1", memory="1Gi")
# What else of a training container a measurement may depend on.
MACHINE_DIGEST = hashlib.sha256(
    repr((PYTHON_VERSION, APT_PACKAGES, TRAINING_POD)).encode()
).hexdigest()[:8]

GPU_KIND = _gpu_kind()
PINS_DIGEST = _pins_digest()
REGISTRY = os.environ.get("LIGER_BENCHMARK_REGISTRY", "")
WANDB_PROJECT = os.environ.get("WANDB_PROJECT", "liger-kernel-finetuning")
WANDB_ENTITY = os.environ.get("WANDB_ENTITY", "")
WANDB_SECRET_KEY = "wandb_api_key"
HF_SECRET_KEY = "hf_token"
# A pod whose secret does not exist never starts: name only the secrets that the cluster has.
SECRETS = os.environ.get("LIGER_BENCHMARK_SECRETS", WANDB_SECRET_KEY).split()

REGISTRATION = {
    "LIGER_BENCHMARK_GPU": GPU_KIND,
    "LIGER_BENCHMARK_PINS": PINS_DIGEST,
    "LIGER_BENCHMARK_REGISTRY": REGISTRY,
    "LIGER_BENCHMARK_REQUIREMENTS": REQUIREMENTS,
    "LIGER_BENCHMARK_SECRETS": " ".join(SECRETS),
    "WANDB_PROJECT": WANDB_PROJECT,
    "WANDB_ENTITY": WANDB_ENTITY,
}
