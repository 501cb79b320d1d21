"""The trainer of a condition: trl's SFTTrainer with the blog's settings, equal in all arms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import environment
from liger_benchmark.training.dataset import PAD_TO_MULTIPLE_OF
from liger_benchmark.training.measurement import EfficiencyCallback

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build_trainer(
    arguments: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: Any,
    output_folder: Path,
    callback: EfficiencyCallback,
) -> Any:
    """An SFTTrainer that calls `callback` and does the same work in all arms.

    SFTTrainer.compute_loss computes entropy and accuracy from the logits of an arm without Liger
    only, which costs 10 % of its speed. All arms therefore use the loss of `transformers.Trainer`,
    as the blog's did.

    Its `padding_fraction()` is the share of padding in the tokens of all batches.
    """
    import transformers
    import trl

    class Callback(EfficiencyCallback, transformers.TrainerCallback):
        pass

    callback.__class__ = Callback
    trainer = _trainer_class(callback)(
        model=model,
        args=trl.SFTConfig(**sft_config(arguments, output_folder)),
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        callbacks=[cast(transformers.TrainerCallback, callback)],
    )
    # It prints every log line to the standard output.
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _trainer_class(callback: EfficiencyCallback) -> Any:
    """A subclass of SFTTrainer that reports its tokens to `callback`; see `build_trainer`."""
    import transformers
    import trl

    class BenchmarkTrainer(trl.SFTTrainer):
        counted_tokens = 0
        padding_tokens = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            callback.count_tokens(inputs["input_ids"].numel())
            return super().training_step(model, inputs, *args, **kwargs)

        def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
            batches, n_items = super().get_batch_samples(*args, **kwargs)
            for batch in batches:  # on the CPU, before the timed step
                self.counted_tokens += batch["attention_mask"].numel()
                self.padding_tokens += int((batch["attention_mask"] == 0).sum())
            return batches, n_items

        def padding_fraction(self) -> float:
            return round(self.padding_tokens / max(self.counted_tokens, 1), 4)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            inputs.pop("_prediction_loss_only", None)  # only for SFTTrainer.compute_loss
            return transformers.Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    return BenchmarkTrainer


def sft_config(arguments: TrainingArguments, output_folder: Path) -> dict[str, Any]:
    """The arguments of `trl.SFTConfig` for a condition."""
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
    }
