"""Reading result folders, and the refusal to put together what was not one experiment.

A grid may be run in parts, on several days. Its parts are comparable only if nothing but the
grid's axes differs between them, so everything that could is compared before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.runs import FAILED, Run, UnreadableRun, read_run

GRID_AXES = ("use_liger", "per_device_train_batch_size", "run")
# Where the metrics go, and whether to wait for the GPU: neither changes what is measured.
_HARMLESS_ARGUMENTS = ("report_to", "require_idle_gpu")
COMPARED_PACKAGES = ("torch", "triton", "transformers", "trl", "liger-kernel")
_UNRECORDED = object()


class NotOneExperiment(ValueError):
    """Folders that cannot be analysed together. Its message is one line."""


def read_experiment(folders: Sequence[Path]) -> list[Run]:
    """Read every `FOLDER/runs/*` and merge them into one grid, in the order of the grid.

    The same run found twice (a folder named twice, a copy) counts once. Of a failed run and
    another of its condition that did not fail, a re-run, the latter is taken; of several failed
    ones the first.

    Raises:
        NotOneExperiment: if there is no run, if two runs of one condition differ and neither
            failed, or if the runs, failed ones included, differ in a training argument that could
            change a measurement and is not an axis of the grid, in model, weights, data, GPU, in
            the benchmark's code or in the version of a package that matters.
        UnreadableRun: if a run's folder is cut short.
    """
    found: dict[tuple[Any, ...], tuple[Path, Run]] = {}
    references: dict[str, tuple[Any, Path]] = {}
    for path in _run_folders(folders):
        try:
            run = read_run(path)
        except UnreadableRun as error:
            raise UnreadableRun(f"{path.parent.parent.name}: {error}") from None
        _refuse_if_different(references, path, run)
        key = tuple(getattr(run.training_args, axis) for axis in GRID_AXES)
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
    return sorted((run for _, run in found.values()), key=grid_order)


def grid_order(run: Run) -> tuple[int, int, bool]:
    """The key that puts runs in the order in which a grid runs them: repeats outermost."""
    args = run.training_args
    return (args.run, args.per_device_train_batch_size, not args.use_liger)


def display_order(run: Run) -> tuple[int, int, bool]:
    """The key that lists runs for a reader: as the grid runs them, but vanilla first."""
    args = run.training_args
    return (args.run, args.per_device_train_batch_size, args.use_liger)


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


def _refuse_if_different(references: dict[str, tuple[Any, Path]], path: Path, run: Run) -> None:
    """Compare `run` with what is in `references`, and add what it is the first to record.

    There is a reference for each compared thing, not one run for all: a run that failed early
    records little, and must not stand for what it does not know.
    """
    size = run.training_args.per_device_train_batch_size
    compared = _COMPARED | {
        f"the dataset's checksum at batch size {size}": _recorded_at("dataset", "checksum")
    }
    for what, value_of in compared.items():
        value = value_of(run)
        if value is _UNRECORDED:
            continue
        expected, where = references.setdefault(what, (value, path))
        if value != expected:
            raise NotOneExperiment(
                f"{what} differs: {expected} in {_name(where)}, {value} in {_name(path)}; "
                "these are not parts of one experiment"
            )


def _compared() -> dict[str, Callable[[Run], Any]]:
    """What has to be equal in all runs of an experiment: its name, and how to read it."""
    left_out = (*GRID_AXES, *_HARMLESS_ARGUMENTS)
    names = [f.name for f in fields(TrainingArguments) if f.name not in left_out]
    compared: dict[str, Callable[[Run], Any]] = {name: _argument(name) for name in names}
    compared["the weights' origin"] = _recorded_at("weights", "origin")
    compared["the weights' revision"] = _recorded_at("weights", "revision")
    compared["the weights' checksum"] = _recorded_at("weights", "checksum")
    compared["the dataset's origin"] = _recorded_at("dataset", "origin")
    compared["the dataset's revision"] = _recorded_at("dataset", "revision")
    compared["the GPU"] = _gpu_name
    compared["the benchmark's code"] = _recorded_at("environment", "code")
    compared["the use of Triton's interpreter"] = _recorded_at("environment", "triton_interpreter")
    for package in COMPARED_PACKAGES:
        compared[f"the version of {package}"] = _recorded_at("environment", "packages", package)
    return compared


def _argument(name: str) -> Callable[[Run], Any]:
    return lambda run: getattr(run.training_args, name)


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


_COMPARED = _compared()
