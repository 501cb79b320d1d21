"""The blog's claims, and the rule by which a grid is judged against each of them.

**A claim with a range** (throughput +20 to +30 %, peak reserved memory −6 to −13 %) is judged at
every batch size where both arms completed at least two pairs of repeats:

- *exceeded*: at each of them the whole 95 % interval lies above the range's upper end;
- *reproduced*: at each of them the measured gain reaches the range's lower end, and its interval
  lies above zero (a gain above the range is no failure to reproduce it);
- *not reproduced*: otherwise;
- *not tested*: there is no such batch size, or the run was a trial: on a CPU, on a device that no
  run recorded, or with a smoke model.

They are judged for the arms called Liger and vanilla, whatever the grid's baseline and other arms
are; without both nothing is tested.

**The claim about memory running out** is judged at every batch size where vanilla ran out of memory
in any repeat, both arms having been tried there twice at least: *reproduced* if Liger ran out of
memory at none of them and completed at each; *not reproduced* if it ran out of memory at one.

**The verdict** is given only where a claim with a range could be judged. It is *not reproduced* if
one claim is; *exceeded* if both ranges are; *reproduced* if both ranges are at least that. A single
repeat never gives a verdict: *not enough repeats*.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from liger_benchmark.arguments import BATCH_SIZE, LIGER, VANILLA
from liger_benchmark.wording import (
    all_the_same,
    batch_sizes,
    enumerate_words,
    number,
    percent_range,
    signed,
)

REPRODUCED = "reproduced"
EXCEEDED = "exceeded"
NOT_REPRODUCED = "not reproduced"
NOT_TESTED = "not tested"
NOT_ENOUGH_REPEATS = "not enough repeats"

# From the blog, "Analyzing the results": "the token throughput was 20-30% higher and the peak
# memory reserved was 6-13% lower".
PUBLISHED_SPEEDUP = (20.0, 30.0)
PUBLISHED_MEMORY_SAVING = (6.0, 13.0)


@dataclass(frozen=True)
class Claim:
    """A published claim and what was measured.

    Attributes:
        name: what the claim is about.
        published: the claim, with its numbers.
        measured: what was measured, with its numbers, or why nothing was.
        judgement: "reproduced", "exceeded", "not reproduced" or "not tested".
        lacks_repeats: not tested only because every condition ran once.
        judged_at: the batch sizes it was judged at.
        fails_at: those of them at which it does not hold.
    """

    name: str
    published: str
    measured: str
    judgement: str
    lacks_repeats: bool = False
    judged_at: tuple[int, ...] = ()
    fails_at: tuple[int, ...] = ()


def judge_claims(cells: pd.DataFrame, comparison: pd.DataFrame, trial: str) -> list[Claim]:
    """Judge the three published claims by the rules above.

    Args:
        comparison: Liger against vanilla, see `Analysis.published`.
        trial: `Hardware.trial`.
    """
    speed = ("Throughput", f"+{percent_range(*PUBLISHED_SPEEDUP, 0)}", "speedup")
    memory = (
        "Peak reserved memory",
        f"{percent_range(*PUBLISHED_MEMORY_SAVING, 0)} less",
        "memory_saving",
    )
    limit = ("Out of memory", "Liger trains where vanilla runs out of memory")
    missing = [arm for arm in (VANILLA, LIGER) if arm not in set(cells["arm"])]
    reason = ""
    if trial:
        reason = f"nothing: a trial {trial} says nothing about the kernels"
    elif missing:
        reason = f"nothing: this grid has no arm called {' and none called '.join(missing)}"
    if reason:
        return [
            Claim(name, published, reason, NOT_TESTED)
            for name, published in (speed[:2], memory[:2], limit)
        ]
    return [
        _judge_range(*speed, PUBLISHED_SPEEDUP, comparison),
        _judge_range(*memory, PUBLISHED_MEMORY_SAVING, comparison),
        _judge_out_of_memory(*limit, cells),
    ]


def overall_verdict(claims: list[Claim]) -> str:
    """One word for the grid, by the rule in this module's docstring."""
    ranges = {claim.judgement for claim in claims[:2]}
    if ranges == {NOT_TESTED}:
        return NOT_ENOUGH_REPEATS if any(c.lacks_repeats for c in claims) else NOT_TESTED
    if any(claim.judgement == NOT_REPRODUCED for claim in claims):
        return NOT_REPRODUCED
    if NOT_TESTED in ranges:
        return NOT_TESTED
    return EXCEEDED if ranges == {EXCEEDED} else REPRODUCED


def verdict_sentence(claims: list[Claim]) -> str:
    """The verdict as a sentence, which names the batch sizes where a claim does not hold."""
    verdict = overall_verdict(claims)
    if verdict != NOT_REPRODUCED:
        return {
            EXCEEDED: "The published gains are exceeded.",
            REPRODUCED: "The published gains are reproduced.",
            NOT_ENOUGH_REPEATS: (
                "Not enough repeats for a verdict: each condition needs two at least."
            ),
        }.get(verdict, "The published gains were not tested.")
    speed, memory, limit = claims
    where = []
    if speed.fails_at:
        where.append(f"speed falls short at {batch_sizes(speed.fails_at)}")
    if memory.fails_at:
        short = "memory" if where else "memory falls short"
        where.append(f"{short} at {batch_sizes(memory.fails_at)}")
    if limit.fails_at:
        where.append(f"Liger too runs out of memory at {batch_sizes(limit.fails_at)}")
    nowhere = all(claim.fails_at == claim.judged_at for claim in claims)
    extent = "at any batch size" if nowhere else "everywhere"
    return f"The published gains are not reproduced {extent}: {', '.join(where)}."


def against_range(value: float, published: tuple[float, float]) -> str:
    """Where a measured gain lies: "above", "within" or "below" the published range."""
    low, high = published
    return "below" if value < low else "above" if value > high else "within"


def _judge_range(
    name: str,
    published: str,
    column: str,
    bounds: tuple[float, float],
    comparison: pd.DataFrame,
) -> Claim:
    value, low = f"{column}_percent", f"{column}_low"
    compared = comparison[comparison[value].notna()]
    judged = compared[compared[low].notna()]
    if compared.empty:
        reason = "no batch size was completed by both arms"
        return Claim(name, published, reason, NOT_TESTED)
    if judged.empty:
        values = enumerate_words(
            f"{_gain(column, row[value])} at {row.per_device_train_batch_size}"
            for _, row in compared.astype(object).iterrows()
        )
        reason = f"not enough repeats for a verdict: one repeat, {values}"
        return Claim(name, published, reason, NOT_TESTED, lacks_repeats=True)
    if (judged[low] > bounds[1]).all():
        judgement = EXCEEDED
    else:
        short_at_one = _falls_short(judged, column, bounds).any()
        judgement = NOT_REPRODUCED if short_at_one else REPRODUCED
    short = judged[_falls_short(judged, column, bounds)]
    measured = _measured_range(judged, short, column)
    return Claim(
        name, published, measured, judgement, judged_at=_sizes(judged), fails_at=_sizes(short)
    )


def _falls_short(judged: pd.DataFrame, column: str, bounds: tuple[float, float]) -> pd.Series:
    return (judged[f"{column}_percent"] < bounds[0]) | (judged[f"{column}_low"] <= 0)


def _sizes(rows: pd.DataFrame) -> tuple[int, ...]:
    return tuple(int(size) for size in rows[BATCH_SIZE])


def _measured_range(judged: pd.DataFrame, short: pd.DataFrame, column: str) -> str:
    value, low, high = f"{column}_percent", f"{column}_low", f"{column}_high"
    least, most = judged.loc[judged[value].idxmin()], judged.loc[judged[value].idxmax()]

    def at(row: pd.Series) -> str:
        same = all_the_same(row[low], row[high])
        interval = "" if same else f" ({percent_range(row[low], row[high], 1)})"
        size = number(row[BATCH_SIZE])
        return f"{_gain(column, row[value])}{interval} at batch size {size}"

    text = at(least) if len(judged) == 1 else f"from {at(least)} to {at(most)}"
    if all(map(all_the_same, judged[low], judged[high])):
        text += ", the same in every repeat"
    if short.empty:
        return text
    sizes = batch_sizes(_sizes(short))
    return f"{text}; below the range, or not above zero for certain, at {sizes}"


def _gain(column: str, value: float) -> str:
    """`+26.4 %` for a speed-up, `12.7 % less` for a saving of memory."""
    if column == "speedup":
        return f"{signed(value)} %"
    return f"{number(abs(value), 1)} % {'less' if value >= 0 else 'more'}"


def _judge_out_of_memory(name: str, published: str, cells: pd.DataFrame) -> Claim:
    arms = {arm: of_arm.set_index(BATCH_SIZE) for arm, of_arm in cells.groupby("arm")}
    vanilla, liger = arms[VANILLA], arms[LIGER]
    hit = vanilla.index[vanilla["n_out_of_memory"] > 0]
    if hit.empty:
        return Claim(name, published, "vanilla never ran out of memory here", NOT_TESTED)
    tried = [size for size in hit if size in liger.index and _n_tried(liger, size) > 0]
    if not tried:
        reason = f"vanilla ran out of memory at {batch_sizes(hit)}; no Liger run there ended"
        return Claim(name, published, reason, NOT_TESTED)
    judged = [s for s in tried if _n_tried(liger, s) > 1 and _n_tried(vanilla, s) > 1]
    also = [size for size in judged or tried if liger.loc[size, "n_out_of_memory"] > 0]
    fits = [size for size in judged or tried if size not in also]
    parts = [f"vanilla runs out of memory at {batch_sizes(hit)}"]
    if fits:
        parts.append(f"Liger completes {batch_sizes(fits)}")
    if also:
        parts.append(f"Liger runs out of memory too at {batch_sizes(also)}")
    measured = "; ".join(parts)
    if not judged:
        reason = f"not enough repeats for a verdict: {measured}"
        return Claim(name, published, reason, NOT_TESTED, lacks_repeats=True)
    return Claim(
        name,
        published,
        measured,
        NOT_REPRODUCED if also else REPRODUCED,
        judged_at=tuple(map(int, judged)),
        fails_at=tuple(map(int, also)),
    )


def _n_tried(of_arm: pd.DataFrame, size: int) -> int:
    return int(of_arm.loc[size, "n_completed"] + of_arm.loc[size, "n_out_of_memory"])
