"""Reading result folders and merging them into one grid.

A grid may be run in parts, on several days. Its parts are comparable only if nothing but the
grid's axes differs between them. Everything else that could change a measurement is compared, and
parts that differ are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from liger_benchmark.analysis.arms import (
    DECIDES_ROWS,
    DECIDES_WEIGHTS,
    axes_of,
    means_nothing,
    natural_order,
    settings_of,
    value_on,
)
from liger_benchmark.analysis.ladder import is_ladder
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.experiment.grid import ADDS
from liger_benchmark.run import FAILED, Run, UnreadableRun, read_run

# Fields that are not compared: those that tell a grid's conditions apart, and those that do not
# change a measurement (where metrics are sent, whether the GPU has to be idle).
_NOT_COMPARED = ("run", BATCH_SIZE, "arm_name", "report_to", "require_idle_gpu")
COMPARED_PACKAGES = ("torch", "triton", "transformers", "trl", "liger-kernel")
_UNRECORDED = object()


class NotOneExperiment(ValueError):
    """The folders cannot be analysed together. The message is one line."""


def read_experiment(folders: Sequence[Path]) -> list[Run]:
    """Read every `FOLDER/runs/*` and merge them into one grid, by repeat, batch size and arm.

    A setting that varies within one folder is an axis; all others have to be the same in all
    folders. The same run found twice (a folder named twice, a copy) counts once. A run that did not
    fail replaces a failed run of its condition. Of several failed runs the first is kept.

    Args:
        folders: result folders, each with a `runs` folder.

    Raises:
        NotOneExperiment: if there is no run, if two runs of one condition differ and neither
            failed, if an arm has two names or two arms have one, or if the runs, failed ones
            included, differ in a training argument that could change a measurement and is not an
            axis of the grid; or runs of different folders in model, weights, data, GPU, in the
            benchmark's code or in the version of one of `COMPARED_PACKAGES`. Runs of one folder are
            one experiment whatever happened to it: `validity` judges what they recorded.
        UnreadableRun: if a run's folder is incomplete or damaged.
    """
    read = [(path, _read(path)) for path in _run_folders(folders)]
    of_folders: dict[Path, list[Run]] = {}
    for path, run in read:
        of_folders.setdefault(path.parent, []).append(run)
    axes = {axis for runs in of_folders.values() for axis in axes_of(runs)}
    found: dict[tuple[Any, ...], tuple[Path, Run]] = {}
    references: dict[Any, tuple[Any, Path]] = {}
    for path, run in read:
        _refuse_if_different(references, path, run, axes)
        args = run.training_args
        key = (args.arm, args.per_device_train_batch_size, args.run)
        if key not in found:
            found[key] = (path, run)
        elif FAILED in (found[key][1].outcome, run.outcome):
            if found[key][1].outcome == FAILED != run.outcome:
                found[key] = (path, run)
        elif not _same(found[key][1], run):
            raise NotOneExperiment(
                f"two different runs for one condition, {run.training_args.condition}: "
                f"{_name(found[key][0])} ({found[key][1].outcome}) and {_name(path)} "
                f"({run.outcome}); leave out one of the two"
            )
    return _in_grid_order([run for _, run in found.values()])


def _read(path: Path) -> Run:
    try:
        return read_run(path)
    except UnreadableRun as error:
        raise UnreadableRun(f"{path.parent.parent.name}: {error}") from None


def _in_grid_order(runs: list[Run]) -> list[Run]:
    """By repeat, then batch size, then arm; the steps of a ladder by how much they add."""
    of_arm = {run.training_args.arm: run.training_args for run in runs}
    first = [arm for arm in of_arm if not arm.startswith(ADDS)]
    steps: dict[str, int] = {}
    if len(first) == 1 and is_ladder([*first, *(arm for arm in of_arm if arm not in first)]):
        before = settings_of(of_arm[first[0]])
        for arm, args in of_arm.items():
            steps[arm] = sum(value != before[k] for k, value in settings_of(args).items())

    def key(run: Run) -> tuple[int, int, int, tuple[Any, ...]]:
        args = run.training_args
        step = steps.get(args.arm, 0)
        return (args.run, args.per_device_train_batch_size, step, natural_order(args))

    return sorted(runs, key=key)


def _run_folders(folders: Sequence[Path]) -> list[Path]:
    paths = []
    for folder in map(Path, folders):
        runs = folder / "runs"
        inside = sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []
        if not inside:
            raise NotOneExperiment(f"{folder}: holds no runs; a result folder has a runs/ folder")
        paths += inside
    if not paths:
        raise NotOneExperiment("no result folder was named")
    return paths


def _refuse_if_different(
    references: dict[Any, tuple[Any, Path]], path: Path, run: Run, axes: set[str]
) -> None:
    """Compare `run` with the values in `references`, and add the values it is the first to record.

    Each compared value has a reference of its own, since a run that failed early records few.

    Args:
        references: the value of each compared thing with the folder of the run that recorded it.

    Raises:
        NotOneExperiment: if a value differs from its reference.
    """
    settings_compared, recorded = _compared_settings(run, axes), _compared_records(run)
    for what, (expected_of, value) in {**settings_compared, **recorded}.items():
        if value is _UNRECORDED:
            continue
        expected, where = references.setdefault((what, expected_of), (value, path))
        if value != expected and (what in settings_compared or where.parent != path.parent):
            raise NotOneExperiment(
                f"{what} differs: {_show(expected)} in {_name(where)}, {_show(value)} in "
                f"{_name(path)}; these are not parts of one experiment"
            )
    arm = run.training_args.arm
    settings = tuple(settings_of(run.training_args).items())
    name, where = references.setdefault(settings, (arm, path))
    if name != arm:
        raise NotOneExperiment(
            f"one arm has two names: {name} in {_name(where)} and {arm} in {_name(path)} have the "
            "same settings; these are not parts of one experiment"
        )


def _compared_settings(run: Run, axes: set[str]) -> dict[str, tuple[Any, Any]]:
    """The run's settings that have to agree with other runs'.

    Returns:
        For each value its name in messages, a key, and the value. It is compared with runs of the
        same key.
    """
    args = run.training_args
    compared: dict[str, tuple[Any, Any]] = {}
    for f in fields(TrainingArguments):
        if f.name in axes:
            compared[f"{f.name} of the arm {args.arm}"] = (None, value_on(f.name, args))
        elif f.name not in _NOT_COMPARED:
            value = value_on(f.name, args)
            meaningless = means_nothing(f.name, args)
            compared[f.name] = (None, _UNRECORDED if meaningless else value)
    return compared


def _compared_records(run: Run) -> dict[str, tuple[Any, Any]]:
    """What the run recorded that has to agree with other runs', as `_compared_settings`."""
    args = run.training_args
    compared: dict[str, tuple[Any, Any]] = {
        what: (args.environment, value_of(run)) for what, value_of in _RECORDED.items()
    }
    weights = tuple(value_on(name, args) for name in DECIDES_WEIGHTS)
    compared["the weights' checksum"] = (weights, _recorded(run, "weights", "checksum"))
    rows = tuple(getattr(args, name) for name in DECIDES_ROWS)
    size = args.per_device_train_batch_size
    compared[f"the dataset's checksum at batch size {size}"] = (
        rows,
        _recorded(run, "dataset", "checksum"),
    )
    return compared


def _recorded_in_all() -> dict[str, Callable[[Run], Any]]:
    """The recorded values that have to be equal in all runs: name in messages, how to read it."""
    compared: dict[str, Callable[[Run], Any]] = {}
    compared["the weights' origin"] = _recorded_at("weights", "origin")
    compared["the weights' revision"] = _recorded_at("weights", "revision")
    compared["the dataset's origin"] = _recorded_at("dataset", "origin")
    compared["the dataset's revision"] = _recorded_at("dataset", "revision")
    compared["the GPU"] = _gpu_name
    compared["the benchmark's code"] = _recorded_at("environment", "code")
    compared["the use of Triton's interpreter"] = _recorded_at("environment", "triton_interpreter")
    for package in COMPARED_PACKAGES:
        compared[f"the version of {package}"] = _recorded_at("environment", "packages", package)
    return compared


def _show(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _recorded_at(*keys: str) -> Callable[[Run], Any]:
    return lambda run: _recorded(run, *keys)


def _gpu_name(run: Run) -> Any:
    gpu = _recorded(run, "environment", "gpu")
    if gpu is None:
        return "none"
    return gpu if gpu is _UNRECORDED else gpu.get("name", _UNRECORDED)


def _recorded(run: Run, *keys: str) -> Any:
    value: Any = run.record
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return _UNRECORDED
        value = value[key]
    return value


def _same(a: Run, b: Run) -> bool:
    return a.outcome == b.outcome and a.record == b.record and a.history.equals(b.history)


def _name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.name}"


_RECORDED = _recorded_in_all()
