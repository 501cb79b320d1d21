"""Proof that a run trained what its arm says, read from the live trainer at its first step.

The settings are not trusted: an environment variable switches torch.compile off, a library may
ignore an option, a patch may reach some layers only. Liger's kernels have a module of their own,
`activation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import adapters, documents, hub_kernels
from liger_benchmark.training.adapters import adapter_facts, base_model
from liger_benchmark.training.compile_counter import CompilationCounter
from liger_benchmark.training.head_proof import expected_head, head_mismatch
from liger_benchmark.training.liger_options import implementation_in_use
from liger_benchmark.training.sharding import checkpointed_layers

# The functions of a loss's graph that a record keeps.
HEAD = 8


class ArmMismatch(RuntimeError):
    """The live trainer does not do what the arm says. The message is one line."""


def live_facts(
    trainer: Any, compilations: CompilationCounter, arguments: TrainingArguments
) -> dict[str, Any]:
    """What the trainer does, after the first backward pass.

    Returns:
        `graphs` and `graph_breaks` of torch.compile; `optimizer`, the class in use, and
        `optimizer_expected`, the one that transformers gives for the setting; `checkpointing`, the
        number of layers that compute their activations again, of how many; `attention`, the number
        of attention layers by implementation; `head`, the one `expected` and the one `seen` in the
        first loss, with the first `functions` of its graph (see `head_proof`); `hub_kernels`, see
        there; `liger_implementation`; `autocast`, its dtype or "no"; `compile_mode`;
        `weights_dtype`, that of the input embeddings; what `adapter_facts` tells.
    """
    model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    model = base_model(model)
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    if trainer.args.optim.value.endswith("layerwise"):
        expected = type(optimizer)  # asking transformers again would add its hooks twice
    else:
        expected, _ = type(trainer).get_optimizer_cls_and_kwargs(trainer.args, model)
    layers = [m for m in model.modules() if hasattr(m, "gradient_checkpointing")]
    seen = trainer.observed.head
    plugin = getattr(trainer.accelerator.state, "dynamo_plugin", None)
    checkpointing = checkpointed_layers(model) or {
        "active": sum(bool(m.gradient_checkpointing and m.training) for m in layers),
        "present": len(layers),
    }
    return {
        "head": {
            "expected": expected_head(arguments, model.config.model_type),
            **({"seen": seen.head, "functions": seen.functions[:HEAD]} if seen else {}),
        },
        "hub_kernels": hub_kernels.in_place(model) if arguments.use_hub_kernels else {},
        "liger_implementation": implementation_in_use() if arguments.use_liger else None,
        "autocast": str(trainer.accelerator.mixed_precision),
        "compile_mode": getattr(plugin, "mode", None) if arguments.torch_compile else None,
        "graphs": compilations.graphs,
        "graph_breaks": compilations.graph_breaks,
        "optimizer": _class_name(type(optimizer)),
        "optimizer_expected": _class_name(expected),
        "checkpointing": checkpointing,
        "attention": dict(
            Counter(
                str(module.config._attn_implementation)
                for module in model.modules()
                if type(module).__name__.endswith("Attention") and hasattr(module, "config")
            )
        ),
        "weights_dtype": _dtype_of_weights(model),
        **adapter_facts(model),
    }


def mismatch(facts: Mapping[str, Any], arguments: TrainingArguments) -> str | None:
    """How the facts contradict the arguments, in one line; None if they do not.

    Facts that were not recorded contradict nothing.
    """
    graphs = facts.get("graphs")
    # flex attention compiles its kernel in every arm
    is_flex = arguments.attn_implementation == "flex_attention" and not arguments.torch_compile
    if graphs is not None and bool(graphs) != arguments.torch_compile and not is_flex:
        if arguments.torch_compile:
            return "torch_compile: true was asked for, and no graph was compiled"
        return f"torch_compile: false was asked for, and {graphs} graphs were compiled"
    if facts.get("optimizer") != facts.get("optimizer_expected"):
        return (
            f"optim: {arguments.optim} means {facts['optimizer_expected']}, and the trainer uses "
            f"{facts['optimizer']}"
        )
    for problem in (
        head_mismatch(facts.get("head", {})),
        hub_kernels.mismatch(facts.get("hub_kernels", {}), arguments.use_hub_kernels),
        _other_modes(facts, arguments),
    ):
        if problem:
            return problem
    layers = facts.get("checkpointing")
    if layers:
        expected = layers["present"] if arguments.gradient_checkpointing else 0
        if layers["active"] != expected or (arguments.gradient_checkpointing and not expected):
            return (
                f"gradient_checkpointing: {str(arguments.gradient_checkpointing).lower()} was "
                f"asked for, and it is active in {layers['active']} of {layers['present']} layers"
            )
    others = [name for name in facts.get("attention", {}) if name != arguments.attn_implementation]
    if others:
        return (
            f"attn_implementation: {arguments.attn_implementation} was asked for, and "
            f"{facts['attention'][others[0]]} layers use {others[0]}"
        )
    return (
        _other_precision(facts, arguments)
        or adapters.contradiction(facts, arguments)
        or documents.contradiction(facts, arguments)
    )


def _other_precision(facts: Mapping[str, Any], arguments: TrainingArguments) -> str | None:
    mixed = facts.get("autocast")
    by_arithmetic = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "no"
    if mixed is not None and mixed != (by_arithmetic if arguments.uses_autocast else "no"):
        asked = f"autocast: {str(arguments.autocast).lower()}"
        asked = asked if arguments.bf16 and arguments.weights_dtype is None else arguments.precision
        return f"{asked} was asked for, and autocast's dtype is {mixed}"
    dtype = facts.get("weights_dtype")
    expected = "bfloat16" if arguments.has_bf16_weights else "float32"
    if dtype is not None and dtype != expected:
        return f"{arguments.precision} was asked for, and the live weights are {dtype}"
    return None


def _dtype_of_weights(model: Any) -> str:
    return str(model.get_input_embeddings().weight.dtype).removeprefix("torch.")


def _other_modes(facts: Mapping[str, Any], arguments: TrainingArguments) -> str | None:
    """Another implementation of Liger, or another mode of torch.compile, than was asked for."""
    implementation = facts.get("liger_implementation")
    if implementation not in (None, arguments.liger_implementation):
        return (
            f"liger_implementation: {arguments.liger_implementation} was asked for, and the live "
            f"one is {implementation}"
        )
    mode = facts.get("compile_mode")
    if mode is not None and mode != arguments.torch_compile_mode:
        return f"torch_compile_mode: {arguments.torch_compile_mode} was asked for, and it is {mode}"
    return None


def _class_name(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
