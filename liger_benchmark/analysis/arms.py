"""The arms of a grid that was run: their order, the baseline, and which settings they share.

An arm is all runs of one name. They have the same settings except for batch size and repeat, which
`result_folders` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    BATCH_SIZE,
    EFFECTIVE_WITH,
    VANILLA,
)
from liger_benchmark.experiment.axes import AXES
from liger_benchmark.run import Run
from liger_benchmark.validation import did_you_mean, show

# Settings that change how a step is computed, or what is done beside the steps, but not what a step
# computes. Arms that differ only in these must have the same losses up to rounding.
SAME_MATHS = frozenset(
    {
        *("use_liger", "liger_kernels", "torch_compile", "loss_type", "attn_implementation"),
        *("gradient_checkpointing", "gpu_memory_limit_gib", "n_warmup_steps", "logging_steps"),
        *("eval_strategy", "per_device_eval_batch_size", "save_strategy"),
        *("include_num_input_tokens_seen", "padding_free", "torch_compile_mode"),
        *("liger_chunk_mem_const", "liger_implementation", "use_hub_kernels", "autocast"),
        *("sharding", "reshard_after_forward", "environment"),
    }
)
# The settings that, together with the batch size, determine the rows a run is trained on.
DECIDES_ROWS = (
    "seed",
    "max_seq_length",
    "gradient_accumulation_steps",
    "n_gpus",
    "max_steps",
    "dataset_format",
    "packing",
    "packing_strategy",
)
# The settings that determine the weights a run starts from.
DECIDES_WEIGHTS = (
    *("seed", "bf16", "weights_dtype", "peft", "lora_r", "lora_target_modules", "load_in_4bit"),
)


# What only begins with the first update: arms that differ in these besides have the same gradients
# at the first step, and other losses from the second on.
SAME_GRADIENTS = SAME_MATHS | {
    *("optim", "learning_rate", "weight_decay", "warmup_ratio", "lr_scheduler_type"),
    "max_grad_norm",
}


class UnknownBaseline(ValueError):
    """The baseline asked for is no arm of the grid. The message is one line and lists the arms."""


def arms_in(runs: Iterable[Run]) -> list[str]:
    """The names of the runs' arms, in the order in which they first appear."""
    return list(dict.fromkeys(run.training_args.arm for run in runs))


def arguments_by_arm(runs: Iterable[Run]) -> dict[str, TrainingArguments]:
    """Each arm's name with the training arguments of its first run, in order of appearance."""
    arguments: dict[str, TrainingArguments] = {}
    for run in runs:
        arguments.setdefault(run.training_args.arm, run.training_args)
    return arguments


def choose_baseline(arms: Mapping[str, TrainingArguments], wanted: str | None = None) -> str:
    """The name of the arm that the others are compared with.

    Args:
        arms: see `arguments_by_arm`.
        wanted: the name asked for. Without one it is vanilla if that is an arm, else the first arm
            without Liger, else the first arm.

    Raises:
        UnknownBaseline: if no arm has the name asked for.
    """
    if wanted is None:
        without_liger = [arm for arm, arguments in arms.items() if not arguments.use_liger]
        return VANILLA if VANILLA in arms else [*without_liger, *arms][0]
    if wanted not in arms:
        raise UnknownBaseline(
            f"no arm is called {show(wanted)}{did_you_mean(wanted, arms)}; "
            f"the arms are {', '.join(arms)}"
        )
    return wanted


def baseline_first(arms: Iterable[str], baseline: str) -> list[str]:
    """The arms in the report's order: the baseline, then the others in the order given."""
    return sorted(dict.fromkeys(arms), key=lambda arm: arm != baseline)


def display_order(arms: Sequence[str]) -> Callable[[Run], tuple[int, int, int]]:
    """A sort key for lists of runs: by repeat, then batch size, then the order of `arms`."""

    def key(run: Run) -> tuple[int, int, int]:
        args = run.training_args
        return (args.run, args.per_device_train_batch_size, arms.index(args.arm))

    return key


def value_on(axis: str, args: TrainingArguments) -> Any:
    """A run's value on an axis, see `comparable`; None where the axis means nothing."""
    return None if means_nothing(axis, args) else comparable(getattr(args, axis))


def means_nothing(axis: str, args: TrainingArguments) -> bool:
    """Whether an axis has no effect beside the other settings: kernels of Liger without Liger."""
    return axis in EFFECTIVE_WITH and not getattr(args, EFFECTIVE_WITH[axis])


def comparable(value: Any) -> Any:
    """An axis' value in hashable form; lists (of kernels) are sorted, since order has no effect."""
    return tuple(sorted(value)) if isinstance(value, list) else value


def settings_of(args: TrainingArguments) -> dict[str, Any]:
    """The settings that define the run's arm: its value on every axis but the batch size."""
    return {axis: value_on(axis, args) for axis in AXES if axis != BATCH_SIZE}


def axes_of(runs: Sequence[Run]) -> list[str]:
    """The axes on which `runs` have several values, and `use_liger`; without the batch size."""
    varied: dict[str, set[Any]] = {axis: set() for axis in AXES if axis != BATCH_SIZE}
    for run in runs:
        for axis, value in settings_of(run.training_args).items():
            if value is not None or not means_nothing(axis, run.training_args):
                varied[axis].add(value)
    return [axis for axis, values in varied.items() if len(values) > 1 or axis == "use_liger"]


def same_maths(one: TrainingArguments, other: TrainingArguments) -> bool:
    """Whether two arms compute the same from the same rows and weights, so that losses compare."""
    return _differ_only_in(SAME_MATHS, one, other)


def same_gradients(one: TrainingArguments, other: TrainingArguments) -> bool:
    """Whether two arms have the same gradients at the first step."""
    return _differ_only_in(SAME_GRADIENTS, one, other)


def _differ_only_in(axes: frozenset[str], one: TrainingArguments, other: TrainingArguments) -> bool:
    a, b = settings_of(one), settings_of(other)
    return all(a[axis] == b[axis] for axis in a if axis not in axes)


def natural_order(args: TrainingArguments) -> tuple[Any, ...]:
    """A sort key for arms where the grid's order is not recorded.

    Liger comes before vanilla, as in the blog's file. On every other axis the default comes first,
    then the other values in ascending order.
    """
    default = settings_of(TrainingArguments(use_liger=True))
    return tuple(
        (value != default[axis], *_sortable(value)) for axis, value in settings_of(args).items()
    )


def _sortable(value: Any) -> tuple[int, Any]:
    """A sort key for values of mixed types: None, then numbers, then texts and tuples."""
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, value)
