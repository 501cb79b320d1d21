"""How a local run that was typed as `pyflyte run` ends: what is printed, and what is not.

flytekit prints every output, and of an error its whole traceback. A script or a notebook, which
calls the workflow itself, is given outputs and errors as ever.
"""

from __future__ import annotations

import datetime
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from flytekit.core.workflow import PythonFunctionWorkflow

from liger_benchmark.flyte import local_run
from liger_benchmark.flyte.before_start import check_before_start
from liger_benchmark.flyte.credentials import MissingSecret
from liger_benchmark.flyte.disagreement import ExperimentStopped
from liger_benchmark.flyte.tracking import TrackingRefused
from liger_benchmark.run import UnreadableRun
from liger_benchmark.sources.hub import SourceUnavailable, causes_of
from liger_benchmark.training.isolated_process import ChildFailed, summary
from liger_benchmark.validation import InvalidInput, one_line

# Errors whose message says in one line what is wrong and what to do.
_OWN_ERRORS = (
    *(InvalidInput, SourceUnavailable, TrackingRefused, MissingSecret, UnreadableRun),
    ExperimentStopped,
)
# The exit status of a command that was interrupted, as shells have it: 128 + SIGINT.
INTERRUPTED = 130


class Unprinted(tuple[Any, ...]):
    """A workflow's outputs as the tuple that they are, without the text of all results."""

    def __str__(self) -> str:
        return ""


def ends_plainly(workflow: PythonFunctionWorkflow) -> PythonFunctionWorkflow:
    """Make a typed local run of the workflow end without a dump of outputs or tracebacks."""

    class Plain(type(workflow)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            if not is_typed():
                return super().__call__(*args, **kwargs)
            try:
                check_before_start(kwargs.get("training_args"))
                outputs = super().__call__(*args, **kwargs)
            except (KeyboardInterrupt, SystemExit) as error:
                if not local_run.is_interruption(error):
                    raise
                raise SystemExit(INTERRUPTED) from None
            except Exception as error:
                line = own_error(error)
                if line is None:
                    raise
                raise SystemExit(f"{line} (traceback: {_keep_traceback(error)})") from None
            return Unprinted(outputs) if isinstance(outputs, tuple) else outputs

    workflow.__class__ = Plain
    return workflow


def is_typed() -> bool:
    """Whether this call comes from `pyflyte run` or `union run` rather than from a script."""
    command = sys.modules.get("flytekit.clis.sdk_in_container.run")
    return command is not None and command.click.get_current_context(silent=True) is not None


def own_error(error: BaseException) -> str | None:
    """The error in one line, if it is one of ours or was caused by one; else None."""
    for cause in causes_of(error):
        if isinstance(cause, ChildFailed):
            return summary(cause)
        if isinstance(cause, _OWN_ERRORS):
            # flytekit puts the task's name before the message.
            text = re.sub(r"Error encountered while \w+ (inputs of )?'[^']*':\s*", "", str(cause))
            return one_line(text, limit=None)
    return None


def _keep_traceback(error: BaseException) -> Path | str:
    """Write the traceback into a file; its path, or why there is none."""
    now = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    path = local_run.BUILD / "errors" / f"{now}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError as problem:
        return f"not written, {one_line(problem)}"
    return path
