"""Functions that tests run in a fresh process: training with an injected fault."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import condition, out_of_memory
from liger_benchmark.training.ending import FINISHED
from liger_benchmark.training.measurement import EfficiencyCallback

Send = Callable[[Any], None]
OUT_OF_MEMORY = "out of memory"
ANYTHING_ELSE = "anything else"
FULL_DISK = "full disk"
NO_PERMISSION = "no permission"
KILLED = "killed"
NEIGHBOUR = "neighbour"  # memory runs out while another process holds 2.5 GiB of it
ERRORS = {
    ANYTHING_ELSE: RuntimeError("something else broke"),
    FULL_DISK: OSError(errno.ENOSPC, "No space left on device"),
    NO_PERMISSION: PermissionError(errno.EACCES, "Permission denied"),
}


def train_with_fault(
    send: Send,
    stage: str,
    kind: str,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
) -> dict[str, Any]:
    """Train, and raise at `stage`: model, first step, mid-run (step 2), optimizer or callback.

    Or in the first evaluation, the first checkpoint, or in a function that is called at the end.

    Args:
        kind: `OUT_OF_MEMORY`, `NEIGHBOUR`, `KILLED` or a key of `ERRORS`.
    """
    import torch
    import trl

    def fault() -> None:
        if kind == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind in (OUT_OF_MEMORY, NEIGHBOUR):
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of …"
            )
        raise ERRORS[kind]

    def failing_at(step: int, original: Callable[..., Any]) -> Callable[..., Any]:
        calls = iter(range(1, 1000))

        def call(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == step:
                fault()
            return original(*args, **kwargs)

        return call

    if kind == NEIGHBOUR:
        out_of_memory.memory_of_others = lambda gpu: 2560.0
        condition.reason_or_raise = lambda error, gpu: out_of_memory.reason_or_raise(error, {})
    if stage == "model":
        condition.load_model = failing_at(1, condition.load_model)
    elif stage == "optimizer":
        torch.optim.SGD.step = failing_at(2, torch.optim.SGD.step)  # type: ignore[method-assign]
    elif stage == "callback":
        EfficiencyCallback.on_step_end = failing_at(  # type: ignore[method-assign]
            2, EfficiencyCallback.on_step_end
        )
    elif stage in ("evaluate", "_save_checkpoint", "save_state", "save_model"):
        call = 2 if stage == "save_model" else 1  # a checkpoint has saved the model before
        setattr(trl.SFTTrainer, stage, failing_at(call, getattr(trl.SFTTrainer, stage)))
    elif stage in ("weights_checksum", "flops_per_token", "record_gpu_at_end"):
        setattr(condition, stage, failing_at(1, getattr(condition, stage)))
    else:
        trl.SFTTrainer.training_step = failing_at(
            1 if stage == "first step" else 2, trl.SFTTrainer.training_step
        )
    return condition.train(send, arguments, dataset_folder, model_folder, output_folder)


def train_with_the_other_model(
    send: Send,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
) -> dict[str, Any]:
    """Train one arm with the other arm's model, as in a process that trained both arms."""
    load_model = condition.load_model

    def load_other(*args: Any, use_liger: bool, **kwargs: Any) -> Any:
        return load_model(*args, use_liger=not use_liger, **kwargs)

    condition.load_model = load_other
    return condition.train(send, arguments, dataset_folder, model_folder, output_folder)


def effective_configuration(
    send: Send,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
) -> dict[str, Any]:
    """All settings of the live trainer and model, as plain values to compare."""
    import trl

    built: list[Any] = []
    build_trainer = condition.build_trainer

    def keep(*args: Any, **kwargs: Any) -> Any:
        built.append(build_trainer(*args, **kwargs))
        return built[0]

    condition.build_trainer = keep
    losses_of_trl = 0
    loss_of_trl = trl.SFTTrainer.compute_loss

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal losses_of_trl
        losses_of_trl += 1
        return loss_of_trl(*args, **kwargs)

    trl.SFTTrainer.compute_loss = counted  # type: ignore[method-assign]
    rows: list[dict[str, Any]] = []

    def keep(message: dict[str, Any]) -> None:
        if FINISHED not in message:
            rows.append(message)

    condition.train(keep, arguments, dataset_folder, model_folder, output_folder)
    trainer = built[0]
    model = trainer.model
    dynamo = importlib.import_module("torch._dynamo.utils")
    return {
        "checkpoints activations": model.is_gradient_checkpointing,
        "compiled": dynamo.counters["frames"]["ok"] > 0,
        **{f"args.{key}": repr(value) for key, value in trainer.args.to_dict().items()},
        **{f"model.{key}": repr(value) for key, value in model.config.to_dict().items()},
        "args.optim": str(trainer.args.optim.value),
        "model.dtype": str(model.dtype).removeprefix("torch."),
        "attention": model.config._attn_implementation,
        "optimizer": repr(trainer.optimizer),
        "optimizer class": type(trainer.optimizer.optimizer).__name__,
        "scheduler": repr(type(trainer.lr_scheduler)),
        "collator": repr(trainer.data_collator),
        "callbacks": [type(c).__name__ for c in trainer.callback_handler.callbacks],
        "accepts loss kwargs": trainer.model_accepts_loss_kwargs,
        "parameters": [(n, tuple(p.shape), str(p.dtype)) for n, p in model.named_parameters()],
        "trains": [n for n, p in model.named_parameters() if p.requires_grad],
        "rows": [list(ids) for ids in trainer.train_dataset["input_ids"]],
        "labels": [list(ids) for ids in trainer.train_dataset["labels"]],
        "logged": [sorted(row) for row in rows],
        "losses that trl worked out, with entropy and accuracy": losses_of_trl,
        "forward": model.forward.__func__.__module__,
        "seeds": dataclasses.asdict(arguments)["seed"],
    }


def save_models(send: Send, model_folder: Path, to: Path) -> None:
    """Save the tiny Phi-3 with weights, and two models whose weights do not fit its config."""
    import shutil

    import transformers

    from liger_benchmark.training.model import load_model

    right = load_model(model_folder, use_liger=False, bf16=False, seed=1, device="cpu")
    shutil.copytree(model_folder, to / "right")
    right.save_pretrained(to / "right")
    llama = transformers.LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4,
    )  # fmt: skip
    transformers.LlamaForCausalLM(llama).save_pretrained(to / "other")
    small = transformers.AutoConfig.from_pretrained(model_folder, hidden_size=32)
    transformers.AutoModelForCausalLM.from_config(small).save_pretrained(to / "small")
