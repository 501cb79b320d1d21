"""The model of a condition: loaded or initialised, patched by Liger or not, and inspected.

Whether Liger is active is read from the live model's own functions, never from the setting.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import DEFAULT_LIGER_KERNELS
from liger_benchmark.sources.fetch import has_weights, provenance
from liger_benchmark.training.liger_kernels import (
    are_the_default,
    kernels_turned_on,
    liger_switches,
)
from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PARTS = ("rms_norm", "swiglu", "rope", "fused_linear_cross_entropy")


class LigerMismatch(RuntimeError):
    """The live model is not what the condition asked for. The message is one line."""


def load_model(
    folder: Path,
    *,
    use_liger: bool,
    bf16: bool,
    seed: int,
    device: str,
    liger_kernels: Sequence[str] = DEFAULT_LIGER_KERNELS,
    attn_implementation: str = "sdpa",
) -> PreTrainedModel:
    """Load the model in `folder` straight onto `device`, or initialise it there from `seed`.

    All arms come through the same call; Liger's loader patches transformers' classes and then
    does what transformers' own loader does.

    Raises:
        InvalidInput: if Liger has no kernels for this architecture, or not those that are asked
            for.
    """
    import torch
    import transformers
    from liger_kernel.transformers import AutoLigerKernelForCausalLM

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    auto_class: Any = AutoLigerKernelForCausalLM if use_liger else transformers.AutoModelForCausalLM
    options: dict[str, Any] = {
        "dtype": torch.bfloat16 if bf16 else torch.float32,
        "attn_implementation": attn_implementation,
    }
    if use_liger:
        options |= liger_switches(config.model_type, liger_kernels)
    if has_weights(folder):
        model = _load_weights(auto_class, folder, device, options)
    else:
        transformers.set_seed(seed)
        with torch.device(device):
            model = auto_class.from_config(config, **options)
    model.config.use_cache = False
    return model


def _load_weights(
    auto_class: Any, folder: Path, device: str, options: dict[str, Any]
) -> PreTrainedModel:
    """The model with the folder's weights, all of them its own.

    transformers initialises at random what it does not find, with a warning that nobody reads.

    Raises:
        InvalidInput: if the weights cannot be read, or belong to another architecture.
    """
    from safetensors import SafetensorError

    key = f"training_args.model_name: the weights in {folder.name!r}"
    try:
        model, found = auto_class.from_pretrained(
            folder,
            device_map={"": device},
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except (SafetensorError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise InvalidInput(f"{key} cannot be read; fetch them again ({one_line(error)})") from None
    except RuntimeError as error:
        if "size mismatch" not in str(error) and "mismatched" not in str(error):
            raise
        raise InvalidInput(
            f"{key} are of other shapes than config.json says; take both from the same model"
        ) from None
    for what in ("missing_keys", "mismatched_keys"):
        if found.get(what):
            example = sorted(map(str, found[what]))[0]
            raise InvalidInput(
                f"{key} are not of this architecture: {len(found[what])} "
                f"{what.replace('_', ' ')}, such as {example}; take config and weights from the "
                "same model"
            )
    return model


def active_liger_parts(model: PreTrainedModel) -> dict[str, dict[str, int]]:
    """How many of the live model's parts run Liger's code, and how many there are.

    Returns:
        `active` and `present`: for each of `PARTS` a count. A module counts as active if the
        function that its forward call resolves to is defined in Liger's package. `swiglu` counts
        gated MLPs of any activation, a layer's experts as one, and `rms_norm` those of queries and
        keys too.
        `cross_entropy` is in it only where Liger's has taken the place of PyTorch's.
    """
    import torch

    active = dict.fromkeys(PARTS, 0)
    present = dict.fromkeys(PARTS, 0)

    def count(part: str, function: Any) -> None:
        present[part] += 1
        active[part] += _is_ligers(function)

    for module in model.modules():
        # Liger's own classes may be called for what they are made for: LigerRMSNormForGemma3.
        name = re.sub(r"For\w+$", "", type(module).__name__)
        if name.endswith("RMSNorm"):
            count("rms_norm", module.forward)
        elif name.endswith(("MLP", "Experts")):
            count("swiglu", module.forward)
        elif name.endswith("Attention"):
            # Looked up where the attention's own code looks it up: in its module's namespace.
            namespace = vars(sys.modules[type(module).__module__])
            if "apply_rotary_pos_emb" in namespace:
                count("rope", namespace["apply_rotary_pos_emb"])
    count("fused_linear_cross_entropy", model.forward)
    if _is_ligers(torch.nn.functional.cross_entropy):  # PyTorch's own, and no part of the model
        active["cross_entropy"] = present["cross_entropy"] = 1
    return {"active": active, "present": present}


def check_liger(parts: dict[str, dict[str, int]], kernels: Sequence[str], model_type: str) -> None:
    """Refuse a model in which other Liger kernels run than those that were asked for.

    Of Liger's default set those are asked for that the architecture has by default and whose place
    in the live model is known; some architectures keep theirs elsewhere.

    Raises:
        LigerMismatch: saying which are missing, or active unasked.
    """
    active = {part for part, n in parts["active"].items() if n}
    asked = kernels_turned_on(model_type, kernels) if kernels else []
    missing = [
        part
        for part in asked
        if part not in active and (parts["present"].get(part) or not are_the_default(kernels))
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
    """The live model's `loss_type`: `chunked_nll` if trl has put its own forward into its place."""
    return "chunked_nll" if model.forward.__name__ == "_chunked_ce_forward" else "nll"


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
