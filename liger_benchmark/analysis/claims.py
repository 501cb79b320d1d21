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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from liger_benchmark.analysis.measured_grid import MeasuredGrid
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


ClaimKind = Literal["throughput", "memory", "out_of_memory"]


@dataclass(frozen=True)
class Claim:
    """A published claim and what was measured.

    Attributes:
        kind: which claim it is, for code.
        name: what the claim is about, for people.
        published: the claim, with its numbers.
        measured: what was measured, with its numbers, or why nothing was.
        judgement: "reproduced", "exceeded", "not reproduced" or "not tested".
        not_tested_because: why the grid as a whole cannot test any claim; empty if it can.
        lacks_repeats: whether it was not tested only because every condition ran once.
        judged_at: the batch sizes it was judged at.
        fails_at: those of them at which it does not hold.
    """

    kind: ClaimKind
    name: str
    published: str
    measured: str
    judgement: str
    not_tested_because: str = ""
    lacks_repeats: bool = False
    judged_at: tuple[int, ...] = ()
    fails_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Published:
    """A claim of the blog, before it is judged; see `Claim`."""

    kind: ClaimKind
    name: str
    text: str

    def judged(self, measured: str, judgement: str, **details: Any) -> Claim:
        """The claim with what was measured and how it is judged; `details` are `Claim`'s."""
        return Claim(self.kind, self.name, self.text, measured, judgement, **details)


@dataclass(frozen=True)
class _PublishedRange(_Published):
    """A claim with a range.

    Attributes:
        column: the gain's column in the comparison, without `_percent`, `_low` or `_high`.
        bounds: the range's ends in percent.
    """

    column: str
    bounds: tuple[float, float]


_THROUGHPUT = _PublishedRange(
    "throughput",
    "Throughput",
    f"+{percent_range(*PUBLISHED_SPEEDUP, 0)}",
    "speedup",
    PUBLISHED_SPEEDUP,
)
_MEMORY = _PublishedRange(
    "memory",
    "Peak reserved memory",
    f"{percent_range(*PUBLISHED_MEMORY_SAVING, 0)} less",
    "memory_saving",
    PUBLISHED_MEMORY_SAVING,
)
_OUT_OF_MEMORY = _Published(
    "out_of_memory", "Out of memory", "Liger trains where vanilla runs out of memory"
)


def judge_claims(grid: MeasuredGrid) -> list[Claim]:
    """Judge the three published claims by the rules in this module's docstring."""
    missing = [arm for arm in (VANILLA, LIGER) if arm not in grid.arms]
    reason = ""
    if grid.hardware.trial:
        reason = f"a trial {grid.hardware.trial} says nothing about the kernels"
    elif missing:
        reason = f"this grid has no arm called {' and none called '.join(missing)}"
    if reason:
        return [
            claim.judged(f"nothing: {reason}", NOT_TESTED, not_tested_because=reason)
            for claim in (_THROUGHPUT, _MEMORY, _OUT_OF_MEMORY)
        ]
    return [
        _judge_range(_THROUGHPUT, grid.published),
        _judge_range(_MEMORY, grid.published),
        _judge_out_of_memory(_OUT_OF_MEMORY, grid.cells),
    ]


def claim_of(claims: Sequence[Claim], kind: ClaimKind) -> Claim:
    """The claim of a kind.

    Raises:
        StopIteration: if there is none.
    """
    return next(claim for claim in claims if claim.kind == kind)


def overall_verdict(claims: Sequence[Claim]) -> str:
    """The verdict on the grid, by the rule in this module's docstring."""
    ranges = {claim_of(claims, "throughput").judgement, claim_of(claims, "memory").judgement}
    if ranges == {NOT_TESTED}:
        return NOT_ENOUGH_REPEATS if any(c.lacks_repeats for c in claims) else NOT_TESTED
    if any(claim.judgement == NOT_REPRODUCED for claim in claims):
        return NOT_REPRODUCED
    if NOT_TESTED in ranges:
        return NOT_TESTED
    return EXCEEDED if ranges == {EXCEEDED} else REPRODUCED


def verdict_sentence(claims: Sequence[Claim]) -> str:
    """The verdict as a sentence, with the batch sizes at which a claim does not hold."""
    verdict = overall_verdict(claims)
    if verdict != NOT_REPRODUCED:
        return {
            EXCEEDED: "The published gains are exceeded.",
            REPRODUCED: "The published gains are reproduced.",
            NOT_ENOUGH_REPEATS: (
                "Not enough repeats for a verdict: each condition needs two at least."
            ),
        }.get(verdict, "The published gains were not tested.")
    where = []
    if sizes := claim_of(claims, "throughput").fails_at:
        where.append(f"speed falls short at {batch_sizes(sizes)}")
    if sizes := claim_of(claims, "memory").fails_at:
        short = "memory" if where else "memory falls short"
        where.append(f"{short} at {batch_sizes(sizes)}")
    if sizes := claim_of(claims, "out_of_memory").fails_at:
        where.append(f"Liger too runs out of memory at {batch_sizes(sizes)}")
    nowhere = all(claim.fails_at == claim.judged_at for claim in claims)
    extent = "at any batch size" if nowhere else "everywhere"
    return f"The published gains are not reproduced {extent}: {', '.join(where)}."


def against_range(value: float, published: tuple[float, float]) -> str:
    """Where a measured gain lies: "above", "within" or "below" the published range."""
    low, high = published
    return "below" if value < low else "above" if value > high else "within"


def _judge_range(claim: _PublishedRange, comparison: pd.DataFrame) -> Claim:
    value, low = f"{claim.column}_percent", f"{claim.column}_low"
    compared = comparison[comparison[value].notna()]
    judged = compared[compared[low].notna()]
    if compared.empty:
        return claim.judged("no batch size was completed by both arms", NOT_TESTED)
    if judged.empty:
        values = enumerate_words(
            f"{_gain(claim, row[value])} at {row.per_device_train_batch_size}"
            for _, row in compared.astype(object).iterrows()
        )
        reason = f"not enough repeats for a verdict: one repeat, {values}"
        return claim.judged(reason, NOT_TESTED, lacks_repeats=True)
    short = judged[_falls_short(claim, judged)]
    if (judged[low] > claim.bounds[1]).all():
        judgement = EXCEEDED
    else:
        judgement = REPRODUCED if short.empty else NOT_REPRODUCED
    return claim.judged(
        _measured_range(claim, judged, short),
        judgement,
        judged_at=_sizes(judged),
        fails_at=_sizes(short),
    )


def _falls_short(claim: _PublishedRange, judged: pd.DataFrame) -> pd.Series:
    return (judged[f"{claim.column}_percent"] < claim.bounds[0]) | (
        judged[f"{claim.column}_low"] <= 0
    )


def _sizes(rows: pd.DataFrame) -> tuple[int, ...]:
    return tuple(int(size) for size in rows[BATCH_SIZE])


def _measured_range(claim: _PublishedRange, judged: pd.DataFrame, short: pd.DataFrame) -> str:
    value, low, high = (f"{claim.column}_{part}" for part in ("percent", "low", "high"))
    least, most = judged.loc[judged[value].idxmin()], judged.loc[judged[value].idxmax()]

    def at(row: pd.Series) -> str:
        same = all_the_same(row[low], row[high])
        interval = "" if same else f" ({percent_range(row[low], row[high], 1)})"
        size = number(row[BATCH_SIZE])
        return f"{_gain(claim, row[value])}{interval} at batch size {size}"

    text = at(least) if len(judged) == 1 else f"from {at(least)} to {at(most)}"
    if all(map(all_the_same, judged[low], judged[high])):
        text += ", the same in every repeat"
    if short.empty:
        return text
    sizes = batch_sizes(_sizes(short))
    return f"{text}; below the range, or not above zero for certain, at {sizes}"


def _gain(claim: _PublishedRange, value: float) -> str:
    """A gain in words: `+26.4 %` for a speed-up, `12.7 % less` for a saving of memory."""
    if claim.kind == "throughput":
        return f"{signed(value)} %"
    return f"{number(abs(value), 1)} % {'less' if value >= 0 else 'more'}"


def _judge_out_of_memory(claim: _Published, cells: pd.DataFrame) -> Claim:
    arms = {arm: of_arm.set_index(BATCH_SIZE) for arm, of_arm in cells.groupby("arm")}
    vanilla, liger = arms[VANILLA], arms[LIGER]
    hit = vanilla.index[vanilla["n_out_of_memory"] > 0]
    if hit.empty:
        return claim.judged("vanilla never ran out of memory here", NOT_TESTED)
    tried = [size for size in hit if size in liger.index and _n_tried(liger, size) > 0]
    if not tried:
        reason = f"vanilla ran out of memory at {batch_sizes(hit)}; no Liger run there ended"
        return claim.judged(reason, NOT_TESTED)
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
        return claim.judged(reason, NOT_TESTED, lacks_repeats=True)
    return claim.judged(
        measured,
        NOT_REPRODUCED if also else REPRODUCED,
        judged_at=tuple(map(int, judged)),
        fails_at=tuple(map(int, also)),
    )


def _n_tried(of_arm: pd.DataFrame, size: int) -> int:
    return int(of_arm.loc[size, "n_completed"] + of_arm.loc[size, "n_out_of_memory"])
