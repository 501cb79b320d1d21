"""Where a task of Flyte 2 runs, and what follows for its files and its cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

import flyte

from liger_benchmark.flyte import local_run


def is_local() -> bool:
    """Whether Flyte runs its tasks here, in this process, rather than in a pod."""
    context = flyte.ctx()
    return context is None or not context.is_in_cluster()


def storage() -> Path:
    """Where files go: `BUILD` in a local run, the pod's temporary folder on a cluster."""
    return local_run.BUILD if is_local() else Path(tempfile.gettempdir()) / "liger-benchmark"


def attempt() -> dict[str, int]:
    """For a record on a cluster: `attempt`, which try of its pod this is; the first is 1.

    A pod that is tried again, maybe on another node, makes a run of its own.
    """
    return {} if is_local() else {"attempt": flyte.ctx().attempt_number + 1}


def cached_on_cluster(task: flyte.TaskTemplate) -> flyte.TaskTemplate:
    """The task without its cache in a local run.

    Flyte's local cache hands out the paths of files, which may be gone. Finished runs and downloads
    are kept under `BUILD` instead.
    """
    return task.override(cache="disable") if is_local() else task
