"""The section on a cumulative ablation: what each addition brings, as a table and a waterfall."""

from __future__ import annotations

from typing import Any

import pandas as pd

from liger_benchmark.analysis.ladder import is_ladder
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.figures.waterfall import waterfall
from liger_benchmark.report.markup import (
    Cell,
    Column,
    arm_cell,
    figure,
    heading,
    integer_cell,
    number_cell,
    table,
    text_in_number_column,
)
from liger_benchmark.report.outcomes import outcome_words
from liger_benchmark.report.table import memory_name
from liger_benchmark.wording import NO_VALUE, gibibytes, known, number, percent_range, signed


def step_by_step(analysis: Analysis) -> str:
    """The section; empty unless the grid's arms are a ladder and one of them has a result."""
    if not is_ladder(analysis.arms) or not analysis.cells["n_completed"].any():
        return ""
    cells = analysis.cells
    columns = [
        Column("Step"),
        Column("Batch size", True),
        Column("Tokens/s", True),
        Column("Faster than the step before", True),
        Column("GiB", True),
        Column("Less memory than the step before", True),
    ]
    shown = []
    for size in sorted(cells[BATCH_SIZE].unique()):
        for arm in analysis.arms:
            of_cell = cells[(cells["arm"] == arm) & (cells[BATCH_SIZE] == size)]
            if not of_cell.empty:
                shown.append(_row(analysis, of_cell.iloc[0], arm, int(size)))
    size = size_shown(cells)
    of_size = cells[cells[BATCH_SIZE] == size].set_index("arm")
    return (
        heading("Step by step", "steps")
        + figure(
            "steps",
            f"Waterfall of tokens per second and {memory_name(analysis).lower()} at batch size "
            f"{size}, a bar for each step.",
            f"Batch size {size}. Each bar begins where the one before ended; lines: 95% intervals.",
            waterfall(of_size, analysis.arms, memory_name(analysis).lower()),
        )
        + table(
            "Each step has all settings of those before it. Gains are against the step before, "
            "with their 95% intervals.",
            columns,
            shown,
            "dense",
        )
    )


def size_shown(cells: pd.DataFrame) -> int:
    """The batch size of the figure: the largest at which the most steps completed."""
    done = cells[cells["n_completed"] > 0].groupby(BATCH_SIZE)["arm"].nunique()
    return int(done[done == done.max()].index.max())


def _row(analysis: Analysis, cell: pd.Series, arm: str, size: int) -> list[Cell]:
    steps = analysis.steps
    gains = steps[(steps["arm"] == arm) & (steps[BATCH_SIZE] == size)]
    gain: Any = gains.iloc[0] if len(gains) else None
    speed = number_cell(cell["tokens_per_second"], number)
    if not cell["n_completed"]:
        speed = text_in_number_column(outcome_words(cell))
    return [
        arm_cell(arm),
        integer_cell(size),
        speed,
        gain_cell(gain, "speedup"),
        number_cell(cell["peak_memory_MB"], lambda mb: gibibytes(mb, 2)),
        gain_cell(gain, "memory_saving"),
    ]


def gain_cell(gain: Any, name: str) -> Cell:
    """A gain of a row of `MeasuredGrid.comparison` with its interval; a dash without one."""
    if gain is None or not known(gain[f"{name}_percent"]):
        return text_in_number_column(NO_VALUE)
    value, low, high = (gain[f"{name}_{part}"] for part in ("percent", "low", "high"))
    detail = percent_range(low, high, 1) if known(low) else "one repeat"
    return number_cell(value, lambda percent: f"{signed(percent)}%", detail)
