"""The chunked loss has the plain loss's value and gradients, and no chunk without a label."""

from __future__ import annotations

from typing import Any

import pytest

from liger_benchmark.training import chunked_loss as module
from liger_benchmark.training.chunked_loss import chunked_loss

TOKENS, HIDDEN, VOCABULARY = 96, 16, 64


def inputs(dtype: Any = None) -> list[Any]:
    """Hidden states, a weight, a bias and labels, 20 of them masked."""
    import torch

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    bias = torch.randn(VOCABULARY, generator=generator)
    labels = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    labels[10:30] = -100
    tensors = [hidden.to(dtype), weight.to(dtype), bias.to(dtype)]
    return [*(t.requires_grad_() for t in tensors), labels]


@pytest.mark.parametrize(
    "options", [{}, {"logit_scale": 0.25}, {"softcapping": 5.0}, {"chunk_size": 256}]
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_loss_and_gradients_are_those_of_the_plain_loss(
    options: dict[str, Any], with_bias: bool
) -> None:
    import torch
    from torch.nn import functional as F

    hidden, weight, bias, labels = inputs()
    loss = chunked_loss(
        hidden, weight, bias if with_bias else None, labels, **{"chunk_size": 32, **options}
    )
    logits = F.linear(hidden, weight, bias if with_bias else None)
    logits = logits * options.get("logit_scale", 1.0)
    if cap := options.get("softcapping"):
        logits = cap * torch.tanh(logits / cap)
    plain = F.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=1e-6)
    expected = torch.autograd.grad(plain, (hidden, weight))
    for gradient, other in zip(torch.autograd.grad(loss, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-5)


def test_in_bf16_the_softmax_is_computed_in_fp32() -> None:
    import torch
    from torch.nn import functional as F

    hidden, weight, _, labels = inputs(torch.bfloat16)
    loss = chunked_loss(hidden, weight, None, labels)
    assert loss.dtype == torch.float32
    plain = F.cross_entropy((hidden @ weight.t()).float(), labels, reduction="sum")
    torch.testing.assert_close(loss, plain, rtol=1e-5, atol=0)


def test_chunks_without_a_label_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, _, labels = inputs()
    labels[32:] = -100
    sizes = []
    chunk = module._chunk

    def counted(*args: Any) -> Any:
        sizes.append(len(args[0]))
        return chunk(*args)

    monkeypatch.setattr(module, "_chunk", counted)
    chunked_loss(hidden, weight, None, labels, chunk_size=8)
    assert sizes == [8, 8]  # 32 labels, 20 of them masked
    sizes.clear()
    labels[:] = -100
    assert float(chunked_loss(hidden, weight, None, labels, chunk_size=8)) == 0.0
    assert sizes == [8]
