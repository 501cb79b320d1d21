"""Recognise errors that mean that the GPU ran out of memory."""

from __future__ import annotations

import re
from typing import Any

from liger_benchmark.training.environment import MIB
from liger_benchmark.validation import one_line

# Messages of CUDA, cuBLAS, cuDNN and Triton; PyTorch has an exception of its own.
_OUT_OF_MEMORY = re.compile(
    r"CUDA\]?( driver)?( error)?:? out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED", re.I
)
_REQUESTED = re.compile(r"Tried to allocate ([\d.]+) (GiB|MiB|KiB|bytes)")
_IN_MIB = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "bytes": 1 / 2**20}


def describe_out_of_memory(error: BaseException) -> dict[str, Any] | None:
    """The record of an out-of-memory error, or None if `error` is none.

    Returns:
        `requested_MB` (None if the message does not state it), `allocated_MB` and `reserved_MB`, in
        MB of 2**20 bytes, and `message`.
    """
    import torch

    if not isinstance(error, torch.OutOfMemoryError) and not (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))
    ):
        return None
    requested = _REQUESTED.search(str(error))
    return {
        "requested_MB": float(requested[1]) * _IN_MIB[requested[2]] if requested else None,
        "allocated_MB": torch.cuda.memory_allocated() / MIB,
        "reserved_MB": torch.cuda.memory_reserved() / MIB,
        "message": one_line(error, limit=None),
    }
