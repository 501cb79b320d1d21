"""The section on Liger against the same without, where arms do different work."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.ladder import gain_cell
from liger_benchmark.report.markup import (
    Cell,
    Column,
    arm_cell,
    heading,
    integer_cell,
    number_cell,
    table,
    text_in_number_column,
)
from liger_benchmark.report.outcomes import no_gain, outcome_words
from liger_benchmark.wording import gibibytes, known, number


def liger_against_the_same(analysis: Analysis) -> str:
    """The section; empty unless several arms with Liger have a counterpart of other work."""
    pairs = analysis.counterparts
    if pairs.empty:
        return ""
    cells = analysis.cells.set_index(["arm", BATCH_SIZE])
    columns = [
        Column("Arm"),
        Column("Batch size", True),
        Column("Tokens/s without", True),
        Column("with Liger", True),
        Column("Speed-up", True),
        Column("GiB without", True),
        Column("with Liger", True),
        Column("Saving", True),
    ]
    rows = []
    for _, pair in pairs.iterrows():
        size = int(pair[BATCH_SIZE])
        found = [cells.loc[arm, size] for arm in (pair["counterpart"], pair["arm"])]
        speeds = [_speed(cell) for cell in found]
        memory = [number_cell(c["peak_memory_MB"], lambda mb: gibibytes(mb, 2)) for c in found]
        rows.append(
            [
                arm_cell(pair["arm"]),
                integer_cell(size),
                *speeds,
                _gain(pair, found),
                *memory,
                gain_cell(pair, "memory_saving"),
            ]
        )
    return heading("Liger against the same without", "counterparts") + table(
        "Each arm with Liger beside the arm that has all of its other settings. Gains with their "
        "95% intervals.",
        columns,
        rows,
        "dense",
    )


def _gain(pair: pd.Series, found: Sequence[pd.Series]) -> Cell:
    if known(pair["speedup_percent"]):
        return gain_cell(pair, "speedup")
    without, with_liger = (cell.to_dict() for cell in found)
    return text_in_number_column(no_gain(with_liger, without, "Liger", "the other"))


def _speed(cell: pd.Series) -> Cell:
    if not cell["n_completed"]:
        return text_in_number_column(outcome_words(cell))
    return number_cell(cell["tokens_per_second"], number)
