"""Arms compared with a baseline at each batch size: speed, memory, and whether losses agree.

Losses are compared only between arms that compute the same. They have to differ where optimiser,
rows or weights do.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.arms import arguments_by_arm, same_maths
from liger_benchmark.analysis.intervals import Interval, interval_columns, ratio_interval
from liger_benchmark.analysis.loss_difference import loss_bound, loss_difference
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.columns import (
    AVG_LOOP_TOKENS_PER_SECOND,
    AVG_TOKENS_PER_SECOND,
    TOTAL_PEAK_ALLOCATED_MB,
)
from liger_benchmark.run import Run

# A difference of peak memory that is smaller, in percent, is none: the allocator's blocks alone
# make it. Of one arm at one batch size, peak reserved memory differs by up to 0.4% between repeats
# and by 1.1% between sessions and cards (results/).
LEAST_SAVING_PERCENT = 1.0


def compare(
    runs: Sequence[Run],
    runs_table: pd.DataFrame,
    memory_column: str,
    baseline: str,
    others: Sequence[str],
) -> pd.DataFrame:
    """One row for each batch size and each of the `others`, in that order.

    Columns: see `MeasuredGrid.comparison`.

    Args:
        runs_table: the table of `runs`.
        memory_column: the table's column with the peak memory.
        others: the arms to compare with `baseline`.
    """
    of_arm = arguments_by_arm(runs)
    rows = []
    for size in sorted(runs_table[BATCH_SIZE].unique()) if others else []:
        of_size = runs_table[runs_table[BATCH_SIZE] == size]
        for arm in others:
            speed = paired_ratio(of_size, AVG_TOKENS_PER_SECOND, arm, baseline)
            memory = paired_ratio(of_size, memory_column, arm, baseline)
            allocated = paired_ratio(of_size, TOTAL_PEAK_ALLOCATED_MB, arm, baseline)
            loop = paired_ratio(of_size, AVG_LOOP_TOKENS_PER_SECOND, arm, baseline)
            same = same_maths(of_arm[arm], of_arm[baseline])
            difference = _largest_loss_difference(runs, size, arm, baseline) if same else None
            bound = loss_bound(of_arm[arm])
            rows.append(
                {
                    BATCH_SIZE: size,
                    "arm": arm,
                    "n_pairs": speed.n if speed else 0,
                    **_percent_change("speedup", speed, sign=1),
                    **_percent_change("loop_speedup", loop, sign=1),
                    **_percent_change("memory_saving", memory, sign=-1),
                    **_percent_change("allocated_saving", allocated, sign=-1),
                    "same_maths": same,
                    "loss_difference": float("nan") if difference is None else difference,
                    "loss_bound": bound,
                    "loss_above_bound": difference is not None and difference > bound,
                }
            )
    columns = [
        *(BATCH_SIZE, "arm", "n_pairs", "speedup_percent", "speedup_low", "speedup_high"),
        *("loop_speedup_percent", "loop_speedup_low", "loop_speedup_high"),
        *("memory_saving_percent", "memory_saving_low", "memory_saving_high"),
        *("allocated_saving_percent", "allocated_saving_low", "allocated_saving_high"),
        *("same_maths", "loss_difference", "loss_bound", "loss_above_bound"),
    ]
    return pd.DataFrame(rows, columns=columns)


def paired_ratio(of_size: pd.DataFrame, column: str, arm: str, baseline: str) -> Interval | None:
    """The ratio of `arm` to `baseline` over the repeats that both completed.

    None if there is no such repeat or a value is not positive.

    Args:
        of_size: the rows of the table of runs for one batch size.
        column: the table's column to take the ratio of.
    """
    if column not in of_size:
        return None
    values = of_size.pivot(index="run", columns="arm", values=column)
    if not {baseline, arm} <= set(values):
        return None
    pairs = values[[arm, baseline]].dropna()
    if pairs.empty or (pairs <= 0).any(axis=None):
        return None
    return ratio_interval(list(pairs[arm]), list(pairs[baseline]))


def _percent_change(name: str, ratio: Interval | None, sign: int) -> dict[str, float]:
    """A ratio as a change in percent with its interval's ends; of sign −1 for a saving."""
    if ratio is None:
        return {f"{name}_percent": float("nan"), **interval_columns(name, None, None)}
    low, high = (None if end is None else sign * (end - 1) * 100 for end in (ratio.low, ratio.high))
    if sign < 0:
        low, high = high, low
    return {f"{name}_percent": sign * (ratio.mean - 1) * 100, **interval_columns(name, low, high)}


def _largest_loss_difference(
    runs: Sequence[Run], size: int, arm: str, baseline: str
) -> float | None:
    """Largest relative difference of the arms' losses at the same step of the same repeat.

    None if no repeat has steps of both arms.
    """
    of_size = {
        (run.training_args.arm, run.training_args.run): run
        for run in runs
        if run.training_args.per_device_train_batch_size == size
    }
    differences = [
        loss_difference(run, of_size[baseline, index])
        for (name, index), run in of_size.items()
        if name == arm and (baseline, index) in of_size
    ]
    return max((d for d in differences if d is not None), default=None)
