"""Functions that test_compilation runs in a fresh process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments

Send = Callable[[Any], None]


def compile_attention(send: Send, cache: str) -> dict[str, Any]:
    """Compile a layer without bias of whose output the graph returns views, as in front of a rope
    that is not compiled; run it forward and backward twice.

    Returns:
        `difference`: the largest absolute difference from the uncompiled layer; `cached`: whether
        AOTAutograd used its cache.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    import torch
    from torch._dynamo.utils import counters

    from liger_benchmark.training import compilation

    compilation.prepare(use_liger=False)
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 96, bias=False)

    @torch.compiler.disable
    def rope(query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return query * 2, key * 3

    def attention(x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part.unflatten(-1, (4, 8)).transpose(1, 2) for part in layer(x).split(32, dim=-1)
        )
        query, key = rope(query, key)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return out.transpose(1, 2).reshape(x.shape)

    compiled = torch.compile(attention)
    difference = 0.0
    for _ in range(2):
        x = torch.randn(2, 16, 32, requires_grad=True)
        result = compiled(x)
        result.sum().backward()
        difference = max(difference, (result - attention(x)).abs().max().item())
    counted = counters["aot_autograd"]
    return {
        "difference": difference,
        "cached": any(counted[f"autograd_cache_{what}"] for what in ("hit", "saved", "miss")),
    }


def traced_liger_losses(send: Send) -> list[str]:
    """The names of Liger's losses that torch.compile would still trace after `prepare`."""
    from liger_benchmark.training import compilation, triton_interpreter

    triton_interpreter.enable()
    compilation.prepare(use_liger=True)
    from liger_kernel.transformers import functional, monkey_patch

    losses = ("liger_fused_linear_cross_entropy", "liger_cross_entropy")
    return [
        f"{module.__name__}.{name}"
        for module in (functional, monkey_patch)
        for name in losses
        if hasattr(module, name) and not hasattr(getattr(module, name), "_torchdynamo_disable")
    ]


def prepare_calls_before_loading(
    send: Send, arguments: TrainingArguments, dataset: Path, model: Path, output: Path
) -> list[bool]:
    """Train until the model is loaded; the arguments of `compilation.prepare` until then."""
    from liger_benchmark.training import condition, triton_interpreter

    calls: list[bool] = []

    class Loading(Exception):
        pass

    def load(*args: Any, **kwargs: Any) -> None:
        raise Loading

    condition.compilation.prepare = calls.append  # type: ignore[assignment]
    condition.load_model = load  # type: ignore[assignment]
    triton_interpreter.check_without_gpu = lambda arguments: None  # type: ignore[assignment]
    try:
        condition.train(send, arguments, dataset, model, output)
    except Loading:
        return calls
    raise AssertionError("the model was not loaded")
