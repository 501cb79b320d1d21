"""trl's chunked loss without the entropy and the accuracy that it computes besides.

In trl 1.14 the function that computes a chunk's loss always computes its accuracy and its entropy
too. No other arm pays for them (see `build_trainer`), so this one must not either.
"""

from __future__ import annotations

from typing import Any


def compute_nothing_else() -> None:
    """Replace trl's function for a chunk, in this process, by one that computes the loss alone."""
    from trl.trainer import sft_trainer

    sft_trainer._chunk = _chunk


def _chunk(
    hidden: Any, weight: Any, bias: Any, labels: Any, logit_scale: float, softcapping: float | None
) -> tuple[Any, Any, Any]:
    """A chunk's summed loss, and zeros for the number of right tokens and the entropy.

    The loss is computed as trl does: logits in the hidden states' dtype, the softmax in fp32.
    """
    import torch
    from torch.nn import functional as F

    logits = (hidden @ weight.to(hidden.dtype).t()).float()
    if bias is not None:
        logits = logits + bias.float()
    if logit_scale != 1.0:
        logits = logits * logit_scale
    if softcapping is not None:
        logits = softcapping * torch.tanh(logits / softcapping)
    loss = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    zero = loss.new_zeros(())
    return loss, zero, zero
