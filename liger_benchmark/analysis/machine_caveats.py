"""Doubts about a grid that rest on where its runs were made, and what else was there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.training.out_of_memory import NEIGHBOUR_MB
from liger_benchmark.wording import batch_sizes, enumerate_words, gibibytes, plural


def about_pairs(grid: MeasuredGrid) -> Iterator[str]:
    """Pairs of repeats that were not made one after the other on one card."""
    completed = [run for run in grid.runs if run.outcome == COMPLETED]
    unknown = sum("session" not in run.record for run in completed)
    if unknown and len({run.training_args.arm for run in completed}) > 1:
        which = "These runs did" if unknown == len(completed) else f"{plural(unknown, 'run')} did"
        yield (
            f"{which} not record their session: whether the arms that are compared ran one after "
            "the other is not known."
        )
    for keys, words in (
        (("session",), "in different sessions"),
        (("host",), "on different machines"),
        (("environment", "gpu", "uuid"), "on different cards of one kind"),
    ):
        values: dict[tuple[int, int], set[Any]] = {}
        for run in completed:
            value = recorded(run, *keys)
            if value is not None:
                args = run.training_args
                key = (args.per_device_train_batch_size, args.run)
                values.setdefault(key, set()).add(value)
        split = sorted({size for (size, _), found in values.items() if len(found) > 1})
        if split:
            yield (
                f"Arms that are compared ran {words} at {batch_sizes(split)}: what changed "
                "between them is part of the difference."
            )


def about_other_processes(grid: MeasuredGrid) -> Iterator[str]:
    n_shared, names = 0, set()
    for run in grid.runs:
        gpu = run.record.get("environment", {}).get("gpu") or {}
        others = gpu.get("other_processes") or []
        n_shared += bool(others)
        names |= {str(process.get("name") or "unnamed") for process in others}
    if n_shared:
        yield (
            f"Other processes were on the GPU in {plural(n_shared, 'run')}: "
            f"{enumerate_words(sorted(names))}. Timings may have suffered."
        )
    held = [
        amount
        for run in grid.runs
        for amount in (recorded(run, "environment", "gpu", "others_memory_MB") or {}).values()
    ]
    if max(held, default=0.0) > NEIGHBOUR_MB and not n_shared:
        yield (
            f"Up to {gibibytes(max(held))} GiB of the GPU's memory were held by other processes. "
            "Timings may have suffered."
        )


def about_neighbours(grid: MeasuredGrid) -> Iterator[str]:
    at_once = max((run.training_args.parallel_conditions for run in grid.runs), default=1)
    if at_once > 1:
        yield (
            f"{at_once} conditions ran at the same time on one machine, on GPUs of their own: they "
            "shared its processor, its memory and its power, which may have slowed them."
        )


def about_throttling(grid: MeasuredGrid) -> Iterator[str]:
    reasons: dict[str, int] = {}
    for run in grid.runs:
        slowed_by = recorded(run, "environment", "gpu", "window", "slowed_by") or {}
        for reason in slowed_by:
            # A data-centre GPU under full load runs at its power limit: that is its speed.
            if reason != "power cap":
                reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        words = enumerate_words(f"{reason} in {plural(n, 'run')}" for reason, n in reasons.items())
        yield f"The GPU slowed itself down ({words})."


def recorded(run: Run, *keys: str) -> Any:
    """An entry of a run's record by its keys; None where one is missing."""
    value: Any = run.record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
