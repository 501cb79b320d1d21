"""The model of a condition: loaded from weights or initialised at random, with Liger or without."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liger_benchmark.choices import DEFAULT_LIGER_KERNELS
from liger_benchmark.sources.fetch import has_weights, provenance
from liger_benchmark.training import ranks
from liger_benchmark.training.adapters import base_model, n_elements, quantisation_config, quantise
from liger_benchmark.training.experts import n_at_work, n_experts
from liger_benchmark.training.liger_kernels import liger_switches
from liger_benchmark.training.sharding import (
    is_spread,
    own_part,
    plain_name,
    sum_over_ranks,
)
from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_model(
    folder: Path,
    *,
    use_liger: bool,
    bf16: bool,
    seed: int,
    device: str,
    liger_kernels: Sequence[str] = DEFAULT_LIGER_KERNELS,
    attn_implementation: str = "sdpa",
    load_in_4bit: bool = False,
) -> PreTrainedModel:
    """Load the model in `folder` directly onto `device`; without weights, initialise it by `seed`.

    With `use_liger`, Liger's loader patches transformers' classes for the whole process, and then
    calls transformers' own loader.

    Raises:
        InvalidInput: if Liger has no kernels for this architecture or lacks a requested one, or the
            weights cannot be read or belong to another architecture.
    """
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    auto_class: Any = transformers.AutoModelForCausalLM
    options: dict[str, Any] = {
        "dtype": torch.bfloat16 if bf16 else torch.float32,
        "attn_implementation": attn_implementation,
    }
    if use_liger:
        from liger_kernel.transformers import AutoLigerKernelForCausalLM

        auto_class = AutoLigerKernelForCausalLM
        options |= liger_switches(config.model_type, liger_kernels)
    if load_in_4bit and has_weights(folder):
        options["quantization_config"] = quantisation_config(options["dtype"])
    # On the meta device a model has shapes and no values, whatever weights there are.
    if has_weights(folder) and device != "meta":
        model = _load_weights(auto_class, folder, device, options)
    else:
        transformers.set_seed(seed)
        with _made_on(device):
            model = auto_class.from_config(config, **options)
        if load_in_4bit:
            quantise(model, options["dtype"])
    model.config.use_cache = False
    return model


def _made_on(device: str) -> contextlib.AbstractContextManager[Any]:
    """What makes a model on the device; on the meta device a rank's buffers have values."""
    import torch

    if device == "meta" and ranks.in_group():
        from accelerate import init_empty_weights

        return init_empty_weights(include_buffers=False)
    return torch.device(device)


def _load_weights(
    auto_class: Any, folder: Path, device: str, options: dict[str, Any]
) -> PreTrainedModel:
    """Load the folder's weights, and refuse a checkpoint that does not match the architecture.

    transformers would initialise missing weights at random and only log a warning.

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


def weights_checksum(model: PreTrainedModel) -> str:
    """A hash of all weights, to verify that arms start from the same ones.

    The bits of each tensor are summed as integers: unlike a sum of floats, that does not depend on
    the order in which a GPU adds, or on how the weights are spread over ranks. Where they are,
    every rank has to call this. Empty if this process has no values.
    """
    import torch

    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        if weight.is_meta:  # another rank has the values
            return ""
        part = own_part(weight.detach())[0] if is_spread(weight) else weight.detach()
        total = part.view(bits[weight.element_size()]).sum(dtype=torch.int64)
        if is_spread(weight):
            total = sum_over_ranks(total)
        digest.update(f"{plain_name(name)} {total.item()}\n".encode())
    return digest.hexdigest()[:16]


def n_active_parameters(model: PreTrainedModel) -> int:
    """The parameters that a token is multiplied with: the N in 6·N FLOPs a token.

    Not among them are the input embeddings, which are looked up (unless they are the head too), and
    of a mixture of experts those that do not work for a token.
    Source: Kaplan et al., "Scaling Laws for Neural Language Models" (2020), section 2.1.
    """
    model = base_model(model)
    config = model.config.get_text_config().to_dict()
    share = n_at_work(config) / n_experts(config) if n_experts(config) else 1.0
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and cast(Any, head).weight is cast(Any, embeddings).weight
    total = 0.0
    for name, parameter in model.named_parameters():
        if parameter is cast(Any, embeddings).weight and not tied:
            continue
        of_experts = ".experts." in name and ".shared" not in name
        total += n_elements(parameter) * (share if of_experts else 1.0)
    return round(total)


def describe_weights(model: PreTrainedModel, folder: Path, name: str) -> dict[str, Any]:
    """The record of the weights: origin, source, revision, numbers, checksum, dtype, attention.

    The dtype is that of the input embeddings, which are never quantised nor adapted.
    """
    source = provenance(folder, name)
    parameter = cast(Any, model.get_input_embeddings()).weight
    return {
        "origin": source["origin"] if has_weights(folder) else "random",
        "source": source["source"],
        "revision": source["revision"],
        "n_parameters": sum(n_elements(p) for p in model.parameters()),
        "n_trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "n_active_parameters": n_active_parameters(model),
        "checksum": weights_checksum(model),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "attn_implementation": model.config._attn_implementation,
    }
