"""The trainer of a condition: trl's SFTTrainer with the blog's settings, the same in every arm."""

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
    """trl's SFTTrainer with `callback` in it, and with nothing that one arm alone would pay for.

    trl computes entropy and accuracy from the vanilla arm's logits in every step, a tenth of its
    speed, and asks Liger for something else instead. Both arms take the plain loss of
    `transformers.Trainer`, as the blog's did.
    """
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
            for batch in batches:  # still on the CPU, and outside the timed step
                self.counted_tokens += batch["attention_mask"].numel()
                self.padding_tokens += int((batch["attention_mask"] == 0).sum())
            return batches, n_items

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            inputs.pop("_prediction_loss_only", None)  # SFTTrainer's note to its own compute_loss
            return transformers.Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    class Callback(EfficiencyCallback, transformers.TrainerCallback):
        pass

    callback.__class__ = Callback
    trainer = BenchmarkTrainer(
        model=model,
        args=trl.SFTConfig(**sft_config(arguments, output_folder)),
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        callbacks=[cast(transformers.TrainerCallback, callback)],
    )
    # Their lines would go to the standard output of every condition.
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def sft_config(arguments: TrainingArguments, output_folder: Path) -> dict[str, Any]:
    """The blog's settings as today's trl and transformers spell them: the one place for that."""
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
        # transformers' own count makes the CPU wait for the GPU in the middle of every step, so the
        # callback counts instead.
        "include_num_input_tokens_seen": "no",
        "seed": arguments.seed,
        # W&B is the workflow's: the parent logs what the child sends.
        "report_to": "none",
        # Each of these differs from the blog's trl by today's default.
        "loss_type": arguments.loss_type,
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "packing": False,
        # The rows come with their labels: trl would go through them three times more.
        "dataset_kwargs": {"skip_prepare_dataset": True},
        # The model is patched before the trainer sees it, so that the data path is one for both.
        "use_liger_kernel": False,
        # The filter would replace a loss that is not a number by an average, in silence.
        "logging_nan_inf_filter": False,
        "prediction_loss_only": True,
        "disable_tqdm": True,
        "use_cpu": environment.visible_gpu() is None,
    }
