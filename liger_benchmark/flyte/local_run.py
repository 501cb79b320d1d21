"""What the tasks of one grid share while they run in one process: progress, and what was returned.

On a cluster every condition has a pod of its own, and nothing is shared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from liger_benchmark import folders
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.report.progress import Progress
from liger_benchmark.run import Run
from liger_benchmark.wording import plural

# Not the SDKs' own folders for a local run, which are temporary.
BUILD = folders.BUILD


@dataclass
class GridRun:
    """A grid that runs in this process.

    Attributes:
        grid: its conditions; empty in a pod, which knows only its own.
        progress: prints where the grid is.
        returned: the folders of the runs that were returned, with their conditions.
        ended: the runs that have ended, failed ones too, in order.
        page: the page of these; None as long as there is none.
        stopped: why the conditions that are left are not run; empty as long as they are.
        wandb_unreachable: why W&B could not be reached by a condition; None if it could.
    """

    grid: list[TrainingArguments] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    returned: dict[Path, TrainingArguments] = field(default_factory=dict)
    ended: list[Run] = field(default_factory=list)
    page: Path | None = None
    stopped: str = ""
    wandb_unreachable: str | None = None


_current: ContextVar[GridRun | None] = ContextVar("grid_run", default=None)


@contextlib.contextmanager
def grid_run(grid: list[TrainingArguments]) -> Iterator[GridRun]:
    """Make `grid` the one that runs in this process, inside the block."""
    run = GridRun(grid)
    run.progress.begin(len(grid))
    token = _current.set(run)
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):  # flytekit makes the second of a Ctrl-C
        run.progress.end()
        print(_what_is_kept(run), flush=True)
        raise
    finally:
        run.progress.end()
        _current.reset(token)


def _what_is_kept(run: GridRun) -> str:
    """What an interrupted grid leaves, in a line or two."""
    kept = f"{len(run.returned)} of {plural(len(run.grid), 'run')} are kept"
    text = f"Interrupted: {kept}, and the same command goes on with the others."
    return text if run.page is None else f"{text}\nThe page so far: {run.page}"


def current_grid_run() -> GridRun:
    """The grid that runs in this process, or an empty one."""
    return _current.get() or GridRun()
