"""What a critical reader would ask about a grid, asked here first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from liger_benchmark.analysis.arms import DECIDES_ROWS, DECIDES_WEIGHTS, arms_in
from liger_benchmark.analysis.hardware import Hardware
from liger_benchmark.arguments import BATCH_SIZE, LIGER, VANILLA
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.wording import (
    batch_sizes,
    enumerate_words,
    known,
    plural,
    small_fraction,
)

# Of the memory limit. The allocator asks for memory in blocks of 2 to some 20 MB.
NEARLY_ALL = 0.999


def find_warnings(
    runs: Sequence[Run],
    arms: Sequence[str],
    cells: pd.DataFrame,
    comparison: pd.DataFrame,
    hardware: Hardware,
) -> list[str]:
    """Every doubt that the records raise, a plain sentence each, the gravest first.

    `arms` are named in this order, the baseline first.
    """
    return [
        *_about_hardware(runs, hardware),
        *_about_activation(runs, arms),
        *_about_equal_start(runs),
        *_about_losses(comparison, arms),
        *_about_cells(cells),
        *_about_tight_memory(runs, arms),
        *_about_neighbours(runs),
        *_about_drivers(runs),
    ]


def active_parts(run: Run) -> int | None:
    """How many parts of the live model ran Liger's code; None if that was not recorded."""
    liger = run.record.get("liger")
    return None if not liger else sum(int(n) for part, n in liger.items() if part != "parts")


def _about_hardware(runs: Sequence[Run], hardware: Hardware) -> Iterator[str]:
    interpreted = any(run.record.get("environment", {}).get("triton_interpreter") for run in runs)
    if interpreted and any(run.training_args.use_liger for run in runs):
        yield (
            "Liger's kernels ran in Triton's interpreter on a CPU: timings and memory mean "
            "nothing. What such a run can show is whether the arms' losses agree."
        )
    elif hardware.trial == "on a CPU":
        yield "Run on a CPU: timings and memory mean nothing about the kernels."
    elif hardware.trial == "with a smoke model":
        yield "A smoke model, too small to say anything about the kernels."
    elif not hardware.timings_count:
        yield "No run recorded the device it ran on: the grid says nothing about the kernels."


def _about_activation(runs: Sequence[Run], arms: Sequence[str]) -> Iterator[str]:
    for arm in arms:
        wrong = [
            run
            for run in runs
            if run.training_args.arm == arm
            and active_parts(run) is not None
            and bool(active_parts(run)) != run.training_args.use_liger
        ]
        if wrong:
            expected = wrong[0].training_args.use_liger
            state = "no part of Liger was active" if expected else "parts of Liger were active"
            yield (
                f"In {plural(len(wrong), 'run')} of the {arm} arm {state} "
                f"({wrong[0].training_args.condition}, …): the arms are not what they are called."
            )


def _about_equal_start(runs: Sequence[Run]) -> Iterator[str]:
    for part, decided_by, words in (
        ("weights", DECIDES_WEIGHTS, "did not start from the same weights"),
        ("dataset", DECIDES_ROWS, "did not see the same rows"),
    ):
        sizes = _sizes_where_checksums_differ(runs, part, decided_by)
        if sizes:
            yield f"The arms {words} at {batch_sizes(sizes)}: their checksums differ."


def _sizes_where_checksums_differ(
    runs: Sequence[Run], part: str, decided_by: Sequence[str]
) -> list[int]:
    """The batch sizes at which arms of one repeat recorded different checksums unexpectedly.

    Only runs with the same value of all that decides about `part` have to agree.
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


def _about_losses(comparison: pd.DataFrame, arms: Sequence[str]) -> Iterator[str]:
    above = comparison[comparison["loss_above_bound"].astype(bool)]
    if above.empty:
        return
    whose = "The arms' losses differ"
    if set(arms) != {VANILLA, LIGER}:
        others = enumerate_words(dict.fromkeys(above["arm"]))
        whose = f"The losses of {others} differ from those of {arms[0]}"
    yield (
        f"{whose} by up to {small_fraction(above['loss_difference'].max())} "
        f"at {batch_sizes(dict.fromkeys(above[BATCH_SIZE]))}, "
        f"above the bound of {small_fraction(above['loss_bound'].min())}."
    )


def _about_cells(cells: pd.DataFrame) -> Iterator[str]:
    for _, cell in cells.iterrows():
        where = f"{cell['arm']} at batch size {cell[BATCH_SIZE]}"
        if cell["n_failed"]:
            yield f"{cell['n_failed']} of {plural(cell['n_runs'], 'run')} of {where} failed."
        if cell["n_out_of_memory"] and cell["n_completed"]:
            yield (
                f"{cell['n_out_of_memory']} of {plural(cell['n_runs'], 'run')} of {where} "
                "ran out of memory, the others completed: the mean is over those alone."
            )


def sizes_that_barely_fit(runs: Sequence[Run]) -> dict[str, list[int]]:
    """For each arm the batch sizes at which a run reserved all the memory it was allowed.

    Its peak is the limit's and not the need's: the allocator could not keep in stock what it would.
    """
    tight: dict[str, set[int]] = {}
    for run in runs:
        args = run.training_args
        if run.outcome != COMPLETED or args.gpu_memory_limit_gib is None or run.history.empty:
            continue
        reserved_gib = run.history["step_peak_memory_reserved_MB"].max() / 1024
        if reserved_gib >= NEARLY_ALL * args.gpu_memory_limit_gib:
            tight.setdefault(args.arm, set()).add(args.per_device_train_batch_size)
    return {arm: sorted(tight[arm]) for arm in arms_in(runs) if arm in tight}


def _about_tight_memory(runs: Sequence[Run], arms: Sequence[str]) -> Iterator[str]:
    tight = sizes_that_barely_fit(runs)
    of_sizes: dict[tuple[int, ...], list[str]] = {}
    for arm in (arm for arm in arms if arm in tight):
        of_sizes.setdefault(tuple(tight[arm]), []).append(arm)
    for sizes, names in of_sizes.items():
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


def _about_neighbours(runs: Sequence[Run]) -> Iterator[str]:
    shared, names = 0, set()
    for run in runs:
        gpu = run.record.get("environment", {}).get("gpu") or {}
        others = gpu.get("other_processes") or []
        shared += bool(others)
        names |= {str(process.get("name") or "unnamed") for process in others}
    if shared:
        yield (
            f"Other processes were on the GPU in {plural(shared, 'run')}: "
            f"{enumerate_words(sorted(names))}. Timings may have suffered."
        )


def _about_drivers(runs: Sequence[Run]) -> Iterator[str]:
    gpus = [run.record.get("environment", {}).get("gpu") or {} for run in runs]
    for key, words in (("driver", "driver versions"), ("power_limit_W", "power limits in W")):
        values = sorted({str(gpu[key]) for gpu in gpus if known(gpu.get(key))})
        if len(values) > 1:
            yield f"The runs had different {words}: {enumerate_words(values)}."
