"""Build a model on PyTorch's meta device, which holds shapes and no values, and compare two arms.

Liger replaces classes of transformers by its own, some of which are made for the usual settings of
an architecture only: its MLPs have no biases, its GELU is always the tanh approximation. The arm
with Liger is then another model, without a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liger_benchmark.training.model import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What the kernels of Liger's gated MLPs compute, as class names of transformers' activations.
_COMPUTED = {
    "GEGLU": ("GELUTanh", "NewGELUActivation", "FastGELUActivation"),
    "SwiGLU": ("SiLUActivation", "SiLU"),
}


@dataclass
class Shape:
    """What one arm's model is, without its values.

    Attributes:
        model_type: its architecture.
        parameters: their shapes, by name.
        n_embeddings: the tokens that the model embeds.
        activations: the class of each gated MLP's activation, by the module's name.
        liger_modules: the class of each module that is Liger's own, by its name.
    """

    model_type: str
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)
    n_embeddings: int = 0
    activations: dict[str, str] = field(default_factory=dict)
    liger_modules: dict[str, str] = field(default_factory=dict)

    @property
    def n_parameters(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.parameters.values())

    @property
    def has_liger_experts(self) -> bool:
        """Whether Liger's kernels for a mixture of experts would run."""
        return any("Experts" in name for name in self.liger_modules.values())


def build(folder: Path, kernels: Sequence[str] | None, attn_implementation: str = "sdpa") -> Shape:
    """Build the model in `folder` on the meta device. With kernels, the process must be fresh.

    Args:
        kernels: those of Liger to use; None in an arm without Liger.
    """
    model = load_model(
        folder,
        use_liger=kernels is not None,
        bf16=False,
        seed=0,
        device="meta",
        liger_kernels=kernels or (),
        attn_implementation=attn_implementation,
    )
    return shape_of(model)


def shape_of(model: PreTrainedModel) -> Shape:
    """The `Shape` of a model on any device."""
    shape = Shape(
        model.config.model_type,
        n_embeddings=cast(Any, model.get_input_embeddings()).num_embeddings,
    )
    for name, parameter in model.named_parameters():
        shape.parameters[name] = tuple(parameter.shape)
    for name, module in model.named_modules():
        if hasattr(module, "act_fn") or hasattr(module, "activation_fn"):
            activation = getattr(module, "act_fn", None) or module.activation_fn
            shape.activations[name] = type(activation).__name__
        if type(module).__module__.startswith("liger_kernel."):
            shape.liger_modules[name] = type(module).__name__
    return shape


def difference(vanilla: Shape, liger: Shape) -> str | None:
    """How the arm with Liger is another model than the one without; None if it is the same."""
    lacking = sorted(vanilla.parameters.keys() - liger.parameters.keys())
    additional = sorted(liger.parameters.keys() - vanilla.parameters.keys())
    for what, names in (("lacks", lacking), ("adds", additional)):
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return (
                f"it {what} {names[0]}{others} ({liger.n_parameters:,} parameters instead of "
                f"{vanilla.n_parameters:,})"
            )
    for name, shape in vanilla.parameters.items():
        if liger.parameters[name] != shape:
            return f"{name} is {list(liger.parameters[name])} instead of {list(shape)}"
    for name, own in liger.liger_modules.items():
        asked = vanilla.activations.get(name)
        for kind, computed in _COMPUTED.items():
            if kind in own and asked is not None and asked not in computed:
                return f"its {own} in {name} always computes {computed[0]} instead of {asked}"
    return None
