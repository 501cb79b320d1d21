"""Reading one row of a table, and writing a grid as a result folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from liger_benchmark.run import Run, write_run


def row(frame: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def write_grid(folder: Path, runs: list[Run]) -> Path:
    for run in runs:
        write_run(folder / "runs" / run.training_args.slug, run)
    return folder
