"""Caveats: doubts about a grid that its records raise, such as unequal starting weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from liger_benchmark.analysis.comparison import LEAST_SAVING_PERCENT
from liger_benchmark.analysis.hardware import Trial
from liger_benchmark.analysis.machine_caveats import (
    about_neighbours,
    about_other_processes,
    about_pairs,
    about_throttling,
    recorded,
)
from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.analysis.steadiness import SLOW, unsteady_steps
from liger_benchmark.analysis.stragglers import stragglers
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.run import COMPLETED, FAILED, tries
from liger_benchmark.training.dataset import rows_needed
from liger_benchmark.training.row_counts import few_rows
from liger_benchmark.validation import one_line
from liger_benchmark.wording import batch_sizes, enumerate_words, number, plural

_PERCENTAGE = re.compile(r"[\d.,]+%")

CaveatKind = Literal[
    "trial",
    "invalid",
    "proof",
    "outcomes",
    "after_last_step",
    "retried",
    "unsteady",
    "pairs",
    "memory_limit",
    "stock",
    "shared_gpu",
    "side_by_side",
    "stragglers",
    "throttling",
    "rows",
]


@dataclass(frozen=True)
class Caveat:
    """A doubt about a grid.

    Attributes:
        kind: what it is about; "trial" where the timings say nothing about the kernels.
        text: the doubt in plain words, a sentence or two.
    """

    kind: CaveatKind
    text: str


def find_caveats(grid: MeasuredGrid) -> list[Caveat]:
    """Every doubt that the records raise, the gravest first."""
    finders: tuple[tuple[CaveatKind, Callable[[MeasuredGrid], Iterator[str]]], ...] = (
        ("trial", _about_hardware),
        ("invalid", _about_invalid_cells),
        ("proof", _about_missing_proofs),
        ("outcomes", _about_outcomes),
        ("after_last_step", _about_what_followed),
        ("retried", _about_retried_pods),
        ("unsteady", _about_unsteady_steps),
        ("pairs", about_pairs),
        ("memory_limit", _about_tight_memory),
        ("stock", _about_stock),
        ("shared_gpu", about_other_processes),
        ("side_by_side", about_neighbours),
        ("stragglers", lambda grid: stragglers(() if grid.hardware.trial else grid.runs)),
        ("throttling", about_throttling),
        ("rows", _about_few_rows),
    )
    return [Caveat(kind, text) for kind, find in finders for text in find(grid)]


def _about_hardware(grid: MeasuredGrid) -> Iterator[str]:
    interpreted = any(
        run.record.get("environment", {}).get("triton_interpreter") for run in grid.runs
    )
    trial = grid.hardware.trial
    if interpreted and any(run.training_args.use_liger for run in grid.runs):
        yield (
            "Liger's kernels ran in Triton's interpreter on a CPU: timings and memory mean "
            "nothing. What such a run can show is whether the arms' losses agree."
        )
    elif trial is Trial.ON_CPU:
        yield "Run on a CPU: timings and memory mean nothing about the kernels."
    elif trial is Trial.SMOKE_MODEL:
        yield "A smoke model, too small to say anything about the kernels."
    elif trial is Trial.UNRECORDED_DEVICE:
        yield "No run recorded the device it ran on: the grid says nothing about the kernels."


def _about_invalid_cells(grid: MeasuredGrid) -> Iterator[str]:
    cells = grid.cells[grid.cells["invalid"] != ""]
    # Arms that are invalid for one reason are one sentence, also where only its percentage differs.
    by_reason: dict[tuple[str, str], dict[str, str]] = {}
    for (arm, reason), of_reason in cells.groupby(["arm", "invalid"], sort=False):
        key = batch_sizes(of_reason[BATCH_SIZE]), _PERCENTAGE.sub("%", reason)
        by_reason.setdefault(key, {})[arm] = reason
    for (where, _), reasons in by_reason.items():
        is_or_are = "is" if len(reasons) == 1 else "are"
        yield (
            f"{enumerate_words(reasons)} at {where} {is_or_are} invalid, and left out of every "
            f"comparison: {_as_one([*reasons.values()])}."
        )


def _as_one(reasons: Sequence[str]) -> str:
    """Reasons that differ in their percentages as one: `... by 22% and 20% in ...`."""
    text = reasons[0]
    if len(reasons) > 1:
        every = zip(*map(_PERCENTAGE.findall, reasons), strict=True)
        shares = iter([enumerate_words(dict.fromkeys(of_all)) for of_all in every])
        text = re.sub(r"^its\b", "their", _PERCENTAGE.sub(lambda _: next(shares), text))
    return text


def _about_missing_proofs(grid: MeasuredGrid) -> Iterator[str]:
    completed = [run for run in grid.runs if run.outcome == COMPLETED]
    if (
        len(grid.arms) > 1
        and completed
        and not any(run.record.get("gradients") for run in completed)
    ):
        yield (
            "These runs recorded no gradients: that the arms compute the same rests on their "
            "losses alone."
        )


def _about_unsteady_steps(grid: MeasuredGrid) -> Iterator[str]:
    if grid.hardware.trial:
        return  # its timings mean nothing
    unsteady = [step for run in grid.runs for step in unsteady_steps(run)]
    compiling = [step for step in unsteady if step.compilations]
    for steps, words in (
        (compiling, "compiled kernels, which takes time that no later step takes"),
        (
            [step for step in unsteady if not step.compilations],
            f"took over {SLOW} times the median",
        ),
    ):
        if not steps:
            continue
        worst = max(steps, key=lambda step: step.seconds / step.median_seconds)
        runs = len({id(step.run) for step in steps})
        yield (
            f"{plural(len(steps), 'measured step')} in {plural(runs, 'run')} {words}; the longest: "
            f"step {worst.step} of {worst.run.training_args.condition}, "
            f"{number(1000 * worst.seconds)} ms where the median is "
            f"{number(1000 * worst.median_seconds)} ms."
        )


def _about_what_followed(grid: MeasuredGrid) -> Iterator[str]:
    """Runs that are kept although something failed after their last step."""
    failed = grid.runs_table[grid.runs_table["after_last_step"] != ""]
    if len(failed):
        first = failed.iloc[0]
        yield (
            f"{plural(len(failed), 'run')} finished the last step and failed after it; what was "
            f"measured is kept. {first['condition']}: "
            f"{one_line(first['after_last_step'], limit=300)}."
        )


def _about_stock(grid: MeasuredGrid) -> Iterator[str]:
    """Savings of reserved memory that are the allocator's stock alone."""
    rows = grid.comparison
    stock = rows[
        (rows["memory_saving_percent"] >= LEAST_SAVING_PERCENT)
        & (rows["allocated_saving_percent"] < LEAST_SAVING_PERCENT)
    ]
    for arm, of_arm in stock.groupby("arm", sort=False):
        yield (
            f"At {batch_sizes(of_arm[BATCH_SIZE])} {arm} reserves less memory than {grid.baseline} "
            "and allocates as much: the saving is in the allocator's stock alone."
        )


def _about_few_rows(grid: MeasuredGrid) -> Iterator[str]:
    batch_size = max(run.training_args.per_device_train_batch_size for run in grid.runs)
    counted = [run for run in grid.runs if recorded(run, "dataset", "rows_usable") is not None]
    if not counted:
        return
    run = max(counted, key=lambda run: rows_needed(run.training_args))
    dataset, needed = run.record["dataset"], rows_needed(run.training_args)
    text = few_rows(dataset["rows_usable"], dataset.get("rows_used", 0), needed, batch_size)
    if text:
        yield f"{text}."


def _about_outcomes(grid: MeasuredGrid) -> Iterator[str]:
    for _, cell in grid.cells.iterrows():
        where = f"{cell['arm']} at batch size {cell[BATCH_SIZE]}"
        if cell["n_failed"]:
            yield f"{cell['n_failed']} of {plural(cell['n_runs'], 'run')} of {where} failed."
        if cell["n_out_of_memory"] and cell["n_completed"]:
            yield (
                f"{cell['n_out_of_memory']} of {plural(cell['n_runs'], 'run')} of {where} "
                "ran out of memory, the others completed: the mean is over those alone."
            )


def _about_retried_pods(grid: MeasuredGrid) -> Iterator[str]:
    """Measurements of a pod that a cluster started again, after it was killed or interrupted."""
    retried = [run for run in grid.runs if run.outcome != FAILED and tries(run) > 1]
    if retried:
        names = enumerate_words(
            f"{run.training_args.condition} (try {tries(run)})" for run in retried
        )
        yield (
            f"{plural(len(retried), 'run')} began again in another pod, after the pod before was "
            f"killed or its node went away: {names}. Each is whole, and may be of another machine "
            "than the runs that it is compared with."
        )


def _about_tight_memory(grid: MeasuredGrid) -> Iterator[str]:
    arms_of_sizes: dict[tuple[int, ...], list[str]] = {}
    for arm in (arm for arm in grid.arms if arm in grid.tight):
        arms_of_sizes.setdefault(tuple(grid.tight[arm]), []).append(arm)
    for sizes, names in arms_of_sizes.items():
        verb = "fits" if len(names) == 1 else "fit"
        yield (
            f"{enumerate_words(names)} barely {verb} at {batch_sizes(sizes)}: the allocator had to "
            "free its cached blocks before it could serve a request, which costs speed."
        )
