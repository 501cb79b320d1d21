"""Recognise errors that mean that the GPU ran out of memory, and whose memory that was."""

from __future__ import annotations

import re
from typing import Any

from liger_benchmark.training.device import memory_of_others
from liger_benchmark.training.environment import MIB
from liger_benchmark.validation import one_line

# What others must hold, in MB, to be the reason for a refusal. A small process's CUDA context alone
# takes some 500 MB; a driver that counts its own reserve as used, about as much.
NEIGHBOUR_MB = 1024.0
# cuBLAS says "not initialized" where it gets no memory for its handle, and elsewhere.
_NO_HANDLE = re.compile(r"CUBLAS_STATUS_NOT_INITIALIZED|CUDNN_STATUS_NOT_INITIALIZED")
HANDLE_MB = 1024.0
# Messages of CUDA, cuBLAS, cuDNN, Triton and NCCL; PyTorch has an exception of its own.
_OUT_OF_MEMORY = re.compile(
    r"CUDA\]?( driver)?( error)?:? out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
    r"|Cuda failure (2 )?'out of memory'",
    re.I,
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
        isinstance(error, RuntimeError)
        and (_OUT_OF_MEMORY.search(str(error)) or _had_no_handle(error))
    ):
        return None
    requested = _REQUESTED.search(str(error))
    return {
        "requested_MB": float(requested[1]) * _IN_MIB[requested[2]] if requested else None,
        "allocated_MB": torch.cuda.memory_allocated() / MIB,
        "reserved_MB": torch.cuda.memory_reserved() / MIB,
        "message": one_line(error, limit=None),
    }


def refuse_if_others_hold_it(others_MB: float, error: BaseException) -> None:
    """Refuse to take an error for a measurement if other processes hold a part of the memory.

    Args:
        others_MB: what they hold, in MB of 2**20 bytes.

    Raises:
        GpuShared: the condition failed and is tried again the next time.
    """
    if others_MB > NEIGHBOUR_MB:
        raise GpuShared(
            f"the GPU ran out of memory while other processes held {others_MB / 1024:.1f} GiB of "
            "it, which says nothing about this condition; stop them and start again"
        ) from error


class GpuShared(RuntimeError):
    """Memory ran out on a GPU that other processes use. The message is one line."""


def _had_no_handle(error: BaseException) -> bool:
    """Whether a library got no handle because the GPU had no memory left for it."""
    import torch

    if not _NO_HANDLE.search(str(error)):
        return False
    free, _ = torch.cuda.mem_get_info()
    return free / MIB < HANDLE_MB


def reason_or_raise(error: Exception, gpu: dict[str, Any] | None) -> dict[str, Any]:
    """What is known of an error for want of memory; any other error is raised again.

    Raises:
        GpuShared: if other processes hold so much of the GPU that the run is no result.
    """
    out_of_memory = describe_out_of_memory(error)
    if out_of_memory is None:
        raise error
    if gpu is not None:
        refuse_if_others_hold_it(memory_of_others(gpu), error)
    return out_of_memory
