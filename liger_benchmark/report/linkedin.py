"""LinkedIn's own claims that the grid fits: what they say, what came out here, what differs."""

from __future__ import annotations

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.report.blog import judgement_cell
from liger_benchmark.report.markup import Cell, Column, items, table


def linkedin_section(analysis: Analysis) -> str:
    """A table of the claims, and the differences of each; empty if the grid fits none."""
    if not analysis.linkedin:
        return ""
    rows = []
    for judged in analysis.linkedin:
        of = judged.claim
        where = f"{of.model} at batch size {of.batch_size}, {of.source}"
        for claim in (judged.speed, judged.memory):
            rows.append(
                [
                    Cell(where),
                    Cell(claim.name),
                    Cell(claim.published),
                    Cell(claim.measured),
                    judgement_cell(claim),
                ]
            )
    columns = [Column(n) for n in ("Of", "Claim", "Published", "Measured here", "Judgement")]
    differences = [
        f"{judged.claim.source}: {'; '.join(judged.differences)}." for judged in analysis.linkedin
    ]
    caption = "What LinkedIn reports for this model and method, and what this grid shows"
    return table(caption, columns, rows, "words") + items(differences, "failed")
