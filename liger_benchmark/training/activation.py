"""Verify in the live model which of Liger's kernels run, and which loss it computes.

Liger patches transformers' classes without reporting what it replaced. The functions that the live
model calls are therefore inspected; the settings are not trusted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from liger_benchmark.training.liger_kernels import is_default_set, kernels_turned_on

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = ("rms_norm", "swiglu", "rope", "fused_linear_cross_entropy")


class LigerMismatch(RuntimeError):
    """The live model does not run the kernels that were requested. The message is one line."""


def active_liger_parts(model: PreTrainedModel) -> dict[str, dict[str, int]]:
    """Count the parts of the live model that run Liger's code, and all such parts.

    A part is active if the function that its forward call resolves to is defined in Liger's
    package.

    Returns:
        `active` and `present`, each with a count for every name in `PARTS`. `swiglu` counts gated
        MLPs of any activation, with the experts of a layer as one; `rms_norm` includes the norms of
        queries and keys. `cross_entropy` is a key only if Liger has replaced PyTorch's.
    """
    import torch

    active = dict.fromkeys(PARTS, 0)
    present = dict.fromkeys(PARTS, 0)

    def count(part: str, function: Any) -> None:
        present[part] += 1
        active[part] += _is_from_liger(function)

    for module in model.modules():
        # Liger's classes may be named for a model family, such as LigerRMSNormForGemma3.
        name = re.sub(r"For\w+$", "", type(module).__name__)
        if name.endswith("RMSNorm"):
            count("rms_norm", module.forward)
        elif name.endswith(("MLP", "Experts")):
            count("swiglu", module.forward)
        elif name.endswith("Attention"):
            # The attention looks this function up in the namespace of its own module.
            namespace = vars(sys.modules[type(module).__module__])
            if "apply_rotary_pos_emb" in namespace:
                count("rope", namespace["apply_rotary_pos_emb"])
    count("fused_linear_cross_entropy", model.forward)
    if _is_from_liger(torch.nn.functional.cross_entropy):
        active["cross_entropy"] = present["cross_entropy"] = 1
    return {"active": active, "present": present}


def check_liger(parts: dict[str, dict[str, int]], kernels: Sequence[str], model_type: str) -> None:
    """Compare the active parts with the requested kernels.

    Of Liger's default set, a kernel is required only if the architecture has it on by default and
    the live model has a part that is known to run it: some architectures implement it elsewhere.

    Args:
        parts: as returned by `active_liger_parts`.
        kernels: the requested kernels; empty in an arm without Liger.

    Raises:
        LigerMismatch: naming the kernels that are missing, or active without having been requested.
    """
    active = {part for part, n in parts["active"].items() if n}
    asked = kernels_turned_on(model_type, kernels) if kernels else []
    missing = [
        part
        for part in asked
        if part not in active and (parts["present"].get(part) or not is_default_set(kernels))
    ]
    unasked = sorted(active - set(asked))
    if missing or (asked and not active):
        raise LigerMismatch(
            f"liger_kernels: {', '.join(missing or asked)} asked for, but no such part of the "
            "live model runs Liger's code"
        )
    if unasked:
        raise LigerMismatch(
            f"Liger's code is active in the live model: {', '.join(unasked)}; nobody asked for that"
        )


def loss_in_use(model: PreTrainedModel) -> str:
    """The `loss_type` of the live model: `chunked_nll` if trl has replaced its forward method."""
    return "chunked_nll" if model.forward.__name__ == "_chunked_ce_forward" else "nll"


def _is_from_liger(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("liger_kernel.")
