"""What flytekit prints at the end of `pyflyte run`: nothing, in place of every result."""

from __future__ import annotations

import sys
from typing import Any

from flytekit.core.workflow import PythonFunctionWorkflow


class Unprinted(tuple[Any, ...]):
    """A workflow's outputs as the tuple that they are, without the text of all results."""

    def __str__(self) -> str:
        return ""


def prints_no_outputs(workflow: PythonFunctionWorkflow) -> PythonFunctionWorkflow:
    """Make `pyflyte run` print no outputs of a local run: the summary follows on its own.

    The command prints what calling the workflow returns. Scripts and notebooks are given the
    outputs as ever.
    """

    class Quiet(type(workflow)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            outputs = super().__call__(*args, **kwargs)
            if is_typed() and isinstance(outputs, tuple):
                return Unprinted(outputs)
            return outputs

    workflow.__class__ = Quiet
    return workflow


def is_typed() -> bool:
    """Whether this call comes from `pyflyte run` or `union run` rather than from a script."""
    command = sys.modules.get("flytekit.clis.sdk_in_container.run")
    return command is not None and command.click.get_current_context(silent=True) is not None
