"""The table of a grid's cells: for each arm and batch size the outcomes and the means."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.intervals import Interval, interval_columns, mean_interval
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.columns import (
    AVG_LOOP_TOKENS_PER_SECOND,
    AVG_REAL_TOKENS_PER_SECOND,
    AVG_TOKENS_PER_SECOND,
    TOTAL_PEAK_ALLOCATED_MB,
)
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY


def table_of_cells(
    runs_table: pd.DataFrame, memory_column: str, arms: Sequence[str]
) -> pd.DataFrame:
    """One row for each arm and batch size that was run, by batch size, then in the order of `arms`.

    Columns: see `MeasuredGrid.cells`.
    """
    rows = []
    for (arm, size), of_cell in runs_table.groupby(["arm", BATCH_SIZE]):
        outcomes = of_cell["outcome"]
        rows.append(
            {
                "arm": arm,
                BATCH_SIZE: size,
                "n_runs": len(of_cell),
                "n_completed": int((outcomes == COMPLETED).sum()),
                "n_out_of_memory": int((outcomes == OUT_OF_MEMORY).sum()),
                "n_failed": int((outcomes == FAILED).sum()),
                **_mean_with_interval("tokens_per_second", of_cell[AVG_TOKENS_PER_SECOND]),
                "invalid": of_cell["invalid"].iloc[0],
                **_mean_with_interval("peak_memory_MB", of_cell[memory_column]),
                "loop_tokens_per_second": of_cell[AVG_LOOP_TOKENS_PER_SECOND].mean(),
                "real_tokens_per_second": of_cell[AVG_REAL_TOKENS_PER_SECOND].mean(),
                "allocated_memory_MB": of_cell[TOTAL_PEAK_ALLOCATED_MB].mean(),
                "mfu": of_cell["mfu"].mean(),
                "energy_J_per_token": of_cell["energy_J_per_token"].mean(),
            }
        )
    rows.sort(key=lambda row: (row[BATCH_SIZE], arms.index(row["arm"])))
    return pd.DataFrame(rows)


def _mean_with_interval(name: str, values: pd.Series) -> dict[str, float]:
    """The columns `name`, `name_low` and `name_high`; NaN where there is no value or interval."""
    values = values.dropna()
    interval = mean_interval(list(values)) if len(values) else Interval(float("nan"), None, None, 0)
    return {name: interval.mean, **interval_columns(name, interval.low, interval.high)}
