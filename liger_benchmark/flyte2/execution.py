"""Where a task of Flyte 2 runs, and what follows for its files and its cache."""

from __future__ import annotations

import functools
import itertools
import sys
import tempfile
from pathlib import Path

import flyte
import flyte.storage
from flyte.io import File

from liger_benchmark.flyte import local_run
from liger_benchmark.validation import one_line


def is_local() -> bool:
    """Whether Flyte runs its tasks here, in this process, rather than in a pod."""
    context = flyte.ctx()
    return context is None or not context.is_in_cluster()


def storage() -> Path:
    """Where files go: `BUILD` in a local run, the pod's temporary folder on a cluster."""
    return local_run.BUILD if is_local() else Path(tempfile.gettempdir()) / "liger-benchmark"


def attempt() -> dict[str, int]:
    """For a record on a cluster: `attempt`, which try of its pod this is; the first is 1.

    A pod that is tried again, maybe on another node, makes a run of its own. Flyte gives the tries
    after an error a number, and none to those after a pod that was killed
    (executor/pkg/controller/taskaction_controller.go, v2.0.43: `recordSystemError` leaves
    `Status.Attempts` as it is). Each pod therefore counts the marks of those before it.
    """
    if is_local():
        return {}
    context = flyte.ctx()
    marks = f"{context.run_base_dir.rstrip('/')}/{context.action.name}-pods"
    return {"attempt": max(_pods_until_this_one(marks), context.attempt_number + 1)}


@functools.cache
def _pods_until_this_one(marks: str) -> int:
    """How many pods of an action have begun, this one included, which leaves its mark.

    A blob store that refuses costs the count. Each has errors of its own.

    Args:
        marks: what the addresses of their marks begin with.
    """
    for number in itertools.count(1):
        address = f"{marks}/{number}"
        try:
            if not flyte.storage.exists_sync(address):
                with tempfile.NamedTemporaryFile() as mark:
                    mark.write(b"begun\n")
                    mark.flush()
                    File.from_local_sync(mark.name, remote_destination=address)
                return number
        except Exception as error:
            sys.stderr.write(f"the pod's tries cannot be counted: {one_line(error)}\n")
            return number
    raise AssertionError("the loop returns")


def cached_on_cluster(task: flyte.TaskTemplate) -> flyte.TaskTemplate:
    """The task without its cache in a local run.

    Flyte's local cache hands out the paths of files, which may be gone. Finished runs and downloads
    are kept under `BUILD` instead.
    """
    return task.override(cache="disable") if is_local() else task
