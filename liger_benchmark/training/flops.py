"""The floating-point operations that training a token takes, for MFU and HFU.

A multiplication with an addition counts as two.

*Weights.* A token is multiplied with N weights: 2·N in the forward pass and 2·N for the gradients
of the activations. The gradients of the weights take another 2 for each weight that is trained:
6·N where all are, 4·N where the weights are frozen beside adapters, which themselves take 6 each.
Source: Kaplan et al., "Scaling Laws for Neural Language Models" (2020), section 2.1; without the
gradients of frozen weights as in Hu et al., "LoRA" (2021), section 4.2.

*Attention.* A query and a key that it attends to are multiplied over the heads' dimensions d, and
so is a weight with its value: 4·d a pair in each layer, and twice that in the backward pass. Pairs
are counted as they are attended to: causally, within a document, within a layer's window. Without
these limits it is the 12·L·H·Q·T of Chowdhery et al., "PaLM" (2022), appendix B; the half of causal
attention is that of Dao, "FlashAttention-2" (2023), section 4.1.

*MFU* counts these for real tokens. *HFU* also counts what the hardware does beside: the layers that
gradient checkpointing computes again (not the head), and padding's products with weights. Source:
Korthikanti et al., "Reducing Activation Recomputation" (2022), section 6.3. Not counted is what a
kernel computes again for itself, as flash attention and Liger's fused loss do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.adapters import base_model
from liger_benchmark.training.model import n_active_parameters

FORWARD_PER_WEIGHT = 2
FORWARD_PER_PAIR = 4


def flops_per_token(
    model: Any, arguments: TrainingArguments, lengths: Mapping[int, int], n_tokens: int
) -> dict[str, float]:
    """The FLOPs of a run's steps for each of its real tokens.

    Args:
        model: the live model, with its adapters.
        lengths: how many documents of each length in tokens the run trained on.
        n_tokens: its tokens with padding.

    Returns:
        `model`, what training takes; `hardware`, with recomputation and padding; `attention`, that
        part of `model`. Empty if nothing was trained.
    """
    n_real = sum(length * count for length, count in lengths.items())
    if not n_real:
        return {}
    active = n_active_parameters(model)
    trained = active
    if arguments.peft is not None:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = FORWARD_PER_WEIGHT * (2 * active + trained)
    pairs = sum(
        count * attended_pairs(length, window)
        for window in windows(model)
        for length, count in lengths.items()
    )
    forward_of_attention = FORWARD_PER_PAIR * heads_dimension(model) * pairs / n_real
    again_of_weights = again_of_attention = 0.0
    if arguments.gradient_checkpointing:
        again_of_weights = FORWARD_PER_WEIGHT * (active - _head(model))
        again_of_attention = forward_of_attention
    attention = 3 * forward_of_attention
    return {
        "model": weights + attention,
        "hardware": (weights + again_of_weights) * n_tokens / n_real
        + attention
        + again_of_attention,
        "attention": attention,
    }


def attended_pairs(length: int, window: int | None) -> int:
    """The pairs of a query and a key in a document: each token with itself and those before it.

    Args:
        window: how many tokens a token sees at most, itself included; None for all.
    """
    if window is None or window >= length:
        return length * (length + 1) // 2
    return window * (window + 1) // 2 + (length - window) * window


def windows(model: Any) -> Iterator[int | None]:
    """The window of each layer that computes attention by pairs; None where it sees all."""
    config = base_model(model).config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["sliding_attention" if window else "full_attention"] * config.num_hidden_layers
    for kind in kinds:
        if kind in ("sliding_attention", "chunked_attention"):
            yield window or getattr(config, "attention_chunk_size", None)
        elif kind == "full_attention":
            yield None


def heads_dimension(model: Any) -> float:
    """The number of query heads times a head's dimension, the mean of keys' and values'."""
    config = base_model(model).config.get_text_config()
    heads = config.num_attention_heads
    plain = getattr(config, "head_dim", None) or config.hidden_size // heads
    # Multi-head latent attention has keys of another dimension than its values.
    rope = getattr(config, "qk_rope_head_dim", None)
    keys = plain if rope is None else rope + config.qk_nope_head_dim
    return float(heads * (keys + (getattr(config, "v_head_dim", None) or plain)) / 2)


def _head(model: Any) -> int:
    head = base_model(model).get_output_embeddings()
    return 0 if head is None else cast(int, head.weight.numel())
