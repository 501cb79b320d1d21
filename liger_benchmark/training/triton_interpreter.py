"""Run Liger's Triton kernels on a CPU, through Triton's interpreter.

The interpreter executes the kernels' own code with NumPy, one program at a time: slow, but the
real thing, so that a laptop can show that both arms compute the same. Two gaps are bridged:

* Triton's compiler turns a Python float argument into an fp32 scalar, on which a kernel may call
  `.to(...)`; the interpreter passes the bare float on. Here it is wrapped as the compiler would.
* libdevice is NVIDIA's maths library; the interpreter has none of it. Liger takes `rsqrt` from
  there, and Triton's own `rsqrt` is the same function; and `tanh`, for Gemma's activation, which
  NumPy has.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.validation import InvalidInput


class InterpreterUnsupported(RuntimeError):
    """Liger cannot be run on a CPU as asked. The message is one line."""


def enable() -> None:
    """Make Triton interpret its kernels in this process, and Liger run under it.

    Must be called before triton is imported: whether a kernel is compiled or interpreted is
    settled when it is defined.

    Raises:
        InterpreterUnsupported: if triton was imported before, for compilation.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        if "triton" in sys.modules:
            raise InterpreterUnsupported(
                "triton was imported before TRITON_INTERPRET=1 was set; set it in the environment"
            )
        os.environ["TRITON_INTERPRET"] = "1"
    _wrap_float_arguments()
    _map_libdevice()


def _wrap_float_arguments() -> None:
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._implicit_cvt
    if getattr(convert, "wraps_floats", False):
        return

    def convert_floats_too(argument: Any) -> Any:
        if isinstance(argument, float):
            handle = interpreter.TensorHandle(np.array([argument], dtype=np.float32), tl.float32)
            return tl.tensor(handle, tl.float32)
        return convert(argument)

    convert_floats_too.wraps_floats = True  # type: ignore[attr-defined]
    interpreter._implicit_cvt = convert_floats_too


def _map_libdevice() -> None:
    import numpy as np
    import triton.language as tl
    from triton.language.extra import libdevice
    from triton.runtime.interpreter import TensorHandle

    def rsqrt(x: Any) -> Any:
        # Looked up at each call: the interpreter swaps tl.math's functions while a kernel runs.
        return tl.math.rsqrt(x)

    def tanh(x: Any) -> Any:
        return tl.tensor(TensorHandle(np.tanh(x.handle.data), x.handle.dtype), x.type)

    libdevice.rsqrt = rsqrt
    libdevice.tanh = tanh


def check_without_gpu(arguments: TrainingArguments) -> None:
    """Refuse what a machine without a GPU cannot run, or would compute wrongly without a word.

    Raises:
        InvalidInput: naming the setting and what to set instead.
    """
    key = "training_args."
    if arguments.gpu_memory_limit_gib is not None:
        raise InvalidInput(
            f"{key}gpu_memory_limit_gib: {arguments.gpu_memory_limit_gib:g} needs a GPU and there "
            "is none; leave it out"
        )
    if arguments.attn_implementation == "flex_attention":
        raise InvalidInput(
            f"{key}attn_implementation: flex_attention needs a GPU, since PyTorch has no backward "
            "pass of it for a CPU: set sdpa"
        )
    if arguments.use_liger and arguments.bf16:
        # In bf16 the interpreter returns losses of 0.0.
        raise InvalidInput(
            f"{key}bf16: true needs a GPU; Triton's interpreter, which runs Liger on a CPU, gives "
            "wrong numbers in bf16: set bf16: false"
        )
    if arguments.use_liger and arguments.torch_compile:
        raise InvalidInput(
            f"{key}torch_compile: true with use_liger needs a GPU; Triton's interpreter, which "
            "runs Liger on a CPU, cannot be compiled: leave one of the two out"
        )
