"""The model of a condition: loaded or initialised, patched by Liger or not, and inspected.

Whether Liger is active is read from the live model's own functions, never from the setting.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import InvalidInput
from liger_benchmark.sources import has_weights, provenance

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PARTS = ("rms_norm", "swiglu", "rope", "fused_linear_cross_entropy")
# The same for both arms: transformers' default today, named so that it stays the same tomorrow.
ATTENTION = "sdpa"


class LigerMismatch(RuntimeError):
    """The live model is not what the condition asked for. The message is one line."""


def load_model(
    folder: Path, *, use_liger: bool, bf16: bool, seed: int, device: str
) -> PreTrainedModel:
    """Load the model in `folder` straight onto `device`, or initialise it there from `seed`.

    Both arms come through the same call; Liger's loader patches transformers' classes and then
    does what transformers' own loader does.

    Raises:
        InvalidInput: if Liger has no kernels for this architecture.
    """
    import torch
    import transformers
    from liger_kernel.transformers import AutoLigerKernelForCausalLM

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if use_liger:
        check_architecture(config.model_type)
    auto_class: Any = AutoLigerKernelForCausalLM if use_liger else transformers.AutoModelForCausalLM
    options = {
        "dtype": torch.bfloat16 if bf16 else torch.float32,
        "attn_implementation": ATTENTION,
    }
    if has_weights(folder):
        model = auto_class.from_pretrained(
            folder, device_map={"": device}, trust_remote_code=False, **options
        )
    else:
        transformers.set_seed(seed)
        with torch.device(device):
            model = auto_class.from_config(config, **options)
    model.config.use_cache = False
    return model


def check_architecture(model_type: str) -> None:
    """Refuse an architecture that Liger has no kernels for.

    Raises:
        InvalidInput: naming the architectures it has kernels for.
    """
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    if model_type not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise InvalidInput(
            f"training_args.model_name: Liger has no kernels for {model_type!r}; "
            f"it has for {', '.join(sorted(MODEL_TYPE_TO_APPLY_LIGER_FN))}"
        )


def active_liger_parts(model: PreTrainedModel) -> dict[str, dict[str, int]]:
    """How many of the live model's parts run Liger's code, and how many there are.

    Returns:
        `active` and `present`: for each of `PARTS` a count. A module counts as active if the
        function that its forward call resolves to is defined in Liger's package.
    """
    active = dict.fromkeys(PARTS, 0)
    present = dict.fromkeys(PARTS, 0)

    def count(part: str, function: Any) -> None:
        present[part] += 1
        active[part] += _is_ligers(function)

    for module in model.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm"):
            count("rms_norm", module.forward)
        elif name.endswith("MLP"):
            count("swiglu", module.forward)
        elif name.endswith("Attention"):
            # Looked up where the attention's own code looks it up: in its module's namespace.
            namespace = vars(sys.modules[type(module).__module__])
            if "apply_rotary_pos_emb" in namespace:
                count("rope", namespace["apply_rotary_pos_emb"])
    count("fused_linear_cross_entropy", model.forward)
    return {"active": active, "present": present}


def check_liger(parts: dict[str, dict[str, int]], use_liger: bool) -> None:
    """Refuse a Liger arm without Liger in it, and a vanilla arm with it.

    Raises:
        LigerMismatch: saying which parts are active.
    """
    found = [part for part, n in parts["active"].items() if n]
    if use_liger and not found:
        raise LigerMismatch("use_liger: true, but no part of the live model runs Liger's code")
    if found and not use_liger:
        raise LigerMismatch(
            f"use_liger: false, but Liger's code is active in the live model: {', '.join(found)}"
        )


def weights_checksum(model: PreTrainedModel) -> str:
    """A hash over all weights: equal if two arms start from the same ones.

    The bits of each tensor are added up as whole numbers, so that the order in which a GPU adds
    does not matter.
    """
    import torch

    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        whole_numbers = weight.detach().view(bits[weight.element_size()])
        digest.update(f"{name} {whole_numbers.sum(dtype=torch.int64).item()}\n".encode())
    return digest.hexdigest()[:16]


def describe_weights(model: PreTrainedModel, folder: Path, name: str) -> dict[str, Any]:
    """Where the weights come from, how many there are, and in what form the model holds them."""
    source = provenance(folder, name)
    parameter: torch.nn.Parameter = next(model.parameters())
    return {
        "origin": source["origin"] if has_weights(folder) else "random",
        "source": source["source"],
        "revision": source["revision"],
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "checksum": weights_checksum(model),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "attn_implementation": model.config._attn_implementation,
    }


def _is_ligers(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("liger_kernel.")
