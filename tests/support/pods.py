"""A pod of Flyte, for code that asks where it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from flytekit.core.context_manager import ExecutionState, FlyteContextManager
from flytekit.models.core.identifier import WorkflowExecutionIdentifier

from liger_benchmark.flyte import pod_limits


@contextmanager
def pod(working_directory: Path) -> Iterator[None]:
    """Flyte's context as a task has it in its pod, which has no limits and no GPU."""
    context = FlyteContextManager.current_context()
    assert context.user_space_params is not None
    parameters = context.user_space_params.new_builder()
    parameters.execution_id = WorkflowExecutionIdentifier("flytesnacks", "development", "a1b2c3")
    parameters.working_dir = str(working_directory)
    state = context.new_execution_state().with_params(
        mode=ExecutionState.Mode.TASK_EXECUTION, user_space_params=parameters.build()
    )
    with (
        patch.object(pod_limits, "CGROUPS", working_directory / "cgroups"),
        patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": ""}),
        FlyteContextManager.with_context(context.with_execution_state(state)),
    ):
        yield
