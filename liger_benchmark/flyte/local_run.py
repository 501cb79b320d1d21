"""What the tasks of one grid share while they run in one process: progress, and what was returned.

On a cluster every condition has a pod of its own, and nothing is shared. Neither of Flyte's SDKs is
imported here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.report.progress import Progress

# Local results lie in the project, where they last; those of both SDKs are temporary.
BUILD = Path(__file__).resolve().parents[2] / "build"


@dataclass
class GridRun:
    """A grid that runs in this process.

    Attributes:
        grid: its conditions; empty in a pod, which knows only its own.
        progress: prints where the grid is.
        returned: the folders of the runs that were returned, with their conditions.
    """

    grid: list[TrainingArguments] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    returned: dict[Path, TrainingArguments] = field(default_factory=dict)


_current: ContextVar[GridRun | None] = ContextVar("grid_run", default=None)


@contextlib.contextmanager
def grid_run(grid: list[TrainingArguments]) -> Iterator[GridRun]:
    """Make `grid` the one that runs in this process, inside the block."""
    run = GridRun(grid)
    run.progress.begin(len(grid))
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


def current_grid_run() -> GridRun:
    """The grid that runs in this process, or an empty one."""
    return _current.get() or GridRun()
