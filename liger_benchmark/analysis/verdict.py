"""The verdict on a grid: one word and one sentence from the claims, by the rule in `judgement`."""

from __future__ import annotations

from collections.abc import Sequence

from liger_benchmark.analysis.claims import (
    EXCEEDED,
    INCOMPLETE,
    NO_RESULT,
    NOT_ENOUGH_REPEATS,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    UNDECIDED,
    Claim,
    claim_of,
)
from liger_benchmark.wording import batch_sizes


def overall_verdict(claims: Sequence[Claim]) -> str:
    """The verdict on the grid, by the rule in the docstring of `judgement`."""
    judgements = [claim.judgement for claim in claims]
    ranges = {claim_of(claims, "throughput").judgement, claim_of(claims, "memory").judgement}
    if ranges == {NOT_TESTED}:
        return NOT_ENOUGH_REPEATS if any(c.lacks_repeats for c in claims) else NOT_TESTED
    for worst in (NOT_REPRODUCED, INCOMPLETE, UNDECIDED):
        if worst in judgements:
            return worst
    if NOT_TESTED in ranges:
        return NOT_TESTED
    return EXCEEDED if ranges == {EXCEEDED} else REPRODUCED


def verdict_sentence(claims: Sequence[Claim]) -> str:
    """The verdict as a sentence, with the batch sizes at which a claim does not hold."""
    verdict = overall_verdict(claims)
    if verdict not in (NOT_REPRODUCED, INCOMPLETE, UNDECIDED):
        return {
            EXCEEDED: "The published gains are exceeded.",
            REPRODUCED: "The published gains are reproduced.",
            NOT_ENOUGH_REPEATS: (
                "Not enough repeats for a verdict: each condition needs two at least."
            ),
        }.get(verdict, "The published gains were not tested.")
    nowhere = all(claim.fails_at == claim.judged_at for claim in claims)
    start = {
        NOT_REPRODUCED: "The published gains are not reproduced "
        + ("at any batch size" if nowhere else "everywhere"),
        INCOMPLETE: "No verdict, since the grid is incomplete",
        UNDECIDED: "Whether the published gains are reproduced is undecided",
    }[verdict]
    return f"{start}: {', '.join(_where(claims))}."


def _where(claims: Sequence[Claim]) -> list[str]:
    """What does not hold, or is not known, at which batch sizes."""
    speed, memory = claim_of(claims, "throughput"), claim_of(claims, "memory")
    where = []
    for claim, name in ((speed, "speed"), (memory, "memory")):
        if claim.fails_at:
            where.append(f"{name} falls short at {batch_sizes(claim.fails_at)}")
        if claim.undecided_at:
            where.append(f"{name} is undecided at {batch_sizes(claim.undecided_at)}")
    if incomplete := sorted({size for claim in claims for size in claim.incomplete_at}):
        where.append(f"{NO_RESULT} {batch_sizes(incomplete)}")
    if sizes := claim_of(claims, "out_of_memory").fails_at:
        where.append(f"Liger too runs out of memory at {batch_sizes(sizes)}")
    return where
