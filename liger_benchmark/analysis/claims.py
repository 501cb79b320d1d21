"""The claims of the blog, and what becomes of one when a grid is judged against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from liger_benchmark.wording import WIDEST_INTERVAL, percent_range

REPRODUCED = "reproduced"
EXCEEDED = "exceeded"
NOT_REPRODUCED = "not reproduced"
UNDECIDED = "undecided"
INCOMPLETE = "incomplete"
NOT_TESTED = "not tested"
NOT_ENOUGH_REPEATS = "not enough repeats"
# Of batch sizes that are incomplete, to be followed by them.
NO_RESULT = "an arm failed, is invalid or is missing at"

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
        judgement: "reproduced", "exceeded", "not reproduced", "undecided", "incomplete" or "not
            tested".
        not_tested_because: why the grid as a whole cannot test any claim; empty if it can.
        lacks_repeats: whether it was not tested only because every condition ran once.
        judged_at: the batch sizes it was judged at.
        fails_at: those of them at which it does not hold.
        undecided_at: those of them at which it is undecided.
        incomplete_at: those at which it could not be judged because an arm failed or is invalid.
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
    undecided_at: tuple[int, ...] = ()
    incomplete_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class Published:
    """A claim of the blog, before it is judged; see `Claim`."""

    kind: ClaimKind
    name: str
    text: str

    def judged(self, measured: str, judgement: str, **details: Any) -> Claim:
        """The claim with what was measured and how it is judged; `details` are `Claim`'s."""
        return Claim(self.kind, self.name, self.text, measured, judgement, **details)


@dataclass(frozen=True)
class PublishedRange(Published):
    """A claim with a range.

    Attributes:
        column: the gain's column in the comparison, without `_percent`, `_low` or `_high`.
        bounds: the range's ends in percent.
    """

    column: str
    bounds: tuple[float, float]


THROUGHPUT = PublishedRange(
    "throughput",
    "Throughput",
    f"+{percent_range(*PUBLISHED_SPEEDUP, 0)}",
    "speedup",
    PUBLISHED_SPEEDUP,
)
MEMORY = PublishedRange(
    "memory",
    "Peak reserved memory",
    f"{percent_range(*PUBLISHED_MEMORY_SAVING, 0)} less",
    "memory_saving",
    PUBLISHED_MEMORY_SAVING,
)
OUT_OF_MEMORY = Published(
    "out_of_memory", "Out of memory", "Liger trains where vanilla runs out of memory"
)


def claim_of(claims: Sequence[Claim], kind: ClaimKind) -> Claim:
    """The claim of a kind.

    Raises:
        StopIteration: if there is none.
    """
    return next(claim for claim in claims if claim.kind == kind)


def against_range(value: float, low: float, high: float, published: tuple[float, float]) -> str:
    """Where a gain with the interval `low` to `high` lies to the published range.

    Returns:
        "above" or "below" if the whole interval does; "undecided" if the interval is wider than
        `WIDEST_INTERVAL`, includes zero, or reaches the range from below; else "within".
    """
    least, most = published
    if high - low > WIDEST_INTERVAL:
        return "undecided"
    if high < least:
        return "below"
    if value < least or low <= 0:
        return "undecided"
    return "above" if low > most else "within"
