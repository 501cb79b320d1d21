"""The blog's claims: whether they are about this grid at all, and how each of them fares."""

from __future__ import annotations

from liger_benchmark.analysis.claims import Claim
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.analysis.verdict import verdict_sentence
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    LIGER,
    VANILLA,
)
from liger_benchmark.report.markup import Cell, Column, escape, paragraph, table

BLOG_MODEL = "Phi-3 mini"
# What the blog's method is, beside the model and the two arms.
_METHOD = ("max_seq_length", "optim", "bf16", "gradient_accumulation_steps", "n_gpus")
_MARKS = {
    "reproduced": "yes",
    "exceeded": "more",
    "not reproduced": "no",
    "undecided": "maybe",
    "incomplete": "part",
}


def claims_apply(analysis: Analysis) -> bool:
    """Whether the grid is of the blog's model, trained by its method, with both of its arms."""
    return not why_not_judged(analysis)


def claims_section(analysis: Analysis) -> str:
    """The verdict with a row for each claim, or in one line why none is judged."""
    reason = why_not_judged(analysis)
    if reason:
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


def why_not_judged(analysis: Analysis) -> str:
    """Why the claims cannot be judged on this grid; empty if they can."""
    reason = analysis.claims[0].not_tested_because
    if reason:
        return reason
    blog = TrainingArguments()
    other = [
        name
        for name in _METHOD
        for run in analysis.runs
        if run.training_args.arm in (LIGER, VANILLA)
        and getattr(run.training_args, name) != getattr(blog, name)
    ]
    if analysis.model != BLOG_MODEL or other:
        return (
            f"they are about {BLOG_MODEL} at {blog.max_seq_length} tokens a sequence, in bf16 with "
            "SGD, and this grid is about something else"
        )
    return ""
