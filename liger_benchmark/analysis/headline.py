"""The headline of a grid: which arm is faster, by how much, how certain that is, what failed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.comparison import paired_ratio
from liger_benchmark.analysis.headline_words import (
    change,
    limits,
    memory,
    sizes_out_of_memory,
    sizes_that_fit,
    speed,
)
from liger_benchmark.analysis.ladder import in_a_sentence
from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.analysis.notes import against_trl
from liger_benchmark.choices import (
    BATCH_SIZE,
    LIGER,
    VANILLA,
)
from liger_benchmark.columns import AVG_TOKENS_PER_SECOND
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY
from liger_benchmark.wording import (
    batch_sizes,
    enumerate_words,
    gibibytes,
    known,
    number,
    plural,
    small_fraction,
)


def headline(grid: MeasuredGrid) -> str:
    """The result in a sentence or two, at the largest batch size that allows a comparison.

    Batch sizes that an arm barely fits are passed over if there are others: the arm loses speed
    there for want of memory.
    """
    counts = grid.runs_table["outcome"].value_counts()
    n_failed = int(counts.get(FAILED, 0))
    if not counts.get(COMPLETED, 0):
        return (
            f"No run of {grid.model} completed: {_ended(counts)}, so there is nothing to compare."
        )
    sentence = _result(grid) + _liger_too(grid) + _against_trl(grid)
    if n_failed:
        sentence += f" {n_failed} of {plural(len(grid.runs), 'run')} failed."
    return sentence + _without_result(grid.cells)


def headline_rows(grid: MeasuredGrid) -> pd.DataFrame:
    """The rows of `grid.comparison` that the headline is about; none if nothing was compared."""
    compared = grid.comparison[grid.comparison["speedup_percent"].notna()]
    return compared if compared.empty else _with_room(grid, compared)


def _liger_too(grid: MeasuredGrid) -> str:
    """What became of Liger alone, where several arms were compared and another one is fastest."""
    rows = headline_rows(grid)
    if grid.hardware.trial or len(grid.arms) < 3 or rows.empty:
        return ""
    best = rows.loc[rows["speedup_percent"].idxmax()]
    named = (grid.baseline, best["arm"] if best["speedup_percent"] > 0 else grid.baseline)
    if LIGER in named or LIGER not in grid.arms:
        return ""
    hit = rows[rows["arm"] == LIGER]
    if hit.empty:
        size = best[BATCH_SIZE]
        out = size in sizes_out_of_memory(grid.cells, LIGER)
        return f" Liger {'runs out of memory' if out else 'has no result'} there."
    return f" Liger is {change(hit.iloc[0])} than {grid.baseline}{memory(hit.iloc[0])}."


def _against_trl(grid: MeasuredGrid) -> str:
    rows = headline_rows(grid)
    if grid.hardware.trial or rows.empty:
        return ""
    best = rows.loc[rows["speedup_percent"].idxmax()]
    fastest = best["arm"] if best["speedup_percent"] > 0 else grid.baseline
    return against_trl(grid, fastest, int(best[BATCH_SIZE]))


def _without_result(cells: pd.DataFrame) -> str:
    """The arms that cannot be compared somewhere, since they failed there or are invalid."""
    failed = cells[(cells["n_completed"] == 0) & (cells["n_failed"] > 0)]
    invalid = cells[cells["invalid"] != ""]
    text = ""
    for rows, one, several in (
        (failed, "has no result", "have no result"),
        (invalid, "is invalid", "are invalid"),
    ):
        arms_at: dict[tuple[int, ...], list[str]] = {}
        for arm, of_arm in rows.groupby("arm", sort=False):
            arms_at.setdefault(tuple(of_arm[BATCH_SIZE]), []).append(arm)
        for sizes, arms in arms_at.items():
            words = one if len(arms) == 1 else several
            text += f" {enumerate_words(arms)} {words} at {batch_sizes(sizes)}."
    return text


def _result(grid: MeasuredGrid) -> str:
    """The headline of a grid with a completed run, without the count of failures."""
    if grid.hardware.trial:
        return _trial_sentence(grid)
    if len(grid.arms) == 1:
        return _one_arm_sentence(grid)
    compared = grid.comparison[grid.comparison["speedup_percent"].notna()]
    if grid.arms == [VANILLA, LIGER]:
        if compared.empty:
            others = limits(grid.cells, LIGER, VANILLA)
            return f"No batch size of {grid.model} was {_completed(grid)} by both arms{others}."
        return _comparison_sentence(grid, _with_room(grid, compared))
    if compared.empty:
        return _uncompared_sentence(grid)
    return _fastest_sentence(grid, _with_room(grid, compared))


def _with_room(grid: MeasuredGrid, compared: pd.DataFrame) -> pd.DataFrame:
    """The rows of the largest batch size at which neither arm of a row barely fits.

    Without such a batch size, those of the largest.
    """
    of_baseline = grid.tight.get(grid.baseline, ())
    roomy = [
        row[BATCH_SIZE] not in (*of_baseline, *grid.tight.get(row["arm"], ()))
        for _, row in compared.iterrows()
    ]
    rows = compared[roomy] if any(roomy) else compared
    return rows[rows[BATCH_SIZE] == rows[BATCH_SIZE].max()]


def _ended(counts: pd.Series) -> str:
    """How the runs ended that did not complete: `4 ran out of memory and 4 failed`."""
    words = {OUT_OF_MEMORY: "ran out of memory", FAILED: "failed"}
    return enumerate_words(f"{counts[o]} {words[o]}" for o in words if counts.get(o, 0))


def _trial_sentence(grid: MeasuredGrid) -> str:
    n_completed = int((grid.runs_table["outcome"] == COMPLETED).sum())
    text = (
        f"A trial {grid.hardware.trial}, whose timings mean nothing: "
        f"{n_completed} of {plural(len(grid.runs), 'run')} of {grid.model} completed"
    )
    differences = grid.comparison["loss_difference"].dropna()
    if differences.empty:
        return f"{text}."
    largest = small_fraction(float(differences.max()))
    return f"{text}; largest difference between the arms' losses: {largest}."


def _one_arm_sentence(grid: MeasuredGrid) -> str:
    done = grid.cells[grid.cells["tokens_per_second"].notna()].sort_values(BATCH_SIZE)
    if done.empty:
        return f"No run of {grid.model} is valid, so there is nothing to say about its speed."
    best = done.iloc[-1]
    text = (
        f"Only {best['arm']} was run, so there is nothing to compare: {grid.model} trains at "
        f"{number(best['tokens_per_second'])} tokens per second"
    )
    if known(best["peak_memory_MB"]):
        text += f" with {gibibytes(best['peak_memory_MB'])} GiB peak memory"
    text += f" at batch size {best[BATCH_SIZE]}"
    out = sizes_out_of_memory(grid.cells, best["arm"])
    return f"{text}, and runs out of memory at {batch_sizes(out)}." if out else f"{text}."


def _comparison_sentence(grid: MeasuredGrid, compared: pd.DataFrame) -> str:
    row = compared.iloc[0]
    text = f"Liger trains {grid.model} {speed(row)}{memory(row)} at batch size {row[BATCH_SIZE]}"
    return f"{text}{_single(row)}{limits(grid.cells, LIGER, VANILLA)}."


def _single(row: pd.Series) -> str:
    return " in a single repeat, too few for an interval" if row["n_pairs"] == 1 else ""


def _fastest_sentence(grid: MeasuredGrid, compared: pd.DataFrame) -> str:
    """Which arm is fastest, and from which others it cannot be distinguished."""
    baseline, cells = grid.baseline, grid.cells
    best = compared.loc[compared["speedup_percent"].idxmax()]
    size, lost = best[BATCH_SIZE], best["speedup_percent"] <= 0
    fastest = baseline if lost else best["arm"]
    rivals = [arm for arm in (baseline, *compared["arm"]) if arm != fastest]
    of_size = grid.runs_table[
        (grid.runs_table[BATCH_SIZE] == size) & (grid.runs_table["invalid"] == "")
    ]
    repeated = of_size.groupby("arm")[AVG_TOKENS_PER_SECOND].count().max() > 1
    near = _indistinguishable(of_size, fastest, rivals) if repeated else []
    silent = [arm for arm in grid.arms if _says_nothing(cells, arm, size)]
    text = f"Fastest for {grid.model} at batch size {size}: {in_a_sentence(fastest)}"
    if silent:
        n_invalid = sum(_is_invalid(cells, arm, size) for arm in silent)
        kinds = {"invalid": n_invalid, "without a result": len(silent) - n_invalid}
        counted = enumerate_words(f"{n} {kind}" for kind, n in kinds.items() if n)
        text = text.replace("Fastest", f"Fastest of {len(grid.arms)} arms ({counted})", 1)
    if lost:
        text += f", the baseline{_within_spread(near)}"
        text += "" if near else f"; next is {best['arm']}, {change(best)}"
        text += _single(best)
    else:
        text += f", {change(best)} than {baseline}{memory(best)}{_single(best)}"
        text += f"{_within_spread(near)}{limits(cells, fastest, baseline)}"
    return f"{text}{_fits_others(cells, fastest, baseline)}."


def _says_nothing(cells: pd.DataFrame, arm: str, size: int) -> bool:
    """Whether the arm has no usable result at this batch size."""
    hit = cells[(cells["arm"] == arm) & (cells[BATCH_SIZE] == size)]
    if hit.empty:
        return True
    cell = hit.iloc[0]
    return bool(cell["invalid"]) or (not cell["n_completed"] and not cell["n_out_of_memory"])


def _is_invalid(cells: pd.DataFrame, arm: str, size: int) -> bool:
    hit = cells[(cells["arm"] == arm) & (cells[BATCH_SIZE] == size)]
    return bool((hit["invalid"] != "").any())


def _indistinguishable(of_size: pd.DataFrame, fastest: str, rivals: Sequence[str]) -> list[str]:
    """The rivals whose ratio to the fastest arm has an interval that reaches 1.

    They are compared with the fastest arm itself. The intervals of both arms' gains over the
    baseline contain the baseline's spread and may overlap where one arm leads in every repeat.
    """
    near = []
    for arm in rivals:
        ratio = paired_ratio(of_size, AVG_TOKENS_PER_SECOND, arm, fastest)
        # A single pair of repeats distinguishes nothing, if others have more; no pair nothing.
        if ratio is None or ratio.high is None or ratio.high >= 1:
            near.append(arm)
    return near


def _within_spread(arms: Sequence[str]) -> str:
    named = arms if len(arms) <= 2 else [arms[0], f"{len(arms) - 1} other arms"]
    return f", within the spread of {enumerate_words(named)}" if arms else ""


def _fits_others(cells: pd.DataFrame, best: str, baseline: str) -> str:
    """The largest batch size that other arms alone fit, and those arms; empty if there is none."""
    fitting = {
        arm: set(sizes_that_fit(cells, arm)) - set(sizes_that_fit(cells, best))
        for arm in dict.fromkeys(cells["arm"])
    }
    out = set(sizes_out_of_memory(cells, baseline))
    sizes = [size for of_arm in fitting.values() for size in of_arm & out]
    if not sizes:
        return ""
    arms = [arm for arm, of_arm in fitting.items() if max(sizes) in of_arm]
    return (
        f"; {enumerate_words(arms)} {'fits' if len(arms) == 1 else 'fit'} batch size {max(sizes)}, "
        f"where {baseline} runs out of memory"
    )


def _uncompared_sentence(grid: MeasuredGrid) -> str:
    done = grid.cells[grid.cells["tokens_per_second"].notna()]
    text = (
        f"No batch size of {grid.model} was {_completed(grid)} by {grid.baseline} and another arm"
    )
    if done.empty:
        return f"{text}."
    done = done[done[BATCH_SIZE] == done[BATCH_SIZE].max()]
    best = done.loc[done["tokens_per_second"].idxmax()]
    return (
        f"{text}; at batch size {best[BATCH_SIZE]} {best['arm']} trains at "
        f"{number(best['tokens_per_second'])} tokens per second."
    )


def _completed(grid: MeasuredGrid) -> str:
    return "completed validly" if (grid.cells["invalid"] != "").any() else "completed"
