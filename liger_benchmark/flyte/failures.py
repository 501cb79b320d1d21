"""Why a condition failed: kept by its task, and found again by the analysis.

On one machine the reason lies with the finished runs. On a cluster Flyte leaves None in the place
of a failed element of the map task, and its console shows no error at that index. A training pod
therefore puts its failure beside the model's folder in the blob store, an address that the analysis
is given, too. It begins with the record of a pod that ended without a word: a pod that is killed
writes nothing more.

A pod that never started writes nothing at all, and what lies there then is an earlier execution's.
It is shown only if this execution has not run the grid, but was given it by Flyte's cache.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flytekit import current_context
from flytekit.core.context_manager import FlyteContextManager
from flytekit.types.directory import FlyteDirectory

from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte.cache_versions import TRAINING_VERSION
from liger_benchmark.flyte.execution import is_local, storage
from liger_benchmark.run import FAILED, Run, read_run, write_run
from liger_benchmark.validation import one_line

ENDED = {
    "type": "PodEnded",
    "message": "the pod left neither a result nor an error; the usual reasons are that it was "
    "killed for memory or disk, evicted, or lost with its node",
}
# The folder of the marks of executions that have run a grid.
EXECUTIONS = "executions"
NO_REASON = {
    "type": "NoReason",
    "message": "no reason was left; usually the pod never started, or ended before its task began; "
    "see the task's log",
}


def attempt() -> dict[str, Any]:
    """For a record on a cluster: the `execution`, and `attempt`, which try of its pod this is.

    The first try is 1. Flyte tries a pod again that was killed, maybe on another node: that is a
    run of its own.
    """
    if is_local():
        return {}
    number = os.environ.get("FLYTE_ATTEMPT_NUMBER", "")
    counted = {"attempt": int(number) + 1} if number.isdigit() else {}
    return {"execution": _execution()} | counted


def grid_begins(model_folder: FlyteDirectory) -> None:
    """In the dynamic task's pod, leave a mark that this execution runs the grid itself."""
    base = _base(model_folder)
    if base is not None:
        mark = Path(current_context().working_directory) / "mark"
        mark.mkdir(parents=True, exist_ok=True)
        (mark / _execution()).touch()
        _put(mark, f"{base}/{EXECUTIONS}")


@contextlib.contextmanager
def kept(arguments: TrainingArguments, model_folder: FlyteDirectory) -> Iterator[None]:
    """Keep the reason if the block raises; in a pod also if it never ends.

    An earlier reason is gone when the block begins. Whatever the block raises goes on.
    """
    address = None if is_local() else _address(arguments, model_folder)
    store.clear_failure(storage(), arguments)
    if address is not None:
        begun = Run(arguments, FAILED, record={"error": ENDED} | attempt())
        _put(write_run(Path(current_context().working_directory) / "begun", begun), address)
    try:
        yield
    except Exception as error:
        folder = store.failure_folder(storage(), arguments)
        if not folder.is_dir():  # it failed before the training
            store.keep_failure(storage(), arguments, error, attempt())
        if address is not None:
            _put(folder, address)
        raise


def failed_run(
    arguments: TrainingArguments, index: int, model_folder: FlyteDirectory | None
) -> Run:
    """The run of a condition that has no result, with its reason if there is one.

    Args:
        index: its place in the map task. A reason from a cluster names it, and whose it is.

    Raises:
        UnreadableRun: if the reason is damaged.
    """
    if is_local():
        return store.last_failure(storage(), arguments)
    run = _get(arguments, model_folder)
    of_another = run is not None and run.record.get("execution") != _execution()
    if run is None or (of_another and _has_run_the_grid(model_folder)):
        run, of_another = Run(arguments, FAILED, record={"error": NO_REASON}), False
    error: dict[str, Any] = run.record.get("error", NO_REASON)
    where = f"index {index} of the map task"
    if "attempt" in run.record:
        where += f", attempt {run.record['attempt']}"
    if of_another:
        where += f", execution {run.record.get('execution', 'unknown')}"
    run.record["error"] = error | {"message": f"{error['message']} ({where})"}
    return run


def _execution() -> str:
    return str(current_context().execution_id.name)


def _base(model_folder: FlyteDirectory | None) -> str | None:
    """Where the failures on a model lie in the blob store; None if the model is not there."""
    if model_folder is None or not model_folder.remote_source:
        return None
    return f"{model_folder.remote_source.rstrip('/')}-failed/{TRAINING_VERSION}"


def _address(arguments: TrainingArguments, model_folder: FlyteDirectory | None) -> str | None:
    """Where a condition's failure lies in the blob store; None if the model is not there."""
    base = _base(model_folder)
    return None if base is None else f"{base}/{store.failure_folder(Path(), arguments).name}"


def _has_run_the_grid(model_folder: FlyteDirectory | None) -> bool:
    """Whether this execution has run a grid on the model, rather than found it in the cache."""
    files = FlyteContextManager.current_context().file_access
    try:
        return bool(files.exists(f"{_base(model_folder)}/{EXECUTIONS}/{_execution()}"))
    except Exception:  # each blob store has errors of its own
        return False


def _put(folder: Path, address: str) -> None:
    """Upload a folder. That it cannot be is said, and costs nothing but the reason.

    Each blob store has errors of its own, which have no class in common.
    """
    try:
        files = FlyteContextManager.current_context().file_access
        files.put_data(str(folder), address, is_multipart=True)
    except Exception as error:
        sys.stderr.write(f"the reason of a failure cannot be kept: {one_line(error)}\n")


def _get(arguments: TrainingArguments, model_folder: FlyteDirectory | None) -> Run | None:
    """The failure that was kept; None if there is none or it cannot be read."""
    address = _address(arguments, model_folder)
    if address is None:
        return None
    folder = storage() / "failed" / address.rpartition("/")[2]
    try:
        files = FlyteContextManager.current_context().file_access
        files.get_data(address, str(folder), is_multipart=True)
        return read_run(folder)
    except Exception as error:
        sys.stderr.write(f"{arguments.condition}: no reason was found: {one_line(error)}\n")
        return None
