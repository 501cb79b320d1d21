"""A run and its two files on disk: `history.csv` and `record.json` in one folder.

The layout is the same in `build/`, in a cluster's storage and in `results/`. The record is written
last and atomically, so a folder without a readable `record.json` holds no run.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.files import atomic_file
from liger_benchmark.validation import one_line

HISTORY_FILE = "history.csv"
RECORD_FILE = "record.json"
FORMAT = 1

COMPLETED = "completed"
OUT_OF_MEMORY = "out_of_memory"
FAILED = "failed"
OUTCOMES = (COMPLETED, OUT_OF_MEMORY, FAILED)


class UnreadableRun(ValueError):
    """A folder does not hold a complete, undamaged run. The message is one line."""


@dataclass
class Run:
    """The result of training one condition of the grid once.

    Attributes:
        training_args: the settings of the run.
        outcome: `completed`, `out_of_memory` (counts as a measurement) or `failed` (does not).
        history: one row per finished optimisation step, in order.
        record: everything else, as JSON values: `phases` in seconds, `liger`, `weights`, `dataset`,
            `environment`, `out_of_memory`, `error`, `after_last_step` (what failed after the last
            step of a completed run, by where). A part that does not apply is no key.
    """

    training_args: TrainingArguments
    outcome: str
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    record: dict[str, Any] = field(default_factory=dict)


def tries(run: Run) -> int:
    """How often the run's pod was started on a cluster, until this one; 1 elsewhere."""
    return int(run.record.get("attempt", 1))


def write_run(folder: str | Path, run: Run) -> Path:
    """Write a run's two files into `folder`, the record last, and return the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / HISTORY_FILE) as partial:
        run.history.to_csv(partial, index=False)
    record = {
        "format": FORMAT,
        "training_args": asdict(run.training_args),
        "outcome": run.outcome,
        "n_history_rows": len(run.history),
        **run.record,
    }
    with atomic_file(folder / RECORD_FILE) as partial:
        partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def read_run(folder: str | Path) -> Run:
    """Read the run that `folder` holds.

    Raises:
        UnreadableRun: if a file is missing, truncated, or of another format.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"{RECORD_FILE} is not a mapping")
        if record.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        training_args = TrainingArguments.from_mapping(record.pop("training_args"))
        outcome = record.pop("outcome")
        if outcome not in OUTCOMES:
            raise ValueError(f"unknown outcome {outcome!r}")
        n_rows = record.pop("n_history_rows")
        history = _read_history(folder / HISTORY_FILE)
        if len(history) != n_rows:
            raise ValueError(f"{HISTORY_FILE} has {len(history)} rows of {n_rows}")
    except FileNotFoundError as error:
        raise UnreadableRun(f"{folder.name}: {Path(error.filename).name} is missing") from None
    except KeyError as error:
        raise UnreadableRun(f"{folder.name}: {RECORD_FILE} lacks {error}") from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UnreadableRun(f"{folder.name}: {one_line(error, limit=None)}") from None
    return Run(training_args, outcome, history, record)


def _read_history(path: Path) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):  # the last number of the last row may be truncated
        raise ValueError(f"{path.name} is cut short")
    try:
        return pd.read_csv(io.StringIO(text))
    except pd.errors.EmptyDataError:  # raised for a file written from a frame without columns
        return pd.DataFrame()
