"""Where a task of Flyte 1 runs: in this process, or in a pod."""

from __future__ import annotations

from pathlib import Path

from flytekit import current_context
from flytekit.configuration import LocalConfig
from flytekit.core.context_manager import FlyteContextManager

from liger_benchmark.flyte import local_run


def is_local() -> bool:
    """Whether Flyte runs its tasks here, in this process, rather than in a pod."""
    state = FlyteContextManager.current_context().execution_state
    return state is not None and state.is_local_execution()


def keeps_runs() -> bool:
    """Whether finished runs are used again: not after `pyflyte run --overwrite-cache`."""
    return not (is_local() and LocalConfig.auto().cache_overwrite)


def storage() -> Path:
    """Where files go: `BUILD` in a local run, the pod's working directory on a cluster."""
    return local_run.BUILD if is_local() else Path(current_context().working_directory)
