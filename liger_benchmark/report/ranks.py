"""A table of what every rank of the grid's groups measured by itself."""

from __future__ import annotations

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.markup import (
    Cell,
    Column,
    arm_cell,
    folded,
    integer_cell,
    number_cell,
    table,
)
from liger_benchmark.wording import gibibytes, number

_MEMORY = ("total_peak_memory_reserved_MB", "total_peak_resident_set_MB")


def ranks_table(analysis: Analysis) -> str:
    """The table, folded; empty if no run was one of a group."""
    rows = []
    for run in analysis.runs:
        for rank, measured in enumerate(run.record.get("group", {}).get("ranks", [])):
            memory = next((measured[name] for name in _MEMORY if measured.get(name)), None)
            args = run.training_args
            rows.append(
                [
                    arm_cell(args.arm),
                    integer_cell(getattr(args, BATCH_SIZE)),
                    integer_cell(args.run),
                    integer_cell(rank),
                    number_cell(measured.get("avg_tokens_per_second"), number),
                    number_cell(memory, lambda mb: gibibytes(mb, 2)),
                    Cell((measured.get("gpu") or {}).get("uuid") or ""),
                ]
            )
    if not rows:
        return ""
    columns = [
        Column("Arm"),
        *(Column(name, True) for name in ("Batch size", "Run", "Rank", "Tokens/s", "GiB")),
        Column("GPU"),
    ]
    caption = "Every rank by itself. A run's speed is that of all ranks, its memory the largest."
    return folded(f"All {len(rows)} ranks", table(caption, columns, rows, "dense sortable"))
