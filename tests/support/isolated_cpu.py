"""Functions that test_triton_interpreter runs in a fresh process, as Liger patches a whole one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from liger_benchmark.training import triton_interpreter

Send = Callable[[Any], None]


def compare_with_plain_model(send: Send) -> dict[str, Any]:
    """Largest differences of loss and gradients between a plain tiny Phi-3 and Liger's."""
    triton_interpreter.enable()
    import torch
    from liger_kernel.transformers import AutoLigerKernelForCausalLM
    from transformers import AutoConfig, AutoModelForCausalLM

    from liger_benchmark.catalog import MODELS

    config = AutoConfig.for_model(**{k: v for k, v in MODELS["phi3-tiny"].items()})
    tokens = torch.randint(3, 512, (2, 32), generator=torch.Generator().manual_seed(0))
    losses, gradients, functions = [], [], []
    for auto_class in (AutoModelForCausalLM, AutoLigerKernelForCausalLM):
        torch.manual_seed(0)
        model = auto_class.from_config(config).train()
        loss = model(input_ids=tokens, labels=tokens).loss
        functions.append(loss.grad_fn.name())
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad for p in model.parameters()])
    return {
        "loss": abs(losses[0] - losses[1]),
        "gradient": max(
            ((a - b).abs().max() / a.abs().max()).item() for a, b in zip(*gradients, strict=True)
        ),
        "kernels_ran": "Liger" not in functions[0] and "Liger" in functions[1],
    }


def replacements_of_the_language(send: Send) -> int:
    """How often the interpreter replaces Triton's language in two launches of two kernels."""
    os.environ["TRITON_INTERPRET"] = "1"
    import torch
    from triton.runtime import interpreter

    calls = []
    replace_language = interpreter._patch_lang

    def counted(function: Any) -> Any:
        calls.append(function)
        return replace_language(function)

    interpreter._patch_lang = counted
    triton_interpreter.enable()
    triton_interpreter.enable()
    from liger_kernel.transformers import LigerRMSNorm

    norm = LigerRMSNorm(16)
    for _ in range(2):
        norm(torch.ones(2, 16, requires_grad=True)).sum().backward()
    return len(calls)


def bf16_is_refused(send: Send) -> None:
    """Train a Liger condition in bf16 on a CPU; it must be refused before the folders are read."""
    from liger_benchmark.training.condition import train
    from support.tiny import TINY

    train(send, replace(TINY, use_liger=True, bf16=True), Path(), Path(), Path())


def enable_after_triton(send: Send) -> str:
    """The error message if the interpreter is enabled after triton was imported."""
    os.environ["TRITON_INTERPRET"] = "0"
    import triton  # noqa: F401

    try:
        triton_interpreter.enable()
    except triton_interpreter.InterpreterUnsupported as error:
        return str(error)
    return "no error"
