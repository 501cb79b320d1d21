"""Several grids side by side: what they have in common, in what they differ, and their results.

Grids of other machines, versions or models are no parts of one experiment: nothing is computed
across them. Speed-up and saving are each grid's own, against its own baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from liger_benchmark.analysis.result_folders import COMPARED_PACKAGES
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.experiment.axes import AXES

# Settings that tell the conditions of a grid apart, or change no measurement.
_NOT_SHOWN = {
    *("run", "arm_name", "use_liger", "liger_kernels", BATCH_SIZE),
    *("report_to", "require_idle_gpu", "model_name"),
}
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Result:
    """What a grid says of an arm at a batch size.

    Attributes:
        cell: the row of `Analysis.cells`; None if the grid has no such arm or batch size.
        pair: the row of `Analysis.comparison`; None for the grid's baseline.
        is_baseline: whether the arm is the one that the grid's others are compared with.
        is_trial: whether the grid's timings mean nothing.
    """

    cell: pd.Series | None
    pair: pd.Series | None
    is_baseline: bool
    is_trial: bool


def facts(grids: Mapping[str, Analysis]) -> dict[str, dict[str, str]]:
    """What was measured where and how: for each fact its text by grid.

    Model, hardware, versions and baseline are always among them; other settings where the grids
    differ in one.
    """
    of_grid = {name: _facts_of(analysis) for name, analysis in grids.items()}
    names = dict.fromkeys(fact for values in of_grid.values() for fact in values)
    settings = {field.name for field in dataclasses.fields(TrainingArguments)}
    found = {}
    for fact in names:
        texts = {grid: values.get(fact, NOT_RECORDED) for grid, values in of_grid.items()}
        if fact not in settings or len(set(texts.values())) > 1:
            found[fact] = texts
    return found


def results(grids: Mapping[str, Analysis]) -> dict[tuple[int, str], dict[str, Result]]:
    """For each batch size and arm that a grid has, by size: what every grid says of it."""
    sizes = sorted({int(size) for grid in grids.values() for size in grid.cells[BATCH_SIZE]})
    arms = list(dict.fromkeys(arm for grid in grids.values() for arm in grid.arms))
    found = {}
    for size in sizes:
        for arm in arms:
            of_grids = {name: _result(grid, size, arm) for name, grid in grids.items()}
            if any(result.cell is not None for result in of_grids.values()):
                found[size, arm] = of_grids
    return found


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that others have too."""
    return [
        name if list(names).count(name) == 1 else f"{name} ({list(names)[: i + 1].count(name)})"
        for i, name in enumerate(names)
    ]


def _facts_of(analysis: Analysis) -> dict[str, str]:
    records = [run.record for run in analysis.runs]
    recorded = (record["environment"] for record in records if "environment" in record)
    environment: dict[str, Any] = next(recorded, {})
    packages = environment.get("packages", {})
    started = min((r["started_at"] for r in records if "started_at" in r), default=NOT_RECORDED)
    values = {
        "date": started[: len("2026-11-25")] if started != NOT_RECORDED else started,
        "model": analysis.runs[0].training_args.model_name,
        "hardware": analysis.hardware.name,
        "driver": str((environment.get("gpu") or {}).get("driver", NOT_RECORDED)),
        **{package: str(packages.get(package, NOT_RECORDED)) for package in COMPARED_PACKAGES},
        "code": str(environment.get("code", NOT_RECORDED)),
        "baseline": analysis.baseline,
    }
    for field in dataclasses.fields(TrainingArguments):
        used = dict.fromkeys(str(getattr(run.training_args, field.name)) for run in analysis.runs)
        is_varied = field.name in AXES and len(used) > 1
        if field.name not in _NOT_SHOWN and not is_varied:
            values[field.name] = " or ".join(used)
    return values


def _result(grid: Analysis, size: int, arm: str) -> Result:
    def row(table: pd.DataFrame) -> pd.Series | None:
        hit = table[(table[BATCH_SIZE] == size) & (table["arm"] == arm)]
        return None if hit.empty else hit.iloc[0]

    return Result(
        row(grid.cells), row(grid.comparison), arm == grid.baseline, bool(grid.hardware.trial)
    )
