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
from liger_benchmark.training import adapters, documents
from liger_benchmark.training.adapters import adapter_facts, base_model
from liger_benchmark.training.compile_counter import CompilationCounter


class ArmMismatch(RuntimeError):
    """The live trainer does not do what the arm says. The message is one line."""


def live_facts(trainer: Any, compilations: CompilationCounter) -> dict[str, Any]:
    """What the trainer does, after the first backward pass.

    Returns:
        `graphs` and `graph_breaks` of torch.compile; `optimizer`, the class in use, and
        `optimizer_expected`, the one that transformers gives for the setting; `checkpointing`, the
        number of layers that compute their activations again, of how many; `attention`, the number
        of attention layers by implementation; `mixed_precision`, the dtype of autocast or "no";
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
    return {
        "graphs": compilations.graphs,
        "graph_breaks": compilations.graph_breaks,
        "optimizer": _class_name(type(optimizer)),
        "optimizer_expected": _class_name(expected),
        "checkpointing": {
            "active": sum(bool(m.gradient_checkpointing and m.training) for m in layers),
            "present": len(layers),
        },
        "attention": dict(
            Counter(
                str(module.config._attn_implementation)
                for module in model.modules()
                if type(module).__name__.endswith("Attention") and hasattr(module, "config")
            )
        ),
        "mixed_precision": trainer.accelerator.mixed_precision,
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
    mixed = facts.get("mixed_precision")
    expected = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "no"
    if mixed is not None and mixed != expected:
        return f"{arguments.precision} was asked for, and autocast to {mixed} is on"
    dtype = facts.get("weights_dtype")
    expected = "bfloat16" if arguments.has_bf16_weights else "float32"
    if dtype is not None and dtype != expected:
        return f"{arguments.precision} was asked for, and the live weights are {dtype}"
    return None


def _dtype_of_weights(model: Any) -> str:
    return str(model.get_input_embeddings().weight.dtype).removeprefix("torch.")


def _class_name(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
