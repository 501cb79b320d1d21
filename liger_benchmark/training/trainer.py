"""The trainer of a condition: trl's SFTTrainer with the blog's settings, equal in all arms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import ALL_LINEAR
from liger_benchmark.training import environment, heads, ranks, sharding
from liger_benchmark.training.compilation import begins_graphs, compile_mode
from liger_benchmark.training.compile_counter import CompilationCounter
from liger_benchmark.training.dataset import PAD_TO_MULTIPLE_OF
from liger_benchmark.training.documents import influence_of_others
from liger_benchmark.training.gradients import gradient_fingerprint
from liger_benchmark.training.head_proof import sighting
from liger_benchmark.training.measurement import EfficiencyCallback
from liger_benchmark.training.observation import Observation
from liger_benchmark.training.proof import ArmMismatch, live_facts, mismatch
from liger_benchmark.training.rehearsal import with_other_label_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import SFTTrainer as _Trainer
else:
    _Trainer = object  # trl is imported when a trainer is built

# Beginnings of the names of optimisers that work on projections of the gradients.
LOW_RANK = ("galore", "apollo")


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

    SFTTrainer.compute_loss computes entropy and accuracy besides, which costs 10% of the speed
    where all logits are there. All arms but TRL's own head therefore use the loss of
    `transformers.Trainer`, as the blog's did.

    Its `observed` is an `Observation`, whole once the training has ended.
    """
    import transformers
    import trl

    class Callback(EfficiencyCallback, transformers.TrainerCallback):
        pass

    callback.__class__ = Callback
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
        self.influence: dict[str, Any] = {}
        super().__init__(**options)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Rehearse the first step on a GPU, and check the live trainer after it."""
        is_first_step = self.state.global_step == 0
        if is_first_step and "attention_mask" not in inputs and not self.influence:
            with self.callback.paused("checks"):
                self.influence = influence_of_others(self.loss_of, self._prepare_inputs(inputs))
        # Interpreted on a CPU, no kernel is compiled, and a pass takes seconds.
        if is_first_step and not self.args.use_cpu and not self.observed.gradients:
            with self.callback.paused("rehearsal"):
                self.rehearse(model, inputs, *args, **kwargs)
        self.is_flat = "attention_mask" not in inputs
        self.callback.count_tokens(inputs["input_ids"].numel())
        begins_graphs(self.arguments)
        loss = super().training_step(model, inputs, *args, **kwargs)
        if is_first_step and self.accelerator.sync_gradients:
            with self.callback.paused("checks"):
                self.check()
        return loss

    def loss_of(self, batch: dict[str, Any]) -> float:
        """The live model's loss of a batch in the way in which it trains, without a backward."""
        import torch

        with torch.random.fork_rng(self.own_devices()), self.compute_loss_context_manager():
            torch.manual_seed(self.args.seed)  # dropout in adapters
            return float(self.compute_loss(self.model_wrapped, dict(batch)).detach())

    def rehearse(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> None:
        """Compute the first micro-batch with another number of labels, then as it is.

        The gradients of the latter are kept. No trace is left: neither gradients, nor random
        numbers drawn, nor blocks in the allocator's stock, which the peak of reserved memory
        would count.
        """
        import torch

        with torch.random.fork_rng(self.own_devices()), sharding.gradients_shared(model):
            other = with_other_label_count(inputs["labels"])
            if other is None and ranks.in_group():
                other = inputs["labels"]  # all ranks have to compute the same number of times
            if other is not None:
                super().training_step(model, {**inputs, "labels": other}, *args, **kwargs)
                model.zero_grad(set_to_none=True)
            super().training_step(model, dict(inputs), *args, **kwargs)
            self.keep_gradients()
            while self.accelerator.scaler is not None and self.overflows():
                # fp16's scaler begins too high, and would skip the first steps to find out.
                scale = self.accelerator.scaler.get_scale()
                self.accelerator.scaler.update(new_scale=scale / 2)
                model.zero_grad(set_to_none=True)
                super().training_step(model, dict(inputs), *args, **kwargs)
                self.keep_gradients()
        model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()

    def own_devices(self) -> list[int] | None:
        """For `fork_rng`, which by default would start on the GPUs of all ranks."""
        return [ranks.rank()] if ranks.in_group() and not self.args.use_cpu else None

    def keep_gradients(self) -> None:
        """Keep the gradients' fingerprint, before they are clipped."""
        parameters = cast(Any, self.model).named_parameters()
        scaler = self.accelerator.scaler
        scale = 1.0 if scaler is None else scaler.get_scale()
        self.observed.gradients = gradient_fingerprint(parameters, scale)

    def overflows(self) -> bool:
        """Whether a gradient is not finite although the loss can be scaled by less."""
        not_finite = any(numbers is None for numbers in self.observed.gradients.values())
        return not_finite and cast(Any, self.accelerator.scaler).get_scale() > 1.0

    def check(self) -> None:
        """Check the live trainer, after the first backward pass.

        Raises:
            ArmMismatch: if it does not do what the arm says.
        """
        if not self.observed.gradients:
            self.keep_gradients()
        self.observed.proof = live_facts(self, self.compilations, self.arguments) | {
            "flattened": self.is_flat,
            "influence": self.influence,
        }
        if problem := mismatch(self.observed.proof, self.arguments):
            raise ArmMismatch(problem)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Add the batches of the next step to what was observed."""
        batches, n_items = super().get_batch_samples(*args, **kwargs)
        # Before the timed step.
        with self.callback.left_out():
            n_real_tokens = sum(map(self.observed.add_batch, batches))
        self.callback.announce_real_tokens(n_real_tokens)
        return batches, n_items

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The arm's loss, and at the first step what computed it."""
        if self.observed.head is not None or self.arguments.torch_compile:
            return self._loss(model, inputs, *args, **kwargs)
        with sighting(self.accelerator.unwrap_model(model)) as self.observed.head:
            result = self._loss(model, inputs, *args, **kwargs)
        self.observed.head.see(result[0] if isinstance(result, tuple) else result)
        return result

    def _loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        import transformers

        if self.arguments.loss_type == heads.TRL:
            return super().compute_loss(model, inputs, *args, **kwargs)
        inputs.pop("_prediction_loss_only", None)  # only for SFTTrainer.compute_loss
        return transformers.Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        # Without clipping transformers clips at infinity, to log the norm: at the same cost.
        return super()._get_grad_norm(*args, **kwargs) if self.args.max_grad_norm > 0 else None

    def create_accelerator_and_postprocess(self) -> None:
        """Share the model on a CPU too, where accelerate would not."""
        super().create_accelerator_and_postprocess()
        if self.args.use_cpu and self.args.fsdp:
            sharding.shard_on_cpu(self)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate outside of the loop's time."""
        with self.callback.interrupted("evaluation"):
            return super().evaluate(*args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        with self.callback.interrupted("checkpoint"):
            return super()._save_checkpoint(*args, **kwargs)


_IN_ALL_CONDITIONS: dict[str, Any] = {
    "logging_strategy": "steps",
    # transformers' count synchronises with the GPU in the middle of every step. The callback
    # counts instead.
    "include_num_input_tokens_seen": "no",
    # The parent process logs to W&B what this one sends.
    "report_to": "none",
    # The rows are tokenised and have labels.
    "dataset_kwargs": {"skip_prepare_dataset": True},
    # The model has been patched. With True, trl would also change how it prepares data.
    "use_liger_kernel": False,
    # The filter would silently replace a loss of NaN or infinity by an average.
    "logging_nan_inf_filter": False,
    "prediction_loss_only": True,
    "disable_tqdm": True,
}


def sft_config(
    arguments: TrainingArguments, output_folder: Path, *, weights_on_host: bool = False
) -> dict[str, Any]:
    """The arguments of `trl.SFTConfig` for a condition.

    Args:
        weights_on_host: whether rank 0 of a group holds all weights in main memory.
    """
    return {
        **_IN_ALL_CONDITIONS,
        "output_dir": str(output_folder),
        # trl refuses a length beside rows that are laid end to end: they are cut already.
        "max_length": None if arguments.padding_free else arguments.max_seq_length,
        # A packed batch always has its full size, see `documents`.
        "pad_to_multiple_of": (
            arguments.per_device_train_batch_size * arguments.max_seq_length
            if arguments.packing
            else PAD_TO_MULTIPLE_OF
        ),
        # Without autocast the weights' dtype decides.
        "bf16": arguments.bf16 and arguments.uses_autocast,
        "fp16": arguments.fp16,
        "torch_compile": arguments.torch_compile,
        "torch_compile_mode": compile_mode(arguments),
        "max_steps": arguments.max_steps,
        "num_train_epochs": arguments.num_train_epochs,
        "optim": arguments.optim,
        # The layers that optimisers of low rank work on; no other optimiser reads it.
        "optim_target_modules": ALL_LINEAR if arguments.optim.startswith(LOW_RANK) else None,
        "per_device_train_batch_size": arguments.per_device_train_batch_size,
        "per_device_eval_batch_size": arguments.per_device_eval_batch_size,
        "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
        "eval_strategy": arguments.eval_strategy,
        "save_strategy": arguments.save_strategy,
        "learning_rate": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        "max_grad_norm": arguments.max_grad_norm,
        # transformers 5 has no warmup_ratio: warmup_steps below 1 is the ratio.
        "warmup_steps": arguments.warmup_ratio,
        "lr_scheduler_type": arguments.lr_scheduler_type,
        "logging_steps": arguments.logging_steps,
        "seed": arguments.seed,
        # The defaults of these have changed since the blog's version of trl.
        **({} if arguments.loss_type == heads.TRL else {"loss_type": "nll"}),
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "packing": arguments.packing,
        "packing_strategy": arguments.packing_strategy,
        "padding_free": arguments.padding_free,
        "use_cpu": environment.visible_gpu() is None,
        **sharding.trainer_settings(arguments, weights_on_host=weights_on_host),
    }
