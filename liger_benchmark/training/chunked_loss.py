"""The chunked loss that TRL had until 1.14, without the entropy and accuracy computed besides.

TRL 1.15 replaced it by its fused LM head. It is kept as an arm because plain PyTorch is all that it
needs. No other arm but TRL's own pays for entropy and accuracy, so this one must not either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from liger_benchmark.training.dataset import IGNORED

if TYPE_CHECKING:
    import torch

# Tokens, as in TRL.
CHUNK_SIZE = 256


def chunked_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    *,
    logit_scale: float = 1.0,
    softcapping: float | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> torch.Tensor:
    """The sum of the losses of all labels, computed `chunk_size` counted labels at a time.

    The logits of a chunk live during its own forward and backward pass only. Counted labels are
    packed to the front, so that chunks without any are left out.
    Source: `_chunked_cross_entropy_loss` in trl 1.14 (Apache License 2.0).

    Args:
        hidden: shape (tokens, hidden size).
        weight, bias: those of the head.
        labels: shape (tokens,), the token that follows each position; `IGNORED` is not counted.
    """
    import torch

    counted = labels != IGNORED
    order = counted.to(torch.int8).argsort(descending=True, stable=True)
    hidden, labels = hidden[order], labels[order]
    n_chunks = (counted.sum() / chunk_size).ceil().clamp(min=1).to(torch.int64)
    loss = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, int(n_chunks) * chunk_size, chunk_size):
        loss = loss + torch.utils.checkpoint.checkpoint(
            _chunk,
            hidden[start : start + chunk_size],
            weight,
            bias,
            labels[start : start + chunk_size],
            logit_scale,
            softcapping,
            use_reentrant=False,
        )
    return loss


def _chunk(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    logit_scale: float,
    softcapping: float | None,
) -> torch.Tensor:
    """A chunk's summed loss: logits in the hidden states' dtype, the softmax in fp32."""
    import torch
    from torch.nn import functional as F

    logits = (hidden @ weight.to(hidden.dtype).t()).float()
    if bias is not None:
        logits = logits + bias.float()
    if logit_scale != 1.0:
        logits = logits * logit_scale
    if softcapping is not None:
        logits = softcapping * torch.tanh(logits / softcapping)
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
