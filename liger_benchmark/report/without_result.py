"""The cells of a grid with runs that failed or ran out of memory, or that are invalid, and why."""

from __future__ import annotations

from collections.abc import Iterator

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.markup import escape, heading, items
from liger_benchmark.run import FAILED, OUT_OF_MEMORY
from liger_benchmark.validation import one_line
from liger_benchmark.wording import plural

_ANCHOR = "failed"


def without_result(analysis: Analysis) -> str:
    """The list, with its heading; empty where every run completed and is valid."""
    texts = [
        *_ended(analysis, FAILED, "failed"),
        *_ended(analysis, OUT_OF_MEMORY, "out of memory"),
        *(caveat.text for caveat in analysis.caveats if caveat.kind == "invalid"),
    ]
    if not texts:
        return ""
    return heading("Failed, out of memory or invalid", _ANCHOR) + items(texts, "failed")


def link_to_without_result(analysis: Analysis) -> str:
    """A link to the list that counts its cells: `2 cells out of memory, 1 invalid`."""
    cells = analysis.cells
    counts = (
        (int((cells["n_failed"] > 0).sum()), "failed"),
        (int((cells["n_out_of_memory"] > 0).sum()), "out of memory"),
        (int((cells["invalid"] != "").sum()), "invalid"),
    )
    there = [(count, word) for count, word in counts if count]
    if not there:
        return ""
    (count, word), *others = there
    parts = [f"{plural(count, 'cell')} {word}", *(f"{n} {what}" for n, what in others)]
    return f'<a href="#{_ANCHOR}">{escape(", ".join(parts))}</a>'


def _ended(analysis: Analysis, outcome: str, words: str) -> Iterator[str]:
    """For each cell its runs that ended so, with the first reason that is known."""
    frame = analysis.runs_table
    ended = frame[frame["outcome"] == outcome]
    for (arm, size), rows in ended.groupby(["arm", BATCH_SIZE], sort=False):
        reason = one_line(str(rows["detail"].iloc[0]), limit=200)
        yield f"{arm} at batch size {size}: {plural(len(rows), 'run')} {words}; {reason}"
