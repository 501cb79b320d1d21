"""Low-rank adapters (LoRA) on frozen weights, which may be held in 4 bits (QLoRA).

The adapters are the library's, peft, as TRL would make them: the weights stay in their dtype, the
adapters are fp32 where the weights are not quantised and bf16 where they are.

B starts at zero, so that at the first step the gradients of A are zero in every arm. Those of B are
the base model's own gradients seen through A: with W' = W + s·B·A they are s·(dL/dW')·Aᵀ, which
differ wherever a forward or backward pass of the base model does (RoPE left out, another
activation). The comparison of gradients at the first step (`gradients`) therefore holds with
adapters as it does without. What only reaches A shows in the losses from the third step on.
Source: Hu et al., "LoRA" (2021), section 4.1; Dettmers et al., "QLoRA" (2023), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import ALL_LINEAR

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# What QLoRA's authors and TRL's documentation set. Source: "QLoRA" (2023), section 3.
QUANT_TYPE = "nf4"
DOUBLE_QUANTISATION = True


def quantisation_config(compute_dtype: torch.dtype) -> Any:
    """transformers' configuration of QLoRA's 4-bit weights, for a model with weights to load."""
    import transformers

    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=QUANT_TYPE,
        bnb_4bit_use_double_quant=DOUBLE_QUANTISATION,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def quantise(model: PreTrainedModel, compute_dtype: torch.dtype) -> None:
    """Hold the weights of the linear layers in 4 bits, all but the head's, as transformers does.

    For a model that has its weights in memory, such as one that was initialised at random:
    transformers quantises only while it loads a checkpoint.
    """
    import bitsandbytes as bnb
    import torch

    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if type(module) is not torch.nn.Linear or module is head:
            continue
        layer = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=compute_dtype,
            compress_statistics=DOUBLE_QUANTISATION,
            quant_type=QUANT_TYPE,
            device="meta",
        )
        layer.weight = bnb.nn.Params4bit(
            module.weight.data,
            requires_grad=False,
            compress_statistics=DOUBLE_QUANTISATION,
            quant_type=QUANT_TYPE,
            module=layer,
        )
        layer.bias = module.bias
        model.set_submodule(name, layer.to(module.weight.device))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the weights in their first dtype
    # What peft and TRL tell a quantised model by.
    model.is_loaded_in_4bit = True  # type: ignore[assignment]


def add_adapters(model: PreTrainedModel, arguments: TrainingArguments) -> Any:
    """The model with the arm's adapters and everything else frozen; the model itself without.

    A is drawn by the seed, so that all arms start alike.
    """
    if arguments.peft is None:
        return model
    import peft
    import torch
    import transformers

    targets = arguments.lora_target_modules
    config = peft.LoraConfig(
        r=arguments.lora_r,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules=ALL_LINEAR if targets == [ALL_LINEAR] else targets,
        task_type="CAUSAL_LM",
    )
    transformers.set_seed(arguments.seed)
    adapted = peft.get_peft_model(model, config)
    if arguments.load_in_4bit:
        # TRL does this as the trainer is built, after the weights have been recorded.
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    return adapted


def base_model(model: Any) -> Any:
    """transformers' model inside of one with adapters; the model itself if it has none."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def n_elements(parameter: torch.nn.Parameter) -> int:
    """The weights that a parameter stands for: one in 4 bits holds two a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)


def adapter_facts(model: Any) -> dict[str, Any]:
    """What of the live model is trained and quantised.

    Returns:
        `adapted_layers` that apply an adapter; `lora`, the rank, scale and dropout of their
        adapters, each that occurs once; `adapter_parameters` that are trained, in elements;
        `other_parameters` that are trained; `layers_in_4bit`.
    """
    facts = {
        "adapted_layers": 0,
        "adapter_parameters": 0,
        "other_parameters": 0,
        "layers_in_4bit": 0,
    }
    adapters: set[tuple[int, float, float]] = set()
    for module in model.modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            off = module.disable_adapters or module.merged or not module.active_adapters
            facts["adapted_layers"] += bool(len(module.lora_A) and not off)
            adapters |= {_rank_scale_dropout(module, name) for name in module.lora_A if not off}
        facts["layers_in_4bit"] += type(module).__name__ == "Linear4bit" and not hasattr(
            module, "base_layer"
        )
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "adapter_parameters" if ".lora_" in name else "other_parameters"
            facts[kind] += parameter.numel()
    return {**facts, "lora": [list(adapter) for adapter in sorted(adapters)]}


def _rank_scale_dropout(layer: Any, name: str) -> tuple[int, float, float]:
    """Of one adapter of a layer. peft puts an `Identity` where there is no dropout."""
    dropout = getattr(layer.lora_dropout[name], "p", 0.0)
    return layer.lora_A[name].out_features, float(layer.scaling[name]), float(dropout)


def contradiction(facts: Mapping[str, Any], arguments: TrainingArguments) -> str | None:
    """How `adapter_facts` contradict the arguments, in one line; None if they do not.

    Facts that were not recorded contradict nothing.
    """
    if "adapted_layers" not in facts:
        return None
    if arguments.peft is None and facts["adapted_layers"] + facts["adapter_parameters"]:
        return f"peft: null was asked for, and {facts['adapted_layers']} layers have adapters"
    if arguments.peft is not None:
        if not facts["adapted_layers"] or not facts["adapter_parameters"]:
            return f"peft: {arguments.peft} was asked for, and no layer trains an adapter"
        if facts["other_parameters"]:
            return (
                f"peft: {arguments.peft} was asked for, and {facts['other_parameters']:,} other "
                "parameters are trained besides the adapters"
            )
        if problem := _other_adapters(facts.get("lora", []), arguments):
            return problem
    if arguments.load_in_4bit != bool(facts["layers_in_4bit"]):
        asked = str(arguments.load_in_4bit).lower()
        return (
            f"load_in_4bit: {asked} was asked for, and {facts['layers_in_4bit']} layers hold their "
            "weights in 4 bits"
        )
    return None


def _other_adapters(adapters: list[list[float]], arguments: TrainingArguments) -> str | None:
    """How the rank, scale or dropout of live adapters contradicts the arguments."""
    scale = arguments.lora_alpha / arguments.lora_r
    for rank, live_scale, dropout in adapters:
        if rank != arguments.lora_r:
            return f"lora_r: {arguments.lora_r} was asked for, and an adapter's rank is {rank}"
        if not math.isclose(live_scale, scale):
            return (
                f"lora_alpha: {arguments.lora_alpha} with lora_r: {arguments.lora_r} is a scale of "
                f"{scale:g}, and an adapter's is {live_scale:g}"
            )
        if not math.isclose(dropout, arguments.lora_dropout):
            return (
                f"lora_dropout: {arguments.lora_dropout:g} was asked for, and an adapter's is "
                f"{dropout:g}"
            )
    return None
