"""Whether a grid's Liger and vanilla are the blog's experiment, which its claims are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liger_benchmark.analysis.arms import settings_of
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import AUTO, LIGER, VANILLA
from liger_benchmark.run import Run
from liger_benchmark.validation import show
from liger_benchmark.wording import model_title

BLOG_MODEL = "Phi-3 mini"
# Settings that may differ from the blog's: they change neither how a step is computed nor what it
# takes. The batch size is what the claims are judged by; a memory limit stands for the blog's card.
FREE = frozenset(
    {
        *("seed", "max_steps", "num_train_epochs", "n_warmup_steps", "gpu_memory_limit_gib"),
        *("learning_rate", "warmup_ratio", "lr_scheduler_type", "logging_steps"),
        *("include_num_input_tokens_seen", "per_device_eval_batch_size", "save_strategy"),
    }
)
# The generated rows that stand for Alpaca's: as long, and in the same format.
_ROWS_LIKE_ALPACAS = "builtin:instructions"


def why_another_experiment(runs: Sequence[Run]) -> str:
    """Why the blog's claims are not about these runs of Liger and vanilla; empty if they are.

    Runs of other arms do not matter.
    """
    for run in runs:
        if run.training_args.arm not in (LIGER, VANILLA):
            continue
        for name, value in _differences(run.training_args).items():
            return (
                f"they are about {BLOG_MODEL} at {TrainingArguments().max_seq_length} tokens a "
                f"sequence, in bf16 with SGD, and here {name} is {show(value)}"
            )
    return ""


def other_settings(args: TrainingArguments) -> dict[str, Any]:
    """The settings, `FREE` ones aside, that are not the blog's for the arm of that name."""
    blogs = settings_of(TrainingArguments(use_liger=args.arm == LIGER))
    # The format that is found by itself in rows of texts is the blog's.
    return {
        name: value
        for name, value in settings_of(args).items()
        if name not in FREE and value != blogs[name] and (name, value) != ("dataset_format", AUTO)
    }


def _differences(args: TrainingArguments) -> dict[str, Any]:
    """By name the model, the settings and the dataset that are not the blog's."""
    found: dict[str, Any] = {}
    if model_title(args.short_model_name) != BLOG_MODEL:
        found["model_name"] = args.model_name
    found |= other_settings(args)
    # A copy of Alpaca, such as a folder with a sample of it, says so in its name.
    if args.dataset_name != _ROWS_LIKE_ALPACAS and "alpaca" not in args.dataset_name.lower():
        found["dataset_name"] = args.dataset_name
    return found
