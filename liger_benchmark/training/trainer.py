"""The trainer of a condition: trl's SFTTrainer with the blog's settings, equal in all arms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import chunked_loss, environment, ranks, sharding
from liger_benchmark.training.compile_counter import CompilationCounter
from liger_benchmark.training.dataset import PAD_TO_MULTIPLE_OF
from liger_benchmark.training.gradients import gradient_fingerprint
from liger_benchmark.training.measurement import EfficiencyCallback
from liger_benchmark.training.proof import ArmMismatch, live_facts, mismatch
from liger_benchmark.training.rehearsal import with_other_label_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import SFTTrainer as _Trainer
else:
    _Trainer = object  # trl is imported when a trainer is built


def build_trainer(
    arguments: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: Any,
    output_folder: Path,
    callback: EfficiencyCallback,
    compilations: CompilationCounter,
    weights_on_host: bool = False,
) -> Any:
    """An SFTTrainer that calls `callback` and does the same work in all arms.

    SFTTrainer.compute_loss computes entropy and accuracy from the logits of an arm without Liger
    only, which costs 10% of its speed. All arms therefore use the loss of `transformers.Trainer`,
    as the blog's did.

    Its `observed` is an `Observation`, whole once the training has ended.
    """
    import transformers
    import trl

    class Callback(EfficiencyCallback, transformers.TrainerCallback):
        pass

    callback.__class__ = Callback
    if arguments.loss_type == "chunked_nll":
        chunked_loss.compute_nothing_else()
    trainer_class: Any = type("BenchmarkTrainer", (_Measured, trl.SFTTrainer), {})
    trainer = trainer_class(
        arguments,
        callback,
        compilations,
        model=model,
        args=trl.SFTConfig(**sft_config(arguments, output_folder, weights_on_host=weights_on_host)),
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        callbacks=[cast(transformers.TrainerCallback, callback)],
    )
    # It prints every log line to the standard output.
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


@dataclass
class Observation:
    """What a run trained on and computed, for its record.

    Attributes:
        batches: a hash of all batches as they were trained, in order: ids, labels and mask.
        tokens, padding_tokens: of all batches.
        gradients: see `gradient_fingerprint`; of the first step (on a GPU its first micro-batch),
            before clipping.
        proof: see `live_facts`.
    """

    batches: Any = field(default_factory=hashlib.sha256)
    tokens: int = 0
    padding_tokens: int = 0
    gradients: dict[str, list[float] | None] = field(default_factory=dict)
    proof: dict[str, Any] = field(default_factory=dict)

    def add_batch(self, batch: Any) -> int:
        """Add a micro-batch; returns its number of tokens without padding."""
        for name in ("input_ids", "labels", "attention_mask"):
            values = batch[name].cpu().contiguous()
            self.batches.update(f"{name}{tuple(values.shape)}".encode())
            self.batches.update(values.numpy().tobytes())
        tokens = batch["attention_mask"].numel()
        real_tokens = int(batch["attention_mask"].sum())
        self.tokens += tokens
        self.padding_tokens += tokens - real_tokens
        return real_tokens

    def record(self) -> dict[str, Any]:
        """The observation as parts of a record."""
        return {
            "batches": {
                "checksum": self.batches.hexdigest()[:16],
                "padding_fraction": round(self.padding_tokens / max(self.tokens, 1), 4),
            },
            "gradients": self.gradients,
            "proof": self.proof,
        }


class _Measured(_Trainer):
    """Comes before SFTTrainer and measures, rehearses and checks; see `build_trainer`."""

    def __init__(
        self,
        arguments: TrainingArguments,
        callback: EfficiencyCallback,
        compilations: CompilationCounter,
        **options: Any,
    ) -> None:
        self.arguments = arguments
        self.callback = callback
        self.compilations = compilations
        self.observed = Observation()
        super().__init__(**options)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        is_first_step = self.state.global_step == 0
        # Interpreted on a CPU, no kernel is compiled, and a pass takes seconds.
        if is_first_step and not self.args.use_cpu and not self.observed.gradients:
            with self.callback.paused("rehearsal"):
                self.rehearse(model, inputs, *args, **kwargs)
        self.callback.count_tokens(inputs["input_ids"].numel())
        loss = super().training_step(model, inputs, *args, **kwargs)
        if is_first_step and self.accelerator.sync_gradients:
            with self.callback.paused("checks"):
                self.check()
        return loss

    def rehearse(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> None:
        """Compute the first micro-batch with another number of labels, then as it is.

        The gradients of the latter are kept. No trace is left: neither gradients, nor random
        numbers drawn, nor blocks in the allocator's stock, which the peak of reserved memory
        would count.
        """
        import torch

        # By default it would start on the GPUs of all ranks.
        devices = [ranks.rank()] if ranks.in_group() and not self.args.use_cpu else None
        with torch.random.fork_rng(devices), sharding.gradients_shared(model):
            other = with_other_label_count(inputs["labels"])
            if other is None and ranks.in_group():
                other = inputs["labels"]  # all ranks have to compute the same number of times
            if other is not None:
                super().training_step(model, {**inputs, "labels": other}, *args, **kwargs)
                model.zero_grad(set_to_none=True)
            super().training_step(model, dict(inputs), *args, **kwargs)
        self.keep_gradients()
        model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()

    def keep_gradients(self) -> None:
        """Keep the gradients' fingerprint, before they are clipped."""
        parameters = cast(Any, self.model).named_parameters()
        self.observed.gradients = gradient_fingerprint(parameters)

    def check(self) -> None:
        """Check the live trainer, after the first backward pass.

        Raises:
            ArmMismatch: if it does not do what the arm says.
        """
        if not self.observed.gradients:
            self.keep_gradients()
        self.observed.proof = live_facts(self, self.compilations)
        if problem := mismatch(self.observed.proof, self.arguments):
            raise ArmMismatch(problem)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        batches, n_items = super().get_batch_samples(*args, **kwargs)
        # Before the timed step.
        self.callback.announce_real_tokens(sum(map(self.observed.add_batch, batches)))
        return batches, n_items

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        import transformers

        inputs.pop("_prediction_loss_only", None)  # only for SFTTrainer.compute_loss
        return transformers.Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.use_cpu and self.args.fsdp:
            sharding.shard_on_cpu(self)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with self.callback.interrupted("evaluation"):
            return super().evaluate(*args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        with self.callback.interrupted("checkpoint"):
            return super()._save_checkpoint(*args, **kwargs)


def sft_config(
    arguments: TrainingArguments, output_folder: Path, *, weights_on_host: bool = False
) -> dict[str, Any]:
    """The arguments of `trl.SFTConfig` for a condition.

    Args:
        weights_on_host: whether rank 0 of a group holds all weights in main memory.
    """
    return {
        "output_dir": str(output_folder),
        "max_length": arguments.max_seq_length,
        "pad_to_multiple_of": PAD_TO_MULTIPLE_OF,
        "bf16": arguments.bf16,
        "torch_compile": arguments.torch_compile,
        "max_steps": arguments.max_steps,
        "num_train_epochs": arguments.num_train_epochs,
        "optim": arguments.optim,
        "per_device_train_batch_size": arguments.per_device_train_batch_size,
        "per_device_eval_batch_size": arguments.per_device_eval_batch_size,
        "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
        "eval_strategy": arguments.eval_strategy,
        "save_strategy": arguments.save_strategy,
        "learning_rate": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        # transformers 5 has no warmup_ratio: warmup_steps below 1 is the ratio.
        "warmup_steps": arguments.warmup_ratio,
        "lr_scheduler_type": arguments.lr_scheduler_type,
        "logging_strategy": "steps",
        "logging_steps": arguments.logging_steps,
        # transformers' count synchronises with the GPU in the middle of every step. The callback
        # counts instead.
        "include_num_input_tokens_seen": "no",
        "seed": arguments.seed,
        # The parent process logs to W&B what this one sends.
        "report_to": "none",
        # The defaults of these have changed since the blog's version of trl.
        "loss_type": arguments.loss_type,
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "packing": False,
        # The rows are tokenised and have labels.
        "dataset_kwargs": {"skip_prepare_dataset": True},
        # The model has been patched. With True, trl would also change how it prepares data.
        "use_liger_kernel": False,
        # The filter would silently replace a loss of NaN or infinity by an average.
        "logging_nan_inf_filter": False,
        "prediction_loss_only": True,
        "disable_tqdm": True,
        "use_cpu": environment.visible_gpu() is None,
        **sharding.trainer_settings(arguments, weights_on_host=weights_on_host),
    }
