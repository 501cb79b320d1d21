"""The cache of finished runs on this machine.

A run is found by a key over everything that can change its result. Starting an interrupted grid
again trains only the missing conditions, and those that failed. On a cluster Flyte's cache does
this; local map tasks bypass that cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.code_version import code_digest
from liger_benchmark.files import atomic_file, atomic_folder, lock
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
from liger_benchmark.training.environment import (
    gpu,
    package_versions,
    visible_devices,
    visible_gpu,
)
from liger_benchmark.training.environment_variables import variables_that_matter
from liger_benchmark.training.isolated_process import ChildFailed, error_of
from liger_benchmark.training.other_environment import environment_key
from liger_benchmark.validation import one_line

MODEL_FOLDER = "model"
EXPERIMENT_FILE = "experiment.json"


def run_folder(
    root: Path,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    devices: Sequence[str] | None = None,
) -> Path:
    """The folder of a run under `root`: `runs/`, the condition's name, and a key.

    The key is a hash of all training arguments but `report_to`, the files of model and dataset, the
    measuring code, the versions of Python and the packages, the environment variables that can
    change a measurement, every GPU that the condition runs on (its name, UUID, memory, driver and
    power limit), and the packages of the environment that the arguments name.

    Args:
        devices: the GPUs to take it from, by index or UUID; by default all that are visible.
    """
    devices = visible_devices() if devices is None else devices
    # A tracker does not change what is measured.
    settings = dataclasses.asdict(arguments) | {"report_to": ""}
    key = _digest(
        settings,
        fingerprint(dataset_folder),
        fingerprint(model_folder),
        code_digest(),
        platform.python_version(),
        package_versions(),
        variables_that_matter(),
        [gpu(device) for device in devices[: arguments.n_gpus]],
        environment_key(arguments),
    )
    return root / "runs" / f"{arguments.slug}-{key}"


def failure_folder(root: Path, arguments: TrainingArguments) -> Path:
    """The folder that records a condition's last failure."""
    return root / "failed" / f"{arguments.slug}-{_digest(dataclasses.asdict(arguments))}"


def keep_failure(
    root: Path, arguments: TrainingArguments, error: Exception, tracked: dict[str, Any]
) -> None:
    """Write a failed run: its error, the steps that it finished, and the keys of `tracked`.

    An error while writing, such as a full disk, is ignored: the report then lacks the reason. The
    caller raises `error` itself.
    """
    history = pd.DataFrame(error.rows if isinstance(error, ChildFailed) else ())
    run = Run(arguments, FAILED, history, {"error": error_of(error)} | tracked)
    with contextlib.suppress(OSError):
        write_run(failure_folder(root, arguments), run)


def last_failure(root: Path, arguments: TrainingArguments) -> Run:
    """The condition's last failure, without a reason if none was kept.

    Raises:
        UnreadableRun: if what was kept is damaged.
    """
    folder = failure_folder(root, arguments)
    return read_run(folder) if folder.is_dir() else Run(arguments, FAILED)


def clear_failure(root: Path, arguments: TrainingArguments) -> None:
    """Remove the record of the condition's last failure, before it is trained again."""
    shutil.rmtree(failure_folder(root, arguments), ignore_errors=True)


def experiment_folder(root: Path, grid: list[TrainingArguments]) -> Path:
    """The folder of a grid's report under `root`, `results/DATE-MODEL-GPU`; made if need be.

    A grid that was run before on a GPU of the same name has its folder already, from another day
    perhaps: the key in its `experiment.json` says so. A second experiment of one day, model and GPU
    has a number behind its name.
    """
    gpu_name = visible_gpu()
    key = _digest([dataclasses.asdict(arguments) for arguments in grid], gpu_name)
    results = root / "results"
    with lock(results):
        for file in sorted(results.glob(f"*/{EXPERIMENT_FILE}")):
            if not file.parent.is_symlink() and read_experiment_file(file.parent).get("key") == key:
                return file.parent
        device = re.sub(r"[^a-z0-9]+", "-", (gpu_name or "cpu").lower().removeprefix("nvidia "))
        name = f"{datetime.date.today().isoformat()}-{grid[0].model_slug}-{device.strip('-')}"
        numbered = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
        folder = next(results / n for n in numbered if not (results / n).exists())
        update_experiment_file(folder, {"key": key})
    return folder


def read_experiment_file(folder: Path) -> dict[str, Any]:
    """What `experiment.json` in a result folder holds; nothing if it is missing or damaged."""
    try:
        content = json.loads((folder / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def update_experiment_file(folder: Path, entries: dict[str, Any]) -> None:
    """Set entries of `experiment.json` in a result folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    content = read_experiment_file(folder) | entries
    with atomic_file(folder / EXPERIMENT_FILE) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def point_latest(folder: Path) -> None:
    """Let `latest` beside a result folder point to it.

    It is a symbolic link, or a text file with the folder's name where there are no such links.
    """
    latest = folder.parent / "latest"
    partial = latest.with_name(f".latest-{uuid.uuid4().hex[:8]}")
    try:
        partial.symlink_to(folder.name, target_is_directory=True)
        os.replace(partial, latest)
    except OSError:
        partial.unlink(missing_ok=True)
        with contextlib.suppress(OSError), atomic_file(latest) as file:
            file.write_text(f"{folder.name}\n", encoding="utf-8")


def finished(folder: Path) -> Run | None:
    """The run in `folder`, or None if it is missing, unreadable or failed."""
    try:
        run = read_run(folder)
    except UnreadableRun:
        return None
    return None if run.outcome == FAILED else run


def run_and_keep(folder: Path, train: Callable[[Path], Run], overwrite: bool = False) -> Run:
    """Call `train(output_folder)`, and store its run and what it wrote in `folder`.

    Args:
        overwrite: replace a finished run that is there already.

    Returns:
        The run. Unless it is to be overwritten, a run that another experiment has stored in the
        meantime is kept and returned, since it may already be part of a report.
    """

    def keep(old: Path, new: Path) -> bool:
        return not overwrite and finished(old) is not None

    with atomic_folder(folder, keep) as partial:
        run = train(partial / MODEL_FOLDER)
        (partial / MODEL_FOLDER).mkdir(exist_ok=True)
        write_run(partial, run)
    return finished(folder) or run


def lost_run(arguments: TrainingArguments, why: object) -> Run:
    """A failed run that stands for a finished one whose files are missing or damaged."""
    message = f"its files are gone or damaged: {one_line(why)}; run it again"
    return Run(arguments, FAILED, record={"error": {"type": "ResultLost", "message": message}})


def replace_missing_run(folder: Path, arguments: TrainingArguments) -> None:
    """Write a failed run into `folder` if files of the finished one are missing.

    flytekit would otherwise fail the whole experiment when it collects the results.
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
        UnreadableRun: if the copied files are truncated or damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((history, HISTORY_FILE), (record, RECORD_FILE)):
        with atomic_file(folder / name) as partial:
            shutil.copyfile(source, partial)
    read_run(folder)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
