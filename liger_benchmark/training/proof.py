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
from liger_benchmark.training.compile_counter import CompilationCounter
from liger_benchmark.training.sharding import checkpointed_layers


class ArmMismatch(RuntimeError):
    """The live trainer does not do what the arm says. The message is one line."""


def live_facts(trainer: Any, compilations: CompilationCounter) -> dict[str, Any]:
    """What the trainer does, after the first backward pass.

    Returns:
        `graphs` and `graph_breaks` of torch.compile; `optimizer`, the class in use, and
        `optimizer_expected`, the one that transformers gives for the setting; `checkpointing`, the
        number of layers that compute their activations again, of how many; `attention`, the number
        of attention layers by implementation.
    """
    model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    expected, _ = type(trainer).get_optimizer_cls_and_kwargs(trainer.args, model)
    layers = [m for m in model.modules() if hasattr(m, "gradient_checkpointing")]
    checkpointing = checkpointed_layers(model) or {
        "active": sum(bool(m.gradient_checkpointing and m.training) for m in layers),
        "present": len(layers),
    }
    return {
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
    }


def mismatch(facts: Mapping[str, Any], arguments: TrainingArguments) -> str | None:
    """How the facts contradict the arguments, in one line; None if they do not.

    Facts that were not recorded contradict nothing.
    """
    graphs = facts.get("graphs")
    if graphs is not None and bool(graphs) != arguments.torch_compile:
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
    return None


def _class_name(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
