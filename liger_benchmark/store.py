"""Finished runs on this machine, found again by all that could have changed them.

A grid that was interrupted re-runs only what is missing, and a failure is tried again. On a
cluster this is Flyte's cache; a local map task bypasses it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.code_version import code_digest
from liger_benchmark.files import atomic_file, atomic_folder
from liger_benchmark.run import (
    FAILED,
    HISTORY_FILE,
    RECORD_FILE,
    Run,
    UnreadableRun,
    read_run,
    write_run,
)
from liger_benchmark.sources.fetch import fingerprint
from liger_benchmark.training.environment import package_versions, visible_gpu
from liger_benchmark.training.isolated_process import ChildFailed, error_of
from liger_benchmark.validation import one_line

MODEL_FOLDER = "model"


def run_folder(
    root: Path, arguments: TrainingArguments, dataset_folder: Path, model_folder: Path
) -> Path:
    """The folder for a run: its name tells the condition, its key what else could change it.

    The key covers every training argument, the model's and the dataset's files, the code, the
    installed versions and the GPU.
    """
    # The tracker changes nothing about a run; its figures can be had again without it.
    settings = dataclasses.asdict(arguments) | {"report_to": ""}
    key = _digest(
        settings,
        fingerprint(dataset_folder),
        fingerprint(model_folder),
        code_digest(),
        platform.python_version(),
        package_versions(),
        visible_gpu(),
    )
    return root / "runs" / f"{arguments.slug}-{key}"


def failure_folder(root: Path, arguments: TrainingArguments) -> Path:
    """Where the reason of a condition's last failure is kept."""
    return root / "failed" / f"{arguments.slug}-{_digest(dataclasses.asdict(arguments))}"


def keep_failure(
    root: Path, arguments: TrainingArguments, error: Exception, tracked: dict[str, str]
) -> None:
    """Keep why a condition failed, the steps it had finished, and where it was `tracked`.

    If it cannot be written, as on the full disk that made the condition fail, that costs the reason
    in the report; the error itself is the caller's to raise.
    """
    history = pd.DataFrame(error.rows if isinstance(error, ChildFailed) else ())
    run = Run(arguments, FAILED, history, {"error": error_of(error)} | tracked)
    with contextlib.suppress(OSError):
        write_run(failure_folder(root, arguments), run)


def clear_failure(root: Path, arguments: TrainingArguments) -> None:
    """Forget why the condition failed the last time: it is tried again."""
    shutil.rmtree(failure_folder(root, arguments), ignore_errors=True)


def experiment_folder(root: Path, grid: list[TrainingArguments]) -> Path:
    """The folder of a grid's report: the same for the same grid."""
    key = _digest([dataclasses.asdict(arguments) for arguments in grid])
    return root / "results" / f"{grid[0].model_slug}-{key}"


def finished(folder: Path) -> Run | None:
    """The run that `folder` holds, or None if it has to run (again)."""
    try:
        run = read_run(folder)
    except UnreadableRun:
        return None
    return None if run.outcome == FAILED else run


def run_and_keep(folder: Path, train: Callable[[Path], Run]) -> Run:
    """Call `train(output_folder)` and keep the run it returns, with what it wrote, in `folder`.

    If an experiment beside this one has finished the same run meanwhile, that one stays and is
    returned: it may have been counted already.
    """
    with atomic_folder(folder, keep=lambda old, new: finished(old) is not None) as partial:
        run = train(partial / MODEL_FOLDER)
        (partial / MODEL_FOLDER).mkdir(exist_ok=True)
        write_run(partial, run)
    return finished(folder) or run


def lost_run(arguments: TrainingArguments, why: object) -> Run:
    """A run that was finished and whose files are gone or damaged: shown as failed."""
    message = f"its files are gone or damaged: {one_line(why)}; run it again"
    return Run(arguments, FAILED, record={"error": {"type": "ResultLost", "message": message}})


def replace_missing_run(folder: Path, arguments: TrainingArguments) -> None:
    """Put a failed run where a finished one was and is gone.

    flytekit refuses all of an experiment's results for one whose files are not there.
    """
    missing = [
        name for name in (MODEL_FOLDER, HISTORY_FILE, RECORD_FILE) if not (folder / name).exists()
    ]
    if missing:
        (folder / MODEL_FOLDER).mkdir(parents=True, exist_ok=True)
        write_run(folder, lost_run(arguments, f"{missing[0]} is missing in {folder.name}"))


def copy_run(history: Path, record: Path, folder: Path) -> None:
    """Copy a run's two files into `folder`, the record last.

    Raises:
        UnreadableRun: if what was copied is not a run: cut short, or damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((history, HISTORY_FILE), (record, RECORD_FILE)):
        with atomic_file(folder / name) as partial:
            shutil.copyfile(source, partial)
    read_run(folder)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
