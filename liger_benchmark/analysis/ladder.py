"""A grid whose arms each add something to the one before: what every step of it brings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.comparison import compare
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.experiment.grid import ADDS
from liger_benchmark.run import Run


def is_ladder(arms: Sequence[str]) -> bool:
    """Whether each arm but the first is named as an addition to the one before, as the grid does.

    Args:
        arms: in the order in which they are shown.
    """
    first, others = arms[0], arms[1:]
    return bool(others) and not first.startswith(ADDS) and all(a.startswith(ADDS) for a in others)


def in_a_sentence(arm: str) -> str:
    """An arm's name as a sentence has it: a step's own is `+ Liger`."""
    return f"{arm.removeprefix(ADDS)} (with the steps before it)" if arm.startswith(ADDS) else arm


def compare_steps(
    runs: Sequence[Run], runs_table: pd.DataFrame, memory_column: str, arms: Sequence[str]
) -> pd.DataFrame:
    """One row for each batch size and each arm but the first, against the arm before it.

    Columns: those of `MeasuredGrid.comparison`, and `previous`, the arm before. Without rows unless
    the arms are a ladder.
    """
    rows = [compare(runs, runs_table, memory_column, arms[0], ()).assign(previous="")]
    if is_ladder(arms):
        rows = [
            compare(runs, runs_table, memory_column, before, [arm]).assign(previous=before)
            for before, arm in zip(arms, arms[1:], strict=False)
        ]
    steps = pd.concat(rows, ignore_index=True)
    return steps.sort_values(BATCH_SIZE, kind="stable", ignore_index=True)
