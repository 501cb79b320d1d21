"""Arms with Liger, each against the arm that is the same without.

Where an axis changes the work itself, such as the length of sequences, one baseline for all arms
says little: Liger at 16,384 tokens is to be held against vanilla at 16,384 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from liger_benchmark.analysis.arms import arguments_by_arm, same_gradients, settings_of
from liger_benchmark.analysis.comparison import compare
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE, EFFECTIVE_WITH
from liger_benchmark.run import Run

# Liger itself, and what is without effect unless it is on.
_LIGERS_OWN = {"use_liger", *(axis for axis, of in EFFECTIVE_WITH.items() if of == "use_liger")}


def counterparts(arms: Mapping[str, TrainingArguments]) -> dict[str, str]:
    """For each arm with Liger the arm that has its other settings and no Liger, if there is one."""

    def others(args: TrainingArguments) -> dict[str, object]:
        settings = settings_of(args).items()
        return {axis: value for axis, value in settings if axis not in _LIGERS_OWN}

    without = {arm: others(args) for arm, args in arms.items() if not args.use_liger}
    found: dict[str, str] = {}
    for arm, args in arms.items():
        same = [other for other, settings in without.items() if settings == others(args)]
        if args.use_liger and same:
            found[arm] = same[0]
    return found


def compare_counterparts(
    runs: Sequence[Run], runs_table: pd.DataFrame, memory_column: str, baseline: str
) -> pd.DataFrame:
    """One row for each batch size and each arm with Liger that has a counterpart.

    Columns: those of `MeasuredGrid.comparison`, and `counterpart`. Without rows unless there are
    two such arms and one of them does other work than the baseline.
    """
    arms = arguments_by_arm(runs)
    pairs = counterparts(arms)
    rows = [compare(runs, runs_table, memory_column, baseline, ()).assign(counterpart="")]
    if len(pairs) > 1 and not all(same_gradients(arms[arm], arms[baseline]) for arm in pairs):
        rows = [
            compare(runs, runs_table, memory_column, other, [arm]).assign(counterpart=other)
            for arm, other in pairs.items()
        ]
    found = pd.concat(rows, ignore_index=True)
    return found.sort_values(BATCH_SIZE, kind="stable", ignore_index=True)
