"""The arms of a grid that was run: their order, the baseline, what two of them have in common.

An arm is all runs of one name. Its runs have the same settings but for batch size and repeat, which
`merging` sees to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from liger_benchmark.arguments import BATCH_SIZE, VANILLA, TrainingArguments
from liger_benchmark.experiment.axes import AXES
from liger_benchmark.run import Run
from liger_benchmark.validation import did_you_mean, show

# Settings that change how a step is computed, or what is done beside the steps, but not what a step
# computes: arms that differ in these alone must have the same losses, but for rounding.
SAME_MATHS = frozenset(
    {
        *("use_liger", "liger_kernels", "torch_compile", "loss_type", "attn_implementation"),
        *("gradient_checkpointing", "gpu_memory_limit_gib", "n_warmup_steps", "logging_steps"),
        *("eval_strategy", "per_device_eval_batch_size", "save_strategy"),
        "include_num_input_tokens_seen",
    }
)
# What decides, with the batch size, which rows a run is given; and with which weights it starts.
DECIDES_ROWS = (
    *("seed", "max_seq_length", "gradient_accumulation_steps", "max_steps", "dataset_format"),
)
DECIDES_WEIGHTS = ("seed", "bf16")


class UnknownBaseline(ValueError):
    """A baseline that is no arm of the grid. Its message is one line and lists the arms."""


def arms_in(runs: Iterable[Run]) -> list[str]:
    """The names of the runs' arms, in the order in which they first appear."""
    return list(dict.fromkeys(run.training_args.arm for run in runs))


def choose_baseline(arms: Sequence[str], wanted: str | None = None) -> str:
    """The arm that the others are compared with: the one wanted, else the first of the plainest.

    That is vanilla; or, where axes without their default leave no arm of that name, the first
    without Liger; or the first.

    Raises:
        UnknownBaseline: if no arm has the name that is wanted.
    """
    if wanted is None:
        without_liger = [arm for arm in arms if arm.split(" + ")[0] == VANILLA]
        return VANILLA if VANILLA in arms else [*without_liger, *arms][0]
    if wanted not in arms:
        raise UnknownBaseline(
            f"no arm is called {show(wanted)}{did_you_mean(wanted, arms)}; "
            f"the arms are {', '.join(arms)}"
        )
    return wanted


def baseline_first(arms: Iterable[str], baseline: str) -> list[str]:
    """The arms in the order in which the report shows them: the grid's, the baseline in front."""
    return sorted(dict.fromkeys(arms), key=lambda arm: arm != baseline)


def display_order(arms: Sequence[str]) -> Callable[[Run], tuple[int, int, int]]:
    """The key that lists runs for a reader: repeats outermost, `arms` in this order innermost."""

    def key(run: Run) -> tuple[int, int, int]:
        args = run.training_args
        return (args.run, args.per_device_train_batch_size, arms.index(args.arm))

    return key


def value_on(axis: str, args: TrainingArguments) -> Any:
    """A run's value on an axis as `comparable`; kernels are None where Liger is off."""
    if axis == "liger_kernels" and not args.use_liger:
        return None
    return comparable(getattr(args, axis))


def comparable(value: Any) -> Any:
    """An axis' value in a form that can be a key; a list's order (of kernels) means nothing."""
    return tuple(sorted(value)) if isinstance(value, list) else value


def settings_of(args: TrainingArguments) -> dict[str, Any]:
    """What makes the run's arm: its value on every axis but the batch size."""
    return {axis: value_on(axis, args) for axis in AXES if axis != BATCH_SIZE}


def axes_of(runs: Sequence[Run]) -> list[str]:
    """The axes of the grid of `runs`, without the batch size: what varies, and `use_liger`."""
    varied: dict[str, set[Any]] = {axis: set() for axis in AXES if axis != BATCH_SIZE}
    for run in runs:
        for axis, value in settings_of(run.training_args).items():
            if value is not None or axis != "liger_kernels":
                varied[axis].add(value)
    return [axis for axis, values in varied.items() if len(values) > 1 or axis == "use_liger"]


def same_maths(one: TrainingArguments, other: TrainingArguments) -> bool:
    """Whether two arms compute the same from the same rows and weights, so that losses compare."""
    a, b = settings_of(one), settings_of(other)
    return all(a[axis] == b[axis] for axis in a if axis not in SAME_MATHS)


def natural_order(args: TrainingArguments) -> tuple[Any, ...]:
    """The key that orders arms where the grid's own order is not recorded.

    Liger before vanilla as in the blog's file; on every other axis the default first.
    """
    default = settings_of(TrainingArguments(use_liger=True))
    return tuple(
        (value != default[axis], *_sortable(value)) for axis, value in settings_of(args).items()
    )


def _sortable(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, value)
