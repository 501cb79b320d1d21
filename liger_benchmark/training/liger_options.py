"""Liger's own options that are no kernels: the size of its loss's chunks, and its implementation.

Both have to be set before the model is loaded; the implementation before Liger is imported.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.liger_kernels import kernels_turned_on
from liger_benchmark.validation import InvalidInput

IMPLEMENTATION_VARIABLE = "LIGER_KERNEL_IMPL"
_LOSS = "liger_fused_linear_cross_entropy"


def check_implementation(arguments: TrainingArguments) -> None:
    """Refuse an implementation whose package is not installed. Nothing is imported.

    Raises:
        InvalidInput: naming the package, or the option that the implementation lacks.
    """
    if not arguments.use_liger or arguments.liger_implementation != "cutedsl":
        return
    if importlib.util.find_spec("cutlass") is None:
        raise InvalidInput(
            "training_args.liger_implementation: cutedsl needs the package nvidia-cutlass-dsl, "
            'which is not installed; pip install "liger-kernel[cutedsl]"'
        )
    if arguments.liger_chunk_mem_const != 1:
        raise InvalidInput(
            "training_args.liger_chunk_mem_const: the loss of liger_implementation: cutedsl has no "
            "such option; leave one of the two out"
        )


def apply(arguments: TrainingArguments) -> None:
    """Set the options of an arm with Liger in this process."""
    if not arguments.use_liger:
        return
    check_implementation(arguments)
    if arguments.liger_implementation != "triton":
        os.environ[IMPLEMENTATION_VARIABLE] = arguments.liger_implementation
    if arguments.liger_chunk_mem_const != 1:
        from liger_kernel.transformers import functional

        setattr(functional, _LOSS, _with_chunks(getattr(functional, _LOSS), arguments))


def _with_chunks(loss: Any, arguments: TrainingArguments) -> Any:
    """Liger's loss with the arm's chunks. Its callers read its signature, which stays."""

    @functools.wraps(loss)
    def with_chunks(*args: Any, **kwargs: Any) -> Any:
        return loss(*args, **{"chunk_mem_const": arguments.liger_chunk_mem_const, **kwargs})

    return with_chunks


def n_chunks(tokens: int, vocabulary: int, hidden_size: int, chunk_mem_const: int = 1) -> int:
    """The chunks into which Liger's fused loss cuts the tokens of a batch.

    Source: `fused_linear_cross_entropy_forward` in liger-kernel 0.8.5.
    """
    increase = math.ceil(vocabulary / (chunk_mem_const * hidden_size))
    size = min(1 << (math.ceil(tokens / increase) - 1).bit_length(), tokens)
    return math.ceil(tokens / size)


def describe_chunks(arguments: TrainingArguments, config: Any) -> dict[str, int]:
    """The most chunks that Liger's fused loss needs for a batch; empty if the arm lacks that loss.

    Args:
        config: the model's.
    """
    if not arguments.use_liger or "fused_linear_cross_entropy" not in kernels_turned_on(
        config.model_type, arguments.liger_kernels
    ):
        return {}
    tokens = arguments.per_device_train_batch_size * arguments.max_seq_length
    text = config.get_text_config()
    constant = arguments.liger_chunk_mem_const
    return {"chunks": n_chunks(tokens, text.vocab_size, text.hidden_size, constant)}


def implementation_in_use() -> str:
    """The implementation whose operators Liger runs in this process."""
    from liger_kernel import ops

    module: str = ops.LigerRMSNormFunction.__module__
    return "cutedsl" if ".cutedsl." in module else "triton"
