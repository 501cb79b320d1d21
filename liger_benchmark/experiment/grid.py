"""The grid of an experiment: its conditions in the order in which they run, and its arms' names."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    BATCH_SIZE,
    DEFAULT_LIGER_KERNELS,
    EFFECTIVE_WITH,
    LIGER,
    LOSS_KERNELS,
    VANILLA,
)
from liger_benchmark.experiment.axes import MAX_GRID, ExperimentArguments
from liger_benchmark.validation import InvalidInput, did_you_mean, refuse_repeated, show
from liger_benchmark.wording import plural

# Axes that an arm's name shows by the value alone: `adamw_torch`, not `optim=adamw_torch`.
_NAMED_BY_VALUE = (
    *("optim", "loss_type", "attn_implementation", "lr_scheduler_type", "dataset_format", "peft"),
    *("packing_strategy", "torch_compile_mode", "liger_implementation", "sharding"),
    "environment",
)
# What people call a head or the layers that are not transformers' own.
_HEAD_NAMES = {"trl": "TRL", "cce": "CCE", "torch": "torch loss"}
_HUB_KERNELS = "Hub kernels"

# What a ladder calls the arm before its first step, and what stands before a step's name.
FIRST_STEP, ADDS = "baseline", "+ "


def expand_grid(
    experiment_args: ExperimentArguments, training_args: TrainingArguments, n_runs: int
) -> list[TrainingArguments]:
    """Every condition of the experiment, in the order in which they run.

    Repeats are outermost and arms innermost, so that slow drift (temperature, clocks, another
    process on the machine) affects all arms alike. Every second repeat has the arms in reverse, so
    that none of them always goes first.

    Returns:
        n_runs * batch sizes * arms arguments, no two alike. Combinations that differ only in
        settings without effect (`liger_kernels` without Liger) are one arm.

    Raises:
        InvalidInput: if `n_runs` is below 1, the grid has more than `MAX_GRID` runs, an arm cannot
            be run, or `arms` or `baseline` names an arm that the grid does not have.
    """
    if isinstance(n_runs, bool) or not isinstance(n_runs, int) or n_runs < 1:
        raise InvalidInput(f"n_runs: {show(n_runs)} must be 1 or more")
    arms = arms_of(experiment_args, training_args.liger_kernels)
    sizes = experiment_args.per_device_train_batch_size
    n_conditions = len(arms) * len(sizes) * n_runs
    if n_conditions > MAX_GRID:
        raise InvalidInput(
            f"n_runs: {n_runs} makes a grid of {n_conditions} runs; at most {MAX_GRID} are allowed"
        )
    _refuse_arms_that_cannot_run(arms, training_args)
    in_order, in_reverse = list(arms.items()), list(reversed(arms.items()))
    grid = [
        dataclasses.replace(
            training_args,
            **{
                **settings,
                "run": run,
                BATCH_SIZE: batch_size,
                "arm_name": _unless_plain(name),
            },
        )
        for run, batch_size in itertools.product(range(1, n_runs + 1), sizes)
        for name, settings in (in_order if run % 2 else in_reverse)
    ]
    _refuse_equal_folders(grid)
    return grid


def arms_of(
    experiment_args: ExperimentArguments, liger_kernels: Sequence[str] = DEFAULT_LIGER_KERNELS
) -> dict[str, dict[str, Any]]:
    """The arms of the grid by name, each with its values on every axis but the batch size.

    Args:
        liger_kernels: the kernels of all arms with Liger, unless they are an axis.

    Raises:
        InvalidInput: if there are more than `MAX_GRID` arms or none, or `arms` or `baseline` names
            an arm that the grid does not have.
    """
    if experiment_args.ladder is not None:
        return _named(experiment_args, _steps_of(experiment_args.steps))
    axes = {name: values for name, values in experiment_args.axes.items() if name != BATCH_SIZE}
    n_combinations = math.prod(len(values) for values in axes.values())
    if n_combinations > MAX_GRID:
        raise InvalidInput(
            f"experiment_args: its axes make {n_combinations} arms; at most {MAX_GRID} runs are "
            "allowed"
        )
    varying = [name for name, values in axes.items() if len(values) > 1]
    arms: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*axes.values()):
        settings = dict(zip(axes, combination, strict=True))
        for name, other in EFFECTIVE_WITH.items():
            if not settings.get(other, True):
                settings.pop(name, None)
        arms.setdefault(_arm_name(settings, varying, liger_kernels), settings)
    return _named(experiment_args, arms)


def _steps_of(ladder: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The arms of a ladder: each has the settings of all steps up to its own."""
    settings: dict[str, Any] = {"use_liger": False}
    arms = {FIRST_STEP: dict(settings)}
    for step, added in ladder.items():
        settings |= added
        arms[f"{ADDS}{step}"] = dict(settings)
    return arms


def _named(
    experiment_args: ExperimentArguments, arms: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Those of the arms that the experiment names; all if it names none.

    Raises:
        InvalidInput: if `arms` or `baseline` names another, or `arms` is empty.
    """
    if experiment_args.arms is not None:
        refuse_repeated("experiment_args.arms", experiment_args.arms)
        for name in experiment_args.arms:
            _refuse_unknown_arm("arms", name, arms)
        arms = {name: arms[name] for name in arms if name in experiment_args.arms}
        if not arms:
            raise InvalidInput("experiment_args.arms: [] is empty; list at least one arm")
    if experiment_args.baseline is not None:
        _refuse_unknown_arm("baseline", experiment_args.baseline, arms)
    return arms


def describe_grid(grid: list[TrainingArguments]) -> str:
    """The grid's size in words: `36 runs: 2 arms (Liger, vanilla) × 6 batch sizes × 3 repeats`."""
    arms = list(dict.fromkeys(arguments.arm for arguments in grid))
    sizes = {arguments.per_device_train_batch_size for arguments in grid}
    repeats = max(arguments.run for arguments in grid)

    return (
        f"{plural(len(grid), 'run')}: {plural(len(arms), 'arm')} ({', '.join(arms)}) × "
        f"{plural(len(sizes), 'batch size')} × {plural(repeats, 'repeat')}"
    )


def most_gpus(grid: Sequence[TrainingArguments]) -> int:
    """The GPUs of the condition that uses most."""
    return max(arguments.n_gpus for arguments in grid)


def _refuse_unknown_arm(key: str, name: str, arms: Mapping[str, Any]) -> None:
    if name not in arms:
        raise InvalidInput(
            f"experiment_args.{key}: {show(name)} is no arm of this grid"
            f"{did_you_mean(name, arms)}; its arms are {', '.join(arms)}"
        )


def _refuse_arms_that_cannot_run(
    arms: Mapping[str, Mapping[str, Any]], training_args: TrainingArguments
) -> None:
    for name, settings in arms.items():
        try:
            dataclasses.replace(training_args, **settings)
        except InvalidInput as error:
            if len(arms) == 1 or _liger_settings_conflict(settings):
                raise
            raise InvalidInput(
                f"experiment_args: the arm {show(name)} cannot be run ({error.problem}), "
                "or name the arms to run in experiment_args.arms"
            ) from None


def _liger_settings_conflict(settings: Mapping[str, Any]) -> bool:
    """Whether an arm's Liger settings contradict each other, whatever its other settings are."""
    try:
        TrainingArguments(
            use_liger=settings["use_liger"],
            liger_kernels=settings.get("liger_kernels", list(DEFAULT_LIGER_KERNELS)),
        )
    except InvalidInput:
        return True
    return False


def _refuse_equal_folders(grid: Sequence[TrainingArguments]) -> None:
    """Refuse conditions of two arms whose names are equal once written as a folder's name."""
    arms: dict[str, str] = {}
    for arguments in grid:
        other = arms.setdefault(arguments.slug, arguments.arm)
        if other != arguments.arm:
            raise InvalidInput(
                f"experiment_args: the arms {show(other)} and {show(arguments.arm)} would be one "
                "folder; choose values that differ in more than a sign, or run them apart"
            )


def _arm_name(settings: Mapping[str, Any], varying: list[str], liger_kernels: Sequence[str]) -> str:
    """A name from what varies: `Liger`, `vanilla + torch_compile`, `Liger layers + TRL`.

    A value that is the field's default is left out of the name.
    """
    defaults = TrainingArguments()
    head = _HEAD_NAMES.get(settings["loss_type"]) if "loss_type" in varying else None
    base = []
    if settings["use_liger"]:
        base.append(_liger_name(settings.get("liger_kernels", liger_kernels), head is not None))
    elif settings.get("use_hub_kernels") and "use_hub_kernels" in varying:
        base.append(_HUB_KERNELS)
    if head or not base:
        base.append(head or VANILLA)
    return " + ".join([*base, *_labels(settings, varying, defaults)])


def _liger_name(kernels: Sequence[str], has_head: bool) -> str:
    """`Liger` for the default set, `Liger layers` for that without a loss under another head."""
    if sorted(kernels) == sorted(DEFAULT_LIGER_KERNELS):
        return LIGER
    layers = [kernel for kernel in DEFAULT_LIGER_KERNELS if kernel not in LOSS_KERNELS]
    if has_head and sorted(kernels) == sorted(layers):
        return f"{LIGER} layers"
    return f"{LIGER} ({', '.join(kernels)})"


def _labels(
    settings: Mapping[str, Any], varying: list[str], defaults: TrainingArguments
) -> Iterator[str]:
    for name in varying:
        if name in ("use_liger", "liger_kernels") or name not in settings:
            continue
        value = settings[name]
        named = name == "use_hub_kernels" or (name == "loss_type" and value in _HEAD_NAMES)
        if named or value == getattr(defaults, name):
            continue
        if isinstance(value, bool) or value is None:
            yield name if value else f"no {name}"
        elif name in _NAMED_BY_VALUE:
            yield str(value)
        elif isinstance(value, list):
            yield f"{name}={', '.join(value)}"
        else:
            # The short form only where it stands for this value and no other.
            short = format(value, ".6g") if isinstance(value, float) else str(value)
            yield f"{name}={short if short == str(value) or float(short) == value else value}"


def _unless_plain(name: str) -> str:
    """The name to store in `arm_name`: empty for vanilla and Liger, which `arm` derives."""
    return "" if name in (VANILLA, LIGER) else name
