"""The inputs file that repeats a grid, worked out from its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from liger_benchmark.analysis.arms import (
    arguments_by_arm,
    axes_of,
    choose_baseline,
    comparable,
    means_nothing,
    value_on,
)
from liger_benchmark.analysis.ladder import is_ladder
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.experiment.axes import AXES, ExperimentArguments
from liger_benchmark.experiment.grid import ADDS, arms_of
from liger_benchmark.run import Run


def inputs_yaml(runs: Sequence[Run], baseline: str | None = None) -> str:
    """The inputs file that spans the grid of `runs`, as `read_inputs_file` reads it.

    The axes are what varies. The arms are named where not all of their product was run, and the
    baseline where it is not the one that is chosen anyway.
    """
    of_arm = arguments_by_arm(runs)
    if is_ladder(order := list(of_arm)):
        return _ladder_yaml(runs, [of_arm[arm] for arm in order])
    axes = _axes(runs)
    experiment: dict[str, Any] = dict(axes)
    # Names are not taken from the runs: a part of a grid may call its arms after other axes.
    names = _names(runs, axes)
    possible = list(_arms(runs, axes))
    arms = [arm for arm in possible if arm in names.values()]
    if arms != possible:
        experiment["arms"] = arms
    wanted = names.get(baseline or "")
    arguments = {names[arm]: args for arm, args in arguments_by_arm(runs).items() if arm in names}
    if wanted is not None and wanted != choose_baseline({arm: arguments[arm] for arm in arms}):
        experiment["baseline"] = wanted
    return _written(experiment, _plainest(runs), runs)


def _ladder_yaml(runs: Sequence[Run], steps: Sequence[TrainingArguments]) -> str:
    """The inputs file of a ladder, from the arguments of its arms in their order."""
    sizes = {run.training_args.per_device_train_batch_size for run in runs}
    ladder = {
        args.arm.removeprefix(ADDS): {
            axis: getattr(args, axis)
            for axis in AXES
            if axis != BATCH_SIZE and getattr(args, axis) != getattr(before, axis)
        }
        for before, args in zip(steps, steps[1:], strict=False)
    }
    return _written({BATCH_SIZE: sorted(sizes), "ladder": ladder}, steps[0], runs)


def _written(
    experiment: Mapping[str, Any], arguments: TrainingArguments, runs: Sequence[Run]
) -> str:
    first = dataclasses.asdict(arguments)
    set_by_the_grid = (*experiment, BATCH_SIZE, "use_liger", "run", "arm_name")
    others = {k: v for k, v in first.items() if k not in set_by_the_grid}
    n_runs = max(run.training_args.run for run in runs)
    # The axes' lists on a line each, as in the project's own files; the rest as a block.
    return "experiment_args:\n" + "".join(
        [
            *(f"  {key}: {_flow(value)}\n" for key, value in experiment.items()),
            yaml.safe_dump(
                {"training_args": others, "n_runs": n_runs},
                sort_keys=False,
                allow_unicode=True,
            ),
        ]
    )


def _axes(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Each axis with its values in the order in which the grid's runs first have them."""
    varying = axes_of(runs)
    axes: dict[str, list[Any]] = {}
    for axis in (axis for axis in AXES if axis in (*varying, BATCH_SIZE)):
        values: dict[Any, Any] = {}
        for args in (run.training_args for run in runs):
            if means_nothing(axis, args):
                continue
            value = getattr(args, axis)
            values.setdefault(comparable(value), value)
        axes[axis] = list(values.values())
    axes[BATCH_SIZE].sort()
    return axes


def _arms(runs: Sequence[Run], axes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return arms_of(ExperimentArguments(**axes), _plainest(runs).liger_kernels)


def _names(runs: Sequence[Run], axes: Mapping[str, Any]) -> dict[str, str]:
    """For each of the runs' arms the name that the inputs file's grid gives it."""
    of_arm = {run.training_args.arm: run.training_args for run in runs}
    return {
        arm: name
        for arm, args in of_arm.items()
        for name, settings in _arms(runs, axes).items()
        if all(value_on(axis, args) == comparable(value) for axis, value in settings.items())
    }


def _plainest(runs: Sequence[Run]) -> TrainingArguments:
    """The arguments of a run with Liger, if there is one: without, the kernels mean nothing."""
    return next((r for r in runs if r.training_args.use_liger), runs[0]).training_args


def _flow(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False
    )
    return text.removesuffix("...\n").strip()
