"""The blog's claims: whether they are about this grid at all, and how each of them fares."""

from __future__ import annotations

from liger_benchmark.analysis.claims import Claim
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.analysis.verdict import verdict_sentence
from liger_benchmark.report.markup import Cell, Column, escape, paragraph, table

_MARKS = {
    "reproduced": "yes",
    "exceeded": "more",
    "not reproduced": "no",
    "undecided": "maybe",
    "incomplete": "part",
}


def claims_apply(analysis: Analysis) -> bool:
    """Whether the grid is the blog's experiment, see `analysis.judgement.why_not_judged`."""
    return not analysis.claims[0].not_tested_because


def claims_section(analysis: Analysis) -> str:
    """The verdict with a row for each claim, or in one line why none is judged."""
    if reason := analysis.claims[0].not_tested_because:
        return paragraph(f"The published gains were not tested: {reason}.", "note")
    rows = [
        [Cell(c.name), Cell(c.published), Cell(c.measured), judgement_cell(c)]
        for c in analysis.claims
    ]
    columns = [Column(name) for name in ("Claim", "Published", "Measured here", "Judgement")]
    caption = "What the blog reports, and what this grid shows"
    if len(analysis.arms) > 2:
        caption += " for Liger against vanilla"
    verdict = verdict_sentence(analysis.claims)
    return paragraph(verdict, "verdict") + table(caption, columns, rows, "words")


def judgement_cell(claim: Claim) -> Cell:
    """How a claim is judged, with its mark."""
    mark = _MARKS.get(claim.judgement, "none")
    return Cell(
        claim.judgement,
        markup=(
            f'<span class="judgement"><span class="mark mark-{mark}"></span>'
            f"{escape(claim.judgement)}</span>"
        ),
    )
