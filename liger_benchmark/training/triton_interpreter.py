"""Run Liger's Triton kernels on a CPU, through Triton's interpreter.

The interpreter executes the kernels' own code with NumPy, one program at a time. It is slow, and
verifies on a machine without a GPU that all arms compute the same. Two differences from compiled
kernels are adapted:

* Triton's compiler turns a Python float argument into an fp32 scalar, on which a kernel may call
  `.to(...)`. The interpreter passes the Python float; it is wrapped here.
* The interpreter lacks libdevice, NVIDIA's maths library. Of its functions Liger uses `rsqrt`,
  which is mapped to Triton's `rsqrt`, and `tanh` (Gemma's activation), mapped to NumPy's, as is
  `log1p`, which cut-cross-entropy uses.

What the interpreter does to Triton's language before each kernel is done once, which is faster.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.validation import InvalidInput


class InterpreterUnsupported(RuntimeError):
    """Liger cannot run on a CPU in this process. The message is one line."""


def enable() -> None:
    """Make Triton interpret kernels in this process, and adapt it to Liger's.

    Must be called before triton is imported, because a kernel is set up for the compiler or for the
    interpreter when it is defined.

    Raises:
        InterpreterUnsupported: if triton was imported before without TRITON_INTERPRET=1.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        if "triton" in sys.modules:
            raise InterpreterUnsupported(
                "triton was imported before TRITON_INTERPRET=1 was set; set it in the environment"
            )
        os.environ["TRITON_INTERPRET"] = "1"
    _wrap_float_arguments()
    _map_libdevice()
    _replace_language_once()


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
        # Looked up at each call, as the interpreter replaces tl.math's functions during a kernel.
        return tl.math.rsqrt(x)

    def tanh(x: Any) -> Any:
        return tl.tensor(TensorHandle(np.tanh(x.handle.data), x.handle.dtype), x.type)

    def log1p(x: Any) -> Any:
        return tl.tensor(TensorHandle(np.log1p(x.handle.data), x.handle.dtype), x.type)

    libdevice.rsqrt = rsqrt
    libdevice.tanh = tanh
    libdevice.log1p = log1p


def _replace_language_once() -> None:
    """Let the interpreter replace Triton's language by its own once in this process.

    It looks through the whole of `triton.language` at every launch, and in every program at every
    call of a function such as `tl.sum`: a fifth of a tiny run's time.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    replace = interpreter._patch_lang
    if not hasattr(interpreter, "_LangPatchScope") or getattr(replace, "replaces_once", False):
        return
    done = False

    def replace_once(function: Any) -> Any:
        nonlocal done
        if not done:
            replace(types.SimpleNamespace(__globals__={"tl": tl, "core": tl.core}))
            done = True
        return interpreter._LangPatchScope()  # of nothing: nothing is put back

    replace_once.replaces_once = True  # type: ignore[attr-defined]
    interpreter._patch_lang = replace_once


def check_without_gpu(arguments: TrainingArguments) -> None:
    """Refuse settings that a machine without a GPU cannot run, or would silently compute wrongly.

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
    if arguments.attn_implementation.startswith("flash_attention"):
        raise InvalidInput(
            f"{key}attn_implementation: {arguments.attn_implementation} needs a GPU and there is "
            "none: set sdpa"
        )
    if arguments.fp16:
        raise InvalidInput(f"{key}fp16: true needs a GPU and there is none: set fp16: false")
    for setting, asked in (
        ("loss_type: cce", arguments.loss_type == "cce"),
        ("use_hub_kernels: true", arguments.use_hub_kernels),
        ("liger_implementation: cutedsl", arguments.liger_implementation == "cutedsl"),
    ):
        if asked:
            raise InvalidInput(f"{key}{setting} needs a GPU and there is none; leave this arm out")
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
