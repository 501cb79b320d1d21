"""The one sentence that people pass on: who won, by how much, how sure that is, what failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from liger_benchmark.analysis.comparison import paired_ratio
from liger_benchmark.arguments import BATCH_SIZE, LIGER, VANILLA
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY
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
    arms: Sequence[str],
    runs_table: pd.DataFrame,
    cells: pd.DataFrame,
    comparison: pd.DataFrame,
    trial: str,
    tight: Mapping[str, Collection[int]],
) -> str:
    """The result in a sentence or two, at the largest batch size that allows a comparison.

    Args:
        arms: the baseline first.
        trial: `Hardware.trial`.
        tight: for an arm the batch sizes that it barely fits. There it pays for the lack of memory
            too, so the largest of the others is taken, if there is one.
    """
    counts = runs_table["outcome"].value_counts()
    total, failed = len(runs_table), int(counts.get(FAILED, 0))
    if not counts.get(COMPLETED, 0):
        return f"No run of {model} completed: {_ended(counts)}, so there is nothing to compare."
    compared = comparison[comparison["speedup_percent"].notna()]
    if trial:
        sentence = _trial_sentence(trial, model, int(counts.get(COMPLETED, 0)), total, comparison)
    elif len(arms) == 1:
        sentence = _one_arm_sentence(model, cells)
    elif list(arms) == [VANILLA, LIGER]:
        if compared.empty:
            limits = _limits(cells, LIGER, VANILLA)
            sentence = f"No batch size of {model} was completed by both arms{limits}."
        else:
            sentence = _comparison_sentence(model, cells, _with_room(compared, tight, VANILLA))
    elif compared.empty:
        sentence = _uncompared_sentence(model, arms[0], cells)
    else:
        roomy = _with_room(compared, tight, arms[0])
        sentence = _fastest_sentence(model, arms, runs_table, cells, roomy)
    if failed:
        sentence += f" {failed} of {plural(total, 'run')} failed."
    return sentence


def _with_room(
    compared: pd.DataFrame, tight: Mapping[str, Collection[int]], baseline: str
) -> pd.DataFrame:
    """The rows of the largest batch size at which neither arm of a row barely fits, if any."""
    roomy = [
        row[BATCH_SIZE] not in (*tight.get(baseline, ()), *tight.get(row["arm"], ()))
        for _, row in compared.iterrows()
    ]
    rows = compared[roomy] if any(roomy) else compared
    return rows[rows[BATCH_SIZE] == rows[BATCH_SIZE].max()]


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
    done = cells[cells["n_completed"] > 0].sort_values(BATCH_SIZE)
    best = done.iloc[-1]
    text = (
        f"Only {best['arm']} was run, so there is nothing to compare: {model} trains at "
        f"{number(best['tokens_per_second'])} tokens per second"
    )
    if known(best["peak_memory_MB"]):
        text += f" with {gibibytes(best['peak_memory_MB'])} GiB peak memory"
    text += f" at batch size {best[BATCH_SIZE]}"
    out = _sizes_out_of_memory(cells, best["arm"])
    return f"{text}, and runs out of memory at {batch_sizes(out)}." if out else f"{text}."


def _comparison_sentence(model: str, cells: pd.DataFrame, compared: pd.DataFrame) -> str:
    row = compared.iloc[0]
    text = f"Liger trains {model} {_speed(row)}{_memory(row)} at batch size {row[BATCH_SIZE]}"
    return f"{text}{_single(row)}{_limits(cells, LIGER, VANILLA)}."


def _single(row: pd.Series) -> str:
    return " in a single repeat, too few for an interval" if row["n_pairs"] == 1 else ""


def _fastest_sentence(
    model: str,
    arms: Sequence[str],
    runs_table: pd.DataFrame,
    cells: pd.DataFrame,
    compared: pd.DataFrame,
) -> str:
    """Which of the arms is fastest, and which of the others cannot be told from it."""
    baseline = arms[0]
    best = compared.loc[compared["speedup_percent"].idxmax()]
    size, lost = best[BATCH_SIZE], best["speedup_percent"] <= 0
    fastest = baseline if lost else best["arm"]
    rivals = [arm for arm in (baseline, *compared["arm"]) if arm != fastest]
    near = _not_told_apart(runs_table[runs_table[BATCH_SIZE] == size], fastest, rivals)
    text = f"Fastest for {model} at batch size {size}: {fastest}"
    if lost:
        text += f", the baseline{_within_spread(near)}"
        text += "" if near else f"; next is {best['arm']}, {_change(best)}"
        text += _single(best)
    else:
        text += f", {_change(best)} than {baseline}{_memory(best)}{_single(best)}"
        text += f"{_within_spread(near)}{_limits(cells, fastest, baseline)}"
    return f"{text}{_fits_others(cells, fastest, baseline)}."


def _not_told_apart(of_size: pd.DataFrame, fastest: str, rivals: Sequence[str]) -> list[str]:
    """The rivals that may be as fast, repeat by repeat.

    They are compared with the fastest itself. Both arms' gains over the baseline share its spread,
    so that their intervals may overlap where one arm is ahead in every repeat.
    """
    near = []
    for arm in rivals:
        ratio = paired_ratio(of_size, "avg_tokens_per_second", arm, fastest)
        if ratio is not None and ratio.high is not None and ratio.high >= 1:
            near.append(arm)
    return near


def _within_spread(arms: Sequence[str]) -> str:
    named = arms if len(arms) <= 2 else [arms[0], f"{len(arms) - 1} other arms"]
    return f", within the spread of {enumerate_words(named)}" if arms else ""


def _fits_others(cells: pd.DataFrame, best: str, baseline: str) -> str:
    """The largest batch size that fits neither of the two, and the arms that it does fit."""
    fitting = {
        arm: set(_sizes_that_fit(cells, arm)) - set(_sizes_that_fit(cells, best))
        for arm in dict.fromkeys(cells["arm"])
    }
    out = set(_sizes_out_of_memory(cells, baseline))
    sizes = [size for of_arm in fitting.values() for size in of_arm & out]
    if not sizes:
        return ""
    arms = [arm for arm, of_arm in fitting.items() if max(sizes) in of_arm]
    return (
        f"; {enumerate_words(arms)} {'fits' if len(arms) == 1 else 'fit'} batch size {max(sizes)}, "
        f"where {baseline} runs out of memory"
    )


def _uncompared_sentence(model: str, baseline: str, cells: pd.DataFrame) -> str:
    done = cells[cells["n_completed"] > 0]
    done = done[done[BATCH_SIZE] == done[BATCH_SIZE].max()]
    best = done.loc[done["tokens_per_second"].idxmax()]
    return (
        f"No batch size of {model} was completed by {baseline} and another arm; at batch size "
        f"{best[BATCH_SIZE]} {best['arm']} trains at {number(best['tokens_per_second'])} tokens "
        "per second."
    )


def _change(row: pd.Series) -> str:
    """`52 % faster (50–54 %)`, `3 % slower`; with signs where it may be either."""
    value, low, high = (row[f"speedup_{part}"] for part in ("percent", "low", "high"))
    word = "slower" if value < 0 else "faster"
    if not known(low) or all_the_same(low, high):
        return f"{_percent(value)} % {word}"
    decimals = decimals_for(low, high)
    if low > 0 or high < 0:
        low, high = sorted((abs(low), abs(high)))
    exact = decimals if abs(value) >= 1 else 1
    return f"{number(abs(value), exact)} % {word} ({percent_range(low, high, decimals)})"


def _speed(row: pd.Series) -> str:
    value, low, high = (row[f"speedup_{part}"] for part in ("percent", "low", "high"))
    decimals = decimals_for(low, high)
    same = all_the_same(low, high)
    if known(low) and low <= 0 <= high:
        if same:
            return "at vanilla's speed"
        spread = percent_range(low, high, decimals)
        return f"at vanilla's speed, within the spread of the repeats ({spread}),"
    return _change(row)


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


def _limits(cells: pd.DataFrame, arm: str, baseline: str) -> str:
    """Which batch sizes fit one of the two alone; empty where memory ran out in neither."""
    out = {name: set(_sizes_out_of_memory(cells, name)) for name in (baseline, arm)}
    fits = {name: set(_sizes_that_fit(cells, name)) for name in (baseline, arm)}
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


def _sizes_out_of_memory(cells: pd.DataFrame, arm: str) -> list[int]:
    hit = cells[
        (cells["arm"] == arm) & (cells["n_out_of_memory"] > 0) & (cells["n_completed"] == 0)
    ]
    return sorted(hit[BATCH_SIZE])


def _sizes_that_fit(cells: pd.DataFrame, arm: str) -> list[int]:
    hit = cells[
        (cells["arm"] == arm) & (cells["n_out_of_memory"] == 0) & (cells["n_completed"] > 0)
    ]
    return sorted(hit[BATCH_SIZE])
