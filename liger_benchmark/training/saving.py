"""Train and save; running out of memory while saving does not discard the measurements."""

from __future__ import annotations

from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.measurement import EfficiencyCallback
from liger_benchmark.training.out_of_memory import describe_out_of_memory
from liger_benchmark.validation import one_line


def run_steps(trainer: Any, callback: EfficiencyCallback, record: dict[str, Any]) -> None:
    """Train. What was measured stays if the GPU has no memory for the checkpoint at the end."""
    try:
        trainer.train()
    except Exception as error:
        is_last = callback.steps_this_session == trainer.args.max_steps
        if not (is_last and callback.stage == "checkpoint" and describe_out_of_memory(error)):
            raise
        record["save_error"] = one_line(error)


def save(trainer: Any, arguments: TrainingArguments, record: dict[str, Any]) -> None:
    """Save the trainer's state, and the model if checkpoints are on.

    What was measured stays if the GPU has no memory left for that: it is noted as `save_error`.
    """
    try:
        trainer.save_state()
        if arguments.save_strategy != "no":
            trainer.save_model()
    except Exception as error:
        if describe_out_of_memory(error) is None:
            raise
        record["save_error"] = one_line(error)
