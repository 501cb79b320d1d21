"""Settings of a run that exclude each other."""

from __future__ import annotations

from typing import Any

from liger_benchmark.choices import ALL_LINEAR, DDP, FSDP2, LOSS_KERNELS
from liger_benchmark.validation import show


def conflict(settings: Any) -> str | None:
    """What is wrong with settings taken together, beginning with the key; else None.

    Args:
        settings: a `TrainingArguments`.
    """
    if settings.load_in_4bit and settings.peft is None:
        return (
            "load_in_4bit: true needs adapters, since weights in 4 bits cannot be trained; set "
            "peft: lora"
        )
    if settings.packing and settings.padding_free:
        return "padding_free: true is what packing does already; leave it out"
    if settings.fp16 and settings.bf16:
        return "fp16: true and bf16: true exclude each other; set bf16: false"
    if settings.weights_dtype == "bf16" and not settings.bf16:
        return "weights_dtype: bf16 needs bf16: true, since autocast would not make them fp32"
    if not settings.lora_target_modules:
        return f"lora_target_modules: [] leaves no layer to adapt; write [{ALL_LINEAR}]"
    if ALL_LINEAR in settings.lora_target_modules and len(settings.lora_target_modules) > 1:
        return f"lora_target_modules: {ALL_LINEAR} stands for all layers; list it alone"
    if settings.environment and settings.environment not in settings.environments:
        known = ", ".join(settings.environments) or "none"
        return (
            f"environment: {show(settings.environment)} is not among environments, which names "
            f"{known}"
        )
    if settings.environment and settings.in_group:
        return "environment: another environment trains on one GPU; set n_gpus: 1"
    if settings.loss_type == "cce" and not settings.bf16:
        return "loss_type: cce has no backward pass in fp32; set bf16: true"
    if settings.sharding == FSDP2 and settings.is_rounded and not settings.has_bf16_weights:
        return (
            f"sharding: {FSDP2} has no autocast, which {settings.precision} needs; set sharding: "
            f"{DDP}, or bf16: true with weights in bf16"
        )
    if not settings.autocast and settings.weights_dtype == "fp32":
        return "autocast: false with weights_dtype: fp32 would compute in fp32; set bf16: false"
    return _with_liger(settings) if settings.use_liger else None


def _with_liger(settings: Any) -> str | None:
    if settings.use_hub_kernels:
        return "use_hub_kernels: true and use_liger both replace the layers; set one of them"
    losses = [kernel for kernel in LOSS_KERNELS if kernel in settings.liger_kernels]
    if not settings.liger_kernels:
        return "liger_kernels: [] leaves nothing of Liger; set use_liger: false instead"
    if len(losses) > 1:
        return f"liger_kernels: {' and '.join(losses)} exclude each other; list one of them"
    if losses and settings.loss_type != "nll":
        return (
            f'loss_type: "{settings.loss_type}" and Liger\'s {losses[0]} both replace the loss; '
            f"leave {losses[0]} out of liger_kernels"
        )
    return None
