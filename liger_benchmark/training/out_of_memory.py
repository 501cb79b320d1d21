"""Memory that the GPU refused, told from every other error: the first is a measurement."""

from __future__ import annotations

import re
from typing import Any

from liger_benchmark.training.environment import MIB

# How CUDA, its libraries and Triton say that memory was refused, besides PyTorch's own exception.
_OUT_OF_MEMORY = re.compile(
    r"CUDA\]?( driver)?( error)?:? out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED", re.I
)
_TRIED = re.compile(r"Tried to allocate ([\d.]+) (GiB|MiB|KiB|bytes)")
_IN_MIB = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "bytes": 1 / 2**20}


def refused_memory(error: BaseException) -> dict[str, Any] | None:
    """What the GPU refused and what was in use (MB of 2**20 bytes), or None for another error."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError) and not (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))
    ):
        return None
    tried = _TRIED.search(str(error))
    return {
        "requested_MB": float(tried[1]) * _IN_MIB[tried[2]] if tried else None,
        "allocated_MB": torch.cuda.memory_allocated() / MIB,
        "reserved_MB": torch.cuda.memory_reserved() / MIB,
        "message": " ".join(str(error).split()),
    }
