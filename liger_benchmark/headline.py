"""The one sentence that people pass on: who won, by how much, how sure that is, what failed."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from liger_benchmark.runs import COMPLETED, FAILED, OUT_OF_MEMORY
from liger_benchmark.wording import (
    all_the_same,
    batch_sizes,
    decimals_for,
    enumerate_words,
    gibibytes,
    known,
    number,
    percent_range,
    plural,
    small_fraction,
)


def headline(
    model: str,
    runs_table: pd.DataFrame,
    cells: pd.DataFrame,
    comparison: pd.DataFrame,
    trial: str,
    tight: Collection[int],
) -> str:
    """The result in a sentence or two, at the largest batch size that both arms completed.

    Args:
        trial: `Device.trial`.
        tight: batch sizes that an arm barely fits. There it pays for the lack of memory too, so
            the largest of the others is taken, if there is one.
    """
    counts = runs_table["outcome"].value_counts()
    total, failed = len(runs_table), int(counts.get(FAILED, 0))
    if not counts.get(COMPLETED, 0):
        return f"No run of {model} completed: {_ended(counts)}, so there is nothing to compare."
    if trial:
        sentence = _trial_sentence(trial, model, int(counts.get(COMPLETED, 0)), total, comparison)
    elif len(cells["arm"].unique()) == 1:
        sentence = _one_arm_sentence(model, cells)
    elif comparison["speedup_percent"].notna().any():
        sentence = _comparison_sentence(model, cells, comparison, tight)
    else:
        sentence = f"No batch size of {model} was completed by both arms{_limits(cells)}."
    if failed:
        sentence += f" {failed} of {plural(total, 'run')} failed."
    return sentence


def _ended(counts: pd.Series) -> str:
    words = {OUT_OF_MEMORY: "ran out of memory", FAILED: "failed"}
    return enumerate_words(f"{counts[o]} {words[o]}" for o in words if counts.get(o, 0))


def _trial_sentence(
    trial: str, model: str, completed: int, total: int, comparison: pd.DataFrame
) -> str:
    text = (
        f"A trial {trial}, whose timings mean nothing: "
        f"{completed} of {plural(total, 'run')} of {model} completed"
    )
    differences = comparison["loss_difference"].dropna()
    if differences.empty:
        return f"{text}."
    return f"{text}; largest difference between the arms' losses: {_difference(differences)}."


def _difference(differences: pd.Series) -> str:
    return small_fraction(float(differences.max()))


def _one_arm_sentence(model: str, cells: pd.DataFrame) -> str:
    done = cells[cells["n_completed"] > 0].sort_values("per_device_train_batch_size")
    best = done.iloc[-1]
    text = (
        f"Only {best['arm']} was run, so there is nothing to compare: {model} trains at "
        f"{number(best['tokens_per_second'])} tokens per second"
    )
    if known(best["peak_memory_MB"]):
        text += f" with {gibibytes(best['peak_memory_MB'])} GiB peak memory"
    text += f" at batch size {best['per_device_train_batch_size']}"
    out = _sizes_out_of_memory(cells, best["arm"])
    return f"{text}, and runs out of memory at {batch_sizes(out)}." if out else f"{text}."


def _comparison_sentence(
    model: str, cells: pd.DataFrame, comparison: pd.DataFrame, tight: Collection[int]
) -> str:
    compared = comparison[comparison["speedup_percent"].notna()]
    roomy = compared[~compared["per_device_train_batch_size"].isin(list(tight))]
    row = (compared if roomy.empty else roomy).iloc[-1]
    text = (
        f"Liger trains {model} {_speed(row)}{_memory(row)} "
        f"at batch size {row['per_device_train_batch_size']}"
    )
    if row["n_pairs"] == 1:
        text += " in a single repeat, too few for an interval"
    return f"{text}{_limits(cells)}."


def _speed(row: pd.Series) -> str:
    value, low, high = (row[f"speedup_{part}"] for part in ("percent", "low", "high"))
    decimals = decimals_for(low, high)
    same = all_the_same(low, high)
    if known(low) and low <= 0 <= high:
        if same:
            return "at vanilla's speed"
        spread = percent_range(low, high, decimals)
        return f"at vanilla's speed, within the spread of the repeats ({spread}),"
    word = "slower" if value < 0 else "faster"
    if not known(low) or same:
        return f"{_percent(value)} % {word}"
    low, high = sorted((abs(low), abs(high)))
    return f"{number(abs(value), decimals)} % {word} ({percent_range(low, high, decimals)})"


def _memory(row: pd.Series) -> str:
    value, low, high = (row[f"memory_saving_{part}"] for part in ("percent", "low", "high"))
    if not known(value):
        return ""
    if known(low) and low <= 0 <= high and not all_the_same(low, high):
        return f" with no certain difference in peak memory ({percent_range(low, high, 1)} less)"
    amount = _percent(value)
    if not amount.strip("0."):
        return " with the same peak memory"
    return f" with {amount} % {'less' if value > 0 else 'more'} peak memory"


def _percent(value: float) -> str:
    """A percentage's amount: whole from 10 on, where it has no interval to say how exact it is."""
    return number(abs(value), 0 if round(abs(value), 1) >= 10 else 1)


def _limits(cells: pd.DataFrame) -> str:
    """Which batch sizes fit one arm alone; empty where memory ran out in neither."""
    out = {arm: set(_sizes_out_of_memory(cells, arm)) for arm in ("vanilla", "Liger")}
    fits = {arm: set(_sizes_that_fit(cells, arm)) for arm in ("vanilla", "Liger")}
    text = ""
    won = sorted(fits["Liger"] & out["vanilla"])
    if won:
        text += f", and fits {batch_sizes(won)}, where vanilla runs out of memory"
    lost = sorted(fits["vanilla"] & out["Liger"])
    if lost:
        text += f"; it runs out of memory at {batch_sizes(lost)}, where vanilla does not"
    both = sorted(out["vanilla"] & out["Liger"])
    if both:
        text += f"; both run out of memory at {batch_sizes(both)}"
    return text


def _sizes_out_of_memory(cells: pd.DataFrame, arm: str) -> list[int]:
    hit = cells[
        (cells["arm"] == arm) & (cells["n_out_of_memory"] > 0) & (cells["n_completed"] == 0)
    ]
    return sorted(hit["per_device_train_batch_size"])


def _sizes_that_fit(cells: pd.DataFrame, arm: str) -> list[int]:
    hit = cells[
        (cells["arm"] == arm) & (cells["n_out_of_memory"] == 0) & (cells["n_completed"] > 0)
    ]
    return sorted(hit["per_device_train_batch_size"])
