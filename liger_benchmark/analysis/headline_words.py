"""The parts of a headline: a gain in speed or memory in words, and which batch sizes fit."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from liger_benchmark.analysis.comparison import LEAST_SAVING_PERCENT
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.wording import (
    WIDEST_INTERVAL,
    all_the_same,
    batch_sizes,
    decimals_for,
    known,
    number,
    percent,
    percent_range,
)


def change(row: pd.Series | Mapping[str, float]) -> str:
    """A speed-up in words: `52% faster (50–54%)`, `3% slower`.

    The interval has signs where it includes zero.
    """
    value, low, high = (row[f"speedup_{part}"] for part in ("percent", "low", "high"))
    word = "slower" if value < 0 else "faster"
    if not known(low) or all_the_same(low, high):
        return f"{percent(value)} {word}"
    decimals = decimals_for(low, high)
    if low > 0 or high < 0:
        low, high = sorted((abs(low), abs(high)))
    exact = decimals if abs(value) >= 1 else 1
    return f"{number(abs(value), exact)}% {word} ({percent_range(low, high, decimals)})"


def speed(row: pd.Series) -> str:
    """A speed-up in words, to follow what is trained."""
    low, high = row["speedup_low"], row["speedup_high"]
    if known(low) and low <= 0 <= high:
        if all_the_same(low, high):
            return "at vanilla's speed"
        if high - low > WIDEST_INTERVAL:
            return "at a speed that its repeats cannot tell from vanilla's,"
        spread = percent_range(low, high, decimals_for(low, high))
        return f"at vanilla's speed, within the spread of the repeats ({spread}),"
    return change(row)


def memory(row: pd.Series) -> str:
    """A saving of peak memory in words, to follow a speed-up; empty if it is not known."""
    value, low, high = (row[f"memory_saving_{part}"] for part in ("percent", "low", "high"))
    if not known(value):
        return ""
    if known(low) and low <= 0 <= high and not all_the_same(low, high):
        return f" with no certain difference in peak memory ({percent_range(low, high, 1)} less)"
    amount = percent(value)
    if not amount.strip("0.%"):
        return " with the same peak memory"
    if abs(value) < LEAST_SAVING_PERCENT:
        return f" with the same peak memory to within {LEAST_SAVING_PERCENT:g}%"
    return f" with {amount} {'less' if value > 0 else 'more'} peak memory"


def limits(cells: pd.DataFrame, arm: str, baseline: str) -> str:
    """The batch sizes at which one of the two arms or both run out of memory; empty if none."""
    out = {name: set(sizes_out_of_memory(cells, name)) for name in (baseline, arm)}
    fits = {name: set(sizes_that_fit(cells, name)) for name in (baseline, arm)}
    text = ""
    won = sorted(fits[arm] & out[baseline])
    if won:
        text += f", and fits {batch_sizes(won)}, where {baseline} runs out of memory"
    lost = sorted(fits[baseline] & out[arm])
    if lost:
        text += f"; it runs out of memory at {batch_sizes(lost)}, where {baseline} does not"
    both = sorted(out[baseline] & out[arm])
    if both:
        text += f"; both run out of memory at {batch_sizes(both)}"
    return text


def sizes_out_of_memory(cells: pd.DataFrame, arm: str) -> list[int]:
    """The batch sizes at which an arm ran out of memory, ascending."""
    hit = _valid_cells(cells, arm)
    return sorted(hit[(hit["n_out_of_memory"] > 0) & (hit["n_completed"] == 0)][BATCH_SIZE])


def sizes_that_fit(cells: pd.DataFrame, arm: str) -> list[int]:
    """The batch sizes that an arm completed, ascending."""
    hit = _valid_cells(cells, arm)
    return sorted(hit[(hit["n_out_of_memory"] == 0) & (hit["n_completed"] > 0)][BATCH_SIZE])


def _valid_cells(cells: pd.DataFrame, arm: str) -> pd.DataFrame:
    return cells[(cells["arm"] == arm) & (cells["invalid"] == "")]
