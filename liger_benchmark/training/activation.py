"""Verify in the live model which of Liger's kernels run.

Liger patches transformers' classes without reporting what it replaced. The functions that the live
model calls are therefore inspected; the settings are not trusted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from liger_benchmark.training.liger_kernels import is_default_set, kernels_turned_on

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = ("rms_norm", "swiglu", "rope", "fused_linear_cross_entropy")
# Two architectures have the second (Llama 4, DeepSeek-V2).
ROPE_FUNCTIONS = ("apply_rotary_pos_emb", "apply_rotary_emb")
# By `model_type`, the classes that Liger 0.8.5 leaves to transformers although the kernel is turned
# on, and why. They are not among the parts that have to be active. Found by building every
# architecture that Liger knows: tests/support/scripts/liger_parts_by_model_type.py.
LEFT_TO_TRANSFORMERS = {
    "deepseek_v4": {"DeepseekV4UnweightedRMSNorm": "Liger's norm needs a weight"},
    "gemma3": {"SiglipMLP": "the vision tower's MLPs are not gated"},
    "hunyuan_v1_moe": {"HunYuanMoEV1MLP": "Liger replaces the experts, not the shared MLP"},
    "llama4_text": {"Llama4TextExperts": "Liger replaces the shared MLP, not the experts"},
    "qwen3_next": {"Qwen3NextMLP": "Liger replaces the experts, not the shared MLP"},
}


class LigerMismatch(RuntimeError):
    """The live model does not run the kernels that were requested. The message is one line."""


def active_liger_parts(model: PreTrainedModel) -> dict[str, dict[str, int]]:
    """Count the parts of the live model that run Liger's code, and all such parts.

    A part is active if the function that its forward call resolves to is defined in Liger's
    package.

    Returns:
        `active` and `present`, each with a count for every name in `PARTS`. `swiglu` counts gated
        MLPs of any activation, with the experts of a layer as one; `rms_norm` includes the norms of
        queries and keys. `LEFT_TO_TRANSFORMERS` are not counted. `cross_entropy` is a key only if
        Liger has replaced PyTorch's.
    """
    active = dict.fromkeys(PARTS, 0)
    present = dict.fromkeys(PARTS, 0)
    left_out = LEFT_TO_TRANSFORMERS.get(model.config.model_type, {})
    for part, owner, is_active in inspect_parts(model):
        if owner not in left_out:
            active[part] = active.get(part, 0) + is_active
            present[part] = present.get(part, 0) + 1
    return {"active": active, "present": present}


def inspect_parts(model: PreTrainedModel) -> Iterator[tuple[str, str, bool]]:
    """Each part of the live model: its name in `PARTS`, its class, whether it runs Liger's code."""
    import torch

    for module in model.modules():
        owner = type(module).__name__
        # Liger's classes may be named for a model family, such as LigerRMSNormForGemma3.
        name = re.sub(r"For\w+$", "", owner)
        if name.endswith("RMSNorm"):
            yield "rms_norm", owner, _is_from_liger(module.forward)
        elif name.endswith(("MLP", "Experts")):
            yield "swiglu", owner, _is_from_liger(module.forward)
        elif name.endswith("Attention"):
            # The attention looks this function up in the namespace of its own module.
            namespace = vars(sys.modules[type(module).__module__])
            for name in ROPE_FUNCTIONS:
                if name in namespace:
                    yield "rope", owner, _is_from_liger(namespace[name])
                    break
    yield "fused_linear_cross_entropy", type(model).__name__, _is_from_liger(model.forward)
    if _is_from_liger(torch.nn.functional.cross_entropy):
        yield "cross_entropy", "function", True


def expected_parts(
    parts: dict[str, dict[str, int]], kernels: Sequence[str], model_type: str
) -> dict[str, int]:
    """The parts that have to run Liger's code: of each kernel turned on, all that the model has.

    Args:
        parts, kernels, model_type: as for `check_liger`.
    """
    present = parts["present"]
    asked = kernels_turned_on(model_type, kernels) if kernels else []
    return {part: present[part] for part in asked if present.get(part)}


def check_liger(parts: dict[str, dict[str, int]], kernels: Sequence[str], model_type: str) -> None:
    """Compare the active parts with the requested kernels: all parts of each must be active.

    Of Liger's default set, a kernel is required only if the architecture has it on by default and
    the live model has a part that is known to run it: some architectures implement it elsewhere.

    Args:
        parts: as returned by `active_liger_parts`.
        kernels: the requested kernels; empty in an arm without Liger.

    Raises:
        LigerMismatch: naming the kernels that are missing in all parts or in some, or active
            without having been requested.
    """
    active, present = parts["active"], parts["present"]
    asked = kernels_turned_on(model_type, kernels) if kernels else []
    missing = [
        part
        for part in asked
        if not active.get(part) and (present.get(part) or not is_default_set(kernels))
    ]
    if missing or (asked and not any(active.values())):
        raise LigerMismatch(
            f"liger_kernels: {', '.join(missing or asked)} asked for, but no such part of the "
            "live model runs Liger's code"
        )
    partial = [part for part in asked if active.get(part, 0) < present.get(part, 0)]
    if partial:
        counts = ", ".join(f"{part} in {active[part]} of {present[part]}" for part in partial)
        raise LigerMismatch(
            f"liger_kernels: {', '.join(partial)} asked for, but not all such parts of the live "
            f"model run Liger's code: {counts}"
        )
    unasked = sorted(part for part, n in active.items() if n and part not in asked)
    if unasked:
        setting = "liger_kernels: asked for are others" if asked else "use_liger: false"
        raise LigerMismatch(
            f"{setting}, but Liger's code is active in the live model: {', '.join(unasked)}; "
            "nobody asked for that"
        )


def _is_from_liger(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("liger_kernel.")
