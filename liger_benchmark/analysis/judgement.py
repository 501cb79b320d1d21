"""The blog's claims, and the rule by which a grid is judged against each of them.

**A claim with a range** (throughput +20 to +30%, peak reserved memory -6 to -13%) is judged at
every batch size where both arms completed at least two pairs of valid repeats:

- *exceeded*: the whole 95% interval lies above the range's upper end;
- *reproduced*: the measured gain reaches the range's lower end, and its interval lies above zero (a
  gain above the range is no failure to reproduce it);
- *falls short*: the whole interval lies below the range's lower end;
- *undecided*: otherwise. The interval reaches the range from outside, includes zero, or is wider
  than `wording.WIDEST_INTERVAL` percentage points.

The claim is *not reproduced* if it falls short at one batch size, else *undecided* if it is at one,
else *exceeded* if it is at all, else *reproduced*. It is *incomplete* if at a batch size that was
to be repeated one of the two arms failed, is invalid or was not run, so that fewer than two of its
runs completed or ran out of memory, or fewer than two repeats completed in both arms where none ran
out of memory: the sizes that are left must not decide. It is *not tested* where there is no such
batch size, or the run was a trial: on a CPU, on a device that no run recorded, or with a smoke
model.

Claims are judged for the arms called Liger and vanilla, whatever the grid's baseline and other arms
are; without both nothing is tested. Nor is it where these two are not the blog's experiment, see
`blogs_experiment`.

**The claim about memory running out** is judged at every batch size where vanilla ran out of memory
in any repeat, both arms having been tried there twice at least: *not reproduced* if Liger ran out
of memory at one; else *incomplete* if at one it failed, is invalid or was not run; else
*reproduced*.

**The verdict** is given only where a claim with a range could be judged: the worst of what is said
of a claim, in the order *not reproduced*, *incomplete*, *undecided*; else *exceeded* if both ranges
are, else *reproduced*. A single repeat never gives a verdict: *not enough repeats*.
"""

from __future__ import annotations

import pandas as pd

from liger_benchmark.analysis.blogs_experiment import why_another_experiment
from liger_benchmark.analysis.claims import (
    EXCEEDED,
    INCOMPLETE,
    MEMORY,
    NO_RESULT,
    NOT_REPRODUCED,
    NOT_TESTED,
    OUT_OF_MEMORY,
    REPRODUCED,
    THROUGHPUT,
    UNDECIDED,
    Claim,
    Published,
    PublishedRange,
    against_range,
)
from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.choices import (
    BATCH_SIZE,
    LIGER,
    VANILLA,
)
from liger_benchmark.wording import (
    all_the_same,
    batch_sizes,
    enumerate_words,
    number,
    percent_range,
    signed,
)

# By where a gain lies to the published range.
_JUDGEMENTS = {
    "below": NOT_REPRODUCED,
    "undecided": UNDECIDED,
    "within": REPRODUCED,
    "above": EXCEEDED,
}


def judge_claims(grid: MeasuredGrid) -> list[Claim]:
    """Judge the three published claims by the rules in this module's docstring."""
    if reason := why_not_judged(grid):
        return [
            claim.judged(f"nothing: {reason}", NOT_TESTED, not_tested_because=reason)
            for claim in (THROUGHPUT, MEMORY, OUT_OF_MEMORY)
        ]
    return [
        judge_range(THROUGHPUT, grid.published, grid.cells),
        judge_range(MEMORY, grid.published, grid.cells),
        _judge_out_of_memory(OUT_OF_MEMORY, grid.cells),
    ]


def why_not_judged(grid: MeasuredGrid) -> str:
    """Why no claim can be judged on this grid; empty if they can."""
    if grid.hardware.trial:
        return f"a trial {grid.hardware.trial} says nothing about the kernels"
    missing = [arm for arm in (VANILLA, LIGER) if arm not in grid.arms]
    if missing:
        return f"this grid has no arm called {' and none called '.join(missing)}"
    return why_another_experiment(grid.runs)


def judge_range(claim: PublishedRange, comparison: pd.DataFrame, cells: pd.DataFrame) -> Claim:
    """Judge a claim with a range by the rule in this module's docstring.

    Args:
        comparison: rows of Liger against vanilla, by batch size.
        cells: those of both arms at the same batch sizes.
    """
    value, low = f"{claim.column}_percent", f"{claim.column}_low"
    compared = comparison[comparison[value].notna()]
    judged = compared[compared[low].notna()]
    incomplete = _incomplete_sizes(cells, comparison)
    if compared.empty and incomplete and cells["n_completed"].any():
        measured = f"nothing: {NO_RESULT} {batch_sizes(incomplete)}"
        return claim.judged(measured, INCOMPLETE, incomplete_at=incomplete)
    if compared.empty:
        return claim.judged("no batch size was completed by both arms", NOT_TESTED)
    if judged.empty:
        values = enumerate_words(
            f"{_gain(claim, row[value])} at {row.per_device_train_batch_size}"
            for _, row in compared.astype(object).iterrows()
        )
        reason = f"not enough repeats for a verdict: one repeat, {values}"
        return claim.judged(reason, NOT_TESTED, lacks_repeats=True)
    found = {int(row[BATCH_SIZE]): _judge_at(claim, row) for _, row in judged.iterrows()}
    short, undecided = (
        tuple(size for size, judgement in found.items() if judgement == which)
        for which in (NOT_REPRODUCED, UNDECIDED)
    )
    order = (NOT_REPRODUCED, UNDECIDED, REPRODUCED, EXCEEDED)
    judgement = min(found.values(), key=order.index)
    return claim.judged(
        _measured_range(claim, judged, short, undecided, incomplete),
        INCOMPLETE if incomplete and judgement != NOT_REPRODUCED else judgement,
        judged_at=_sizes(judged),
        fails_at=short,
        undecided_at=undecided,
        incomplete_at=incomplete,
    )


def _judge_at(claim: PublishedRange, row: pd.Series) -> str:
    """How a claim fares at one batch size, by the rule in this module's docstring."""
    value, low, high = (row[f"{claim.column}_{part}"] for part in ("percent", "low", "high"))
    return _JUDGEMENTS[against_range(value, low, high, claim.bounds)]


def _incomplete_sizes(cells: pd.DataFrame, comparison: pd.DataFrame) -> tuple[int, ...]:
    """The batch sizes that were run repeatedly and at which one of the two arms says too little.

    Running out of memory says something; where neither did, two repeats have to be common to both.
    A single repeat of both is too few, and not incomplete, unless one of them is invalid.
    """
    of_arms = [cells[cells["arm"] == arm].set_index(BATCH_SIZE) for arm in (VANILLA, LIGER)]
    pairs = comparison.set_index(BATCH_SIZE)["n_pairs"]
    incomplete = []
    for size in sorted({size for of_arm in of_arms for size in of_arm.index}):
        there = [of_arm.loc[size] for of_arm in of_arms if size in of_arm.index]
        enough = min(_n_told(of_arm, size) for of_arm in of_arms) > 1
        if not any(cell["n_out_of_memory"] for cell in there):
            enough = enough and pairs[size] > 1
        if not enough and any(cell["n_runs"] > 1 or cell["invalid"] for cell in there):
            incomplete.append(int(size))
    return tuple(incomplete)


def _n_completed(of_arm: pd.DataFrame, size: int) -> int:
    """The valid runs at a batch size that completed."""
    if size not in of_arm.index or of_arm.loc[size, "invalid"]:
        return 0
    return int(of_arm.loc[size, "n_completed"])


def _n_told(of_arm: pd.DataFrame, size: int) -> int:
    """The runs at a batch size that completed validly or ran out of memory."""
    if size not in of_arm.index or of_arm.loc[size, "invalid"]:
        return 0
    return int(of_arm.loc[size, "n_completed"] + of_arm.loc[size, "n_out_of_memory"])


def _sizes(rows: pd.DataFrame) -> tuple[int, ...]:
    return tuple(int(size) for size in rows[BATCH_SIZE])


def _measured_range(
    claim: PublishedRange,
    judged: pd.DataFrame,
    short: tuple[int, ...],
    undecided: tuple[int, ...],
    incomplete: tuple[int, ...],
) -> str:
    """What was measured: the least and the largest gain, and where the claim does not hold."""
    value, low, high = (f"{claim.column}_{part}" for part in ("percent", "low", "high"))
    least, most = judged.loc[judged[value].idxmin()], judged.loc[judged[value].idxmax()]

    def at(row: pd.Series) -> str:
        same = all_the_same(row[low], row[high])
        interval = "" if same else f" ({percent_range(row[low], row[high], 1)})"
        size = number(row[BATCH_SIZE])
        return f"{_gain(claim, row[value])}{interval} at batch size {size}"

    parts = [at(least) if len(judged) == 1 else f"from {at(least)} to {at(most)}"]
    if all(map(all_the_same, judged[low], judged[high])):
        parts[0] += f", the same in {_repeats(judged)}"
    if claim.kind == "memory" and (used := judged["allocated_saving_percent"].dropna()).size:
        least_used, most_used = _gain(claim, used.min()), _gain(claim, used.max())
        amounts = least_used if least_used == most_used else f"{least_used} to {most_used}"
        parts.append(f"of the memory used {amounts}")
    for sizes, words in (
        (short, "falls short at"),
        (undecided, "undecided at"),
        (incomplete, NO_RESULT),
    ):
        if sizes:
            parts.append(f"{words} {batch_sizes(sizes)}")
    return "; ".join(parts)


def _repeats(judged: pd.DataFrame) -> str:
    """How many pairs of repeats stand behind the rows: `all 3 repeats`, `2 to 3 repeats`."""
    least, most = int(judged["n_pairs"].min()), int(judged["n_pairs"].max())
    return f"all {most} repeats" if least == most else f"all {least} to {most} repeats"


def _gain(claim: PublishedRange, value: float) -> str:
    """A gain in words: `+26.4%` for a speed-up, `12.7% less` for a saving of memory."""
    if claim.kind == "throughput":
        return f"{signed(value)}%"
    is_more = value < 0 and number(value, 1) != number(0, 1)
    return f"{number(abs(value), 1)}% {'more' if is_more else 'less'}"


def _judge_out_of_memory(claim: Published, cells: pd.DataFrame) -> Claim:
    arms = {arm: of_arm.set_index(BATCH_SIZE) for arm, of_arm in cells.groupby("arm")}
    vanilla, liger = arms[VANILLA], arms[LIGER]
    hit = vanilla.index[(vanilla["n_out_of_memory"] > 0) & (vanilla["invalid"] == "")]
    alone = [
        int(size)
        for size in liger.index
        if liger.loc[size, "n_out_of_memory"] > 0 and _n_completed(vanilla, size) > 0
    ]
    if alone:
        measured = f"Liger runs out of memory at {batch_sizes(alone)}, where vanilla completes"
        return claim.judged(measured, NOT_REPRODUCED, judged_at=tuple(alone), fails_at=tuple(alone))
    if hit.empty:
        return claim.judged("vanilla never ran out of memory here", NOT_TESTED)
    tried = [size for size in hit if _n_told(liger, size) > 0]
    silent = tuple(int(size) for size in hit if size not in tried)
    if not tried:
        reason = f"vanilla ran out of memory at {batch_sizes(hit)}; no Liger run there is a result"
        return claim.judged(reason, INCOMPLETE, incomplete_at=silent)
    judged = [s for s in tried if _n_told(liger, s) > 1 and _n_told(vanilla, s) > 1]
    also = [size for size in judged or tried if liger.loc[size, "n_out_of_memory"] > 0]
    fits = [size for size in judged or tried if size not in also]
    parts = [f"vanilla runs out of memory at {batch_sizes(hit)}"]
    if fits:
        parts.append(f"Liger completes {batch_sizes(fits)}")
    if also:
        parts.append(f"Liger runs out of memory too at {batch_sizes(also)}")
    if silent:
        parts.append(f"Liger has no result at {batch_sizes(silent)}")
    measured = "; ".join(parts)
    if not judged:
        reason = f"not enough repeats for a verdict: {measured}"
        return claim.judged(reason, NOT_TESTED, lacks_repeats=True)
    return claim.judged(
        measured,
        NOT_REPRODUCED if also else INCOMPLETE if silent else REPRODUCED,
        judged_at=tuple(map(int, judged)),
        fails_at=tuple(map(int, also)),
        incomplete_at=silent,
    )
