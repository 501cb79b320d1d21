"""Batches without padding: packed rows and flattened ones, and the proof that documents stay apart.

With `packing`, documents are put into rows of `max_seq_length` tokens by TRL's best-fit-decreasing;
with `padding_free`, the rows of a batch are laid end to end as they are. In both a batch is one
long row whose position ids begin at 0 with each document, and from these every attention of
transformers builds its mask: flash attention by lengths, flex attention by blocks, SDPA and eager
densely.

Packed batches are filled up to their full size, so that their shape never changes: another shape
would be another compilation for flex attention and torch.compile. Each token of filling is a
document of its own, without a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.dataset import IGNORED

if TYPE_CHECKING:
    import torch

# Largest accepted influence of another document on a loss, relative to the document's own. Without
# a leak it is 0: the same numbers are computed by the same kernels.
LEAK_BOUND = 0.01


def is_flat(arguments: TrainingArguments) -> bool:
    """Whether the rows of a batch are laid end to end."""
    return arguments.packing or arguments.padding_free


def documents_in(batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """A batch's token ids and labels without padding, end to end, and its documents' lengths.

    The first label of a document is never counted, since no token precedes it: it is `IGNORED`
    here, as in a flattened batch. The same documents give the same, however they are laid out.
    """
    import torch

    ids, labels = batch["input_ids"].cpu(), batch["labels"].cpu().clone()
    if "attention_mask" in batch:
        mask = batch["attention_mask"].cpu().bool()
        labels[:, 0] = IGNORED
        return ids[mask], labels[mask], mask.sum(1).tolist()
    positions = batch["position_ids"].cpu()[0]
    inside = positions.nonzero()
    end = int(inside[-1]) + 1 if len(inside) else 0  # what follows is filling
    starts = (positions[:end] == 0).nonzero().flatten()
    lengths = torch.diff(starts, append=torch.tensor([end])).tolist()
    return ids[0, :end], labels[0, :end], lengths


def influence_of_others(
    loss_of: Callable[[dict[str, Any]], float], batch: Mapping[str, Any]
) -> dict[str, float | int]:
    """How much a document's loss depends on the other documents of its flattened batch.

    One document is chosen that others precede, and it alone keeps its labels. Its loss is computed
    as it is, with every token of all others changed, and with tokens of its own changed.

    Args:
        loss_of: the live model's loss of a batch, in the way in which it trains.
        batch: with `input_ids`, `labels` and `position_ids`, each of shape (1, length).

    Returns:
        `documents`, their number; where there are two with labels, `others` and `own`: the relative
        change of the loss by the others and by the document's own tokens.
    """
    import torch

    positions, labels, ids = (batch[k][0] for k in ("position_ids", "labels", "input_ids"))
    n = len(documents_in(batch)[2])
    of_document = (positions == 0).cumsum(0) - 1
    counted = torch.bincount(of_document[labels != IGNORED], minlength=2)
    counted[0] = 0  # none precedes it
    if not int(counted.max()):
        return {"documents": n}
    chosen = of_document == counted.argmax()
    alone = torch.where(chosen, labels, IGNORED)
    others = (ids + 1) % (int(ids.max()) + 1)
    before = chosen & (of_document.diff(prepend=of_document[:1]) == 0)
    halfway = before & (positions < positions[chosen].max() / 2 + 1)

    def loss(changed: torch.Tensor) -> float:
        tokens = torch.where(changed, others, ids)
        return loss_of({**batch, "input_ids": tokens[None], "labels": alone[None]})

    plain = loss(torch.zeros_like(chosen))
    return {
        "documents": n,
        "others": abs(loss(~chosen) / plain - 1),
        "own": abs(loss(halfway) / plain - 1),
    }


def contradiction(facts: Mapping[str, Any], arguments: TrainingArguments) -> str | None:
    """How the live batches contradict the arguments, in one line; None if they do not.

    Facts that were not recorded contradict nothing.

    Args:
        facts: `flattened`, whether the first batch was one long row; `influence`, what
            `influence_of_others` returned.
    """
    key = "packing" if arguments.packing else "padding_free"
    flattened = facts.get("flattened")
    if flattened is not None and flattened != is_flat(arguments):
        return (
            f"{key}: {str(is_flat(arguments)).lower()} was asked for, and the batches are "
            f"{'one long row each' if flattened else 'padded'}"
        )
    influence = facts.get("influence") or {}
    if "others" in influence and not influence["others"] <= LEAK_BOUND * influence["own"]:
        return (
            f"{key}: documents of a batch see each other with attn_implementation: "
            f"{arguments.attn_implementation}: changing the others changes a document's loss by "
            f"{influence['others']:.2g}"
        )
    return None
