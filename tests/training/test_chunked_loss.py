"""The chunked loss without entropy and accuracy has trl's own value and gradients."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from liger_benchmark.training import chunked_loss

TOKENS, HIDDEN, VOCABULARY = 48, 16, 64


def loss_and_gradients(function: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[Any]:
    """trl's loss with `function` for a chunk: the loss, the gradients, and what it counts."""
    import torch

    trl_module: Any = importlib.import_module("trl.trainer.sft_trainer")
    monkeypatch.setattr(trl_module, "_chunk", function)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, TOKENS, HIDDEN, generator=generator).requires_grad_()
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator).requires_grad_()
    labels = torch.randint(VOCABULARY, (2, TOKENS), generator=generator)
    labels[0, :20] = -100
    bias = torch.randn(VOCABULARY, generator=generator) if options.pop("bias", False) else None
    loss, correct, entropy, _ = trl_module._chunked_cross_entropy_loss(
        hidden, weight, chunk_size=32, labels=labels, lm_head_bias=bias, **options
    )
    loss.backward()
    return [loss.detach(), hidden.grad, weight.grad, correct.detach(), entropy.detach()]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": True},
        {"logit_scale": 0.25},
        {"final_logit_softcapping": 5.0},
        {"num_items_in_batch": 100},
    ],
)
def test_loss_and_gradients_are_trls_and_accuracy_and_entropy_are_not_computed(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    trl_module: Any = importlib.import_module("trl.trainer.sft_trainer")
    trls = loss_and_gradients(trl_module._chunk, monkeypatch, **dict(options))
    ours = loss_and_gradients(chunked_loss._chunk, monkeypatch, **dict(options))
    for expected, found in zip(trls[:3], ours[:3], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert float(trls[4]) > 0
    assert (float(ours[3]), float(ours[4])) == (0.0, 0.0)


def test_in_bf16_the_softmax_is_computed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    trl_module: Any = importlib.import_module("trl.trainer.sft_trainer")
    hidden = torch.randn(TOKENS, HIDDEN, dtype=torch.bfloat16)
    weight = torch.randn(VOCABULARY, HIDDEN, dtype=torch.bfloat16)
    labels = torch.randint(VOCABULARY, (TOKENS,))
    arguments = (hidden, weight, None, labels, 1.0, None)
    ours, trls = chunked_loss._chunk(*arguments)[0], trl_module._chunk(*arguments)[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, trls, rtol=1e-6, atol=0)


def test_it_replaces_trls_function(monkeypatch: pytest.MonkeyPatch) -> None:
    trl_module: Any = importlib.import_module("trl.trainer.sft_trainer")
    monkeypatch.setattr(trl_module, "_chunk", trl_module._chunk)  # put back afterwards
    chunked_loss.compute_nothing_else()
    assert trl_module._chunk is chunked_loss._chunk
