"""Which head computed a loss, seen in the loss itself: the proof that an arm's head really ran.

Every head leaves its own function in the graph that PyTorch's autograd keeps of the loss. In a
compiled model that graph is one function of the compiler, and nothing is seen.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.version import Version

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.liger_kernels import kernels_turned_on

LIGER_FUSED, LIGER_LOSS = "Liger's fused loss", "Liger's cross-entropy"
# By a part of the function's name in the graph, the head that it belongs to.
_FUNCTIONS = {
    "LigerFusedLinearCrossEntropy": LIGER_FUSED,
    "LigerCrossEntropy": LIGER_LOSS,
    "cut_cross_entropy": "cce",
    "ChunkedLogProb": "trl",
    "linear_cross_entropy_batch_chunked": "torch",
    "linear_cross_entropy": "torch",
    "NllLoss": "nll",
}
# The functions of the graph that are looked at, beginning with the loss: more than any head has
# before the model's last layer.
_LOOKED_AT = 64
# From this version on SFTTrainer has a head of its own; before, its default was the chunked loss.
_TRLS_HEAD_SINCE = Version("1.15")


@dataclass
class Sighting:
    """What was seen of the head while it computed a loss.

    Attributes:
        functions: of the loss's graph, the names with their modules.
        computed_logits: whether the head's layer was called, which gives the logits of all tokens.
    """

    functions: list[str] = field(default_factory=list)
    computed_logits: bool = False

    @property
    def head(self) -> str | None:
        """The head that the functions belong to; None if none is known, as in compiled models."""
        for part, head in _FUNCTIONS.items():
            if any(part in name for name in self.functions):
                return "chunked_nll" if head == "nll" and not self.computed_logits else head
        return None

    def see(self, loss: Any) -> None:
        """Keep the functions of the graph of a loss."""
        todo, seen = [loss.grad_fn], 0
        while todo and seen < _LOOKED_AT:
            node, seen = todo.pop(0), seen + 1
            if node is None:
                continue
            cls = getattr(node, "_forward_cls", None)
            module = getattr(cls, "__module__", "torch")
            name = f"{module}.{type(node).__name__}"
            if name not in self.functions:
                self.functions.append(name)
            todo += [following for following, _ in node.next_functions]


@contextlib.contextmanager
def sighting(model: Any) -> Iterator[Sighting]:
    """Watch the head's layer of a model that is not compiled; `see` takes the loss."""
    seen = Sighting()

    def called(*_: Any) -> None:
        seen.computed_logits = True

    hook = model.get_output_embeddings().register_forward_hook(called)
    try:
        yield seen
    finally:
        hook.remove()


def expected_head(arguments: TrainingArguments, model_type: str) -> str | None:
    """The head that a run with these arguments has to have; None if the Hub's kernels decide."""
    if arguments.loss_type == "trl":
        is_new = Version(importlib.metadata.version("trl")) >= _TRLS_HEAD_SINCE
        return "trl" if is_new else "chunked_nll"
    if arguments.loss_type != "nll":
        return arguments.loss_type
    if arguments.use_hub_kernels:
        return None
    if arguments.use_liger:
        kernels = kernels_turned_on(model_type, arguments.liger_kernels)
        if "fused_linear_cross_entropy" in kernels:
            return LIGER_FUSED
        if "cross_entropy" in kernels:
            return LIGER_LOSS
    return "nll"


def head_mismatch(facts: Mapping[str, Any]) -> str | None:
    """How the head that was seen contradicts the one expected, in one line; None if it does not.

    Args:
        facts: `expected` and `seen`; a missing one contradicts nothing.
    """
    expected, seen = facts.get("expected"), facts.get("seen")
    if expected is None or seen is None or expected == seen:
        return None
    words: Sequence[str] = [_WORDS.get(head, head) for head in (expected, seen)]
    return f"loss_type: the arm's head is {words[0]}, and the loss was computed by {words[1]}"


_WORDS = {
    "nll": "the plain loss over all logits",
    "chunked_nll": "the chunked loss",
    "trl": "TRL's fused head",
    "cce": "cut-cross-entropy",
    "torch": "PyTorch's fused linear cross-entropy",
}
