"""Caveats: doubts about a grid that its records raise, such as unequal starting weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from liger_benchmark.analysis.arms import DECIDES_ROWS, DECIDES_WEIGHTS
from liger_benchmark.analysis.hardware import Trial
from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.arguments import BATCH_SIZE, LIGER, VANILLA
from liger_benchmark.run import Run
from liger_benchmark.wording import (
    batch_sizes,
    enumerate_words,
    known,
    plural,
    small_fraction,
)

CaveatKind = Literal[
    "trial",
    "activation",
    "start",
    "losses",
    "outcomes",
    "memory_limit",
    "shared_gpu",
    "drivers",
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
        ("activation", _about_activation),
        ("start", _about_equal_start),
        ("losses", _about_losses),
        ("outcomes", _about_outcomes),
        ("memory_limit", _about_tight_memory),
        ("shared_gpu", _about_other_processes),
        ("drivers", _about_drivers),
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


def _about_activation(grid: MeasuredGrid) -> Iterator[str]:
    for arm in grid.arms:
        wrong = [
            run
            for run in grid.runs
            if run.training_args.arm == arm
            and (active := _active_parts(run)) is not None
            and bool(active) != run.training_args.use_liger
        ]
        if wrong:
            expected = wrong[0].training_args.use_liger
            state = "no part of Liger was active" if expected else "parts of Liger were active"
            yield (
                f"In {plural(len(wrong), 'run')} of the {arm} arm {state} "
                f"({wrong[0].training_args.condition}, …): the arms are not what they are called."
            )


def _active_parts(run: Run) -> int | None:
    """The number of parts of the live model that ran Liger's code; None if not recorded."""
    liger = run.record.get("liger")
    return None if not liger else sum(int(n) for part, n in liger.items() if part != "parts")


def _about_equal_start(grid: MeasuredGrid) -> Iterator[str]:
    for part, decided_by, words in (
        ("weights", DECIDES_WEIGHTS, "did not start from the same weights"),
        ("dataset", DECIDES_ROWS, "did not see the same rows"),
    ):
        sizes = _sizes_where_checksums_differ(grid.runs, part, decided_by)
        if sizes:
            yield f"The arms {words} at {batch_sizes(sizes)}: their checksums differ."


def _sizes_where_checksums_differ(
    runs: Sequence[Run], part: str, decided_by: Sequence[str]
) -> list[int]:
    """The batch sizes at which arms recorded different checksums of `part` in the same repeat.

    Only runs that have the same values of the settings `decided_by` are compared.
    """
    found: dict[tuple[int, ...], set[str]] = {}
    for run in runs:
        checksum = run.record.get(part, {}).get("checksum")
        if checksum is not None:
            args = run.training_args
            key = (args.per_device_train_batch_size, args.run)
            key += tuple(getattr(args, name) for name in decided_by)
            found.setdefault(key, set()).add(checksum)
    return sorted({size for (size, *_), checksums in found.items() if len(checksums) > 1})


def _about_losses(grid: MeasuredGrid) -> Iterator[str]:
    above = grid.comparison[grid.comparison["loss_above_bound"].astype(bool)]
    if above.empty:
        return
    whose = "The arms' losses differ"
    if set(grid.arms) != {VANILLA, LIGER}:
        others = enumerate_words(dict.fromkeys(above["arm"]))
        whose = f"The losses of {others} differ from those of {grid.baseline}"
    yield (
        f"{whose} by up to {small_fraction(above['loss_difference'].max())} "
        f"at {batch_sizes(dict.fromkeys(above[BATCH_SIZE]))}, "
        f"above the bound of {small_fraction(above['loss_bound'].min())}."
    )


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


def _about_tight_memory(grid: MeasuredGrid) -> Iterator[str]:
    arms_of_sizes: dict[tuple[int, ...], list[str]] = {}
    for arm in (arm for arm in grid.arms if arm in grid.tight):
        arms_of_sizes.setdefault(tuple(grid.tight[arm]), []).append(arm)
    for sizes, names in arms_of_sizes.items():
        who = f"The {names[0]} arm barely fits at {batch_sizes(sizes)}: it reserved all the "
        if len(names) > 1:
            who = (
                f"The arms {enumerate_words(names)} barely fit at {batch_sizes(sizes)}: each "
                "reserved all the "
            )
        yield (
            f"{who}memory it was allowed, so that peak and saving there tell the limit, not the "
            "need."
        )


def _about_other_processes(grid: MeasuredGrid) -> Iterator[str]:
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


def _about_drivers(grid: MeasuredGrid) -> Iterator[str]:
    gpus = [run.record.get("environment", {}).get("gpu") or {} for run in grid.runs]
    for key, words in (("driver", "driver versions"), ("power_limit_W", "power limits in W")):
        values = sorted({str(gpu[key]) for gpu in gpus if known(gpu.get(key))})
        if len(values) > 1:
            yield f"The runs had different {words}: {enumerate_words(values)}."
