"""What the tasks of an experiment share while they run in one process: grid, progress, results.

On a cluster every condition has a pod of its own, and nothing is shared.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liger_benchmark import folders, store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte.side_by_side import SideBySide
from liger_benchmark.report.page import PAGE_NAME
from liger_benchmark.report.progress import Progress
from liger_benchmark.run import Run
from liger_benchmark.training.row_check import check_rows
from liger_benchmark.wording import plural

# Not the SDKs' own folders for a local run, which are temporary.
BUILD = folders.BUILD


@dataclass
class GridRun:
    """A grid that runs in this process.

    Attributes:
        grid: its conditions; empty in a pod, which knows only its own.
        progress: prints where the grid is.
        kept: the folders of runs that were finished before this grid began.
        returned: the folders of the runs that were returned, with their conditions.
        ended: the runs that have ended, failed ones too, in order.
        page: the page of these; None as long as there is none.
        side_by_side: the conditions that run at the same time; None if they take turns.
        lock: held while what is shared is changed.
        stopped: why the conditions that are left are not run; empty as long as they are.
        wandb_unreachable: why W&B could not be reached by a condition; None if it could.
    """

    grid: list[TrainingArguments] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    kept: set[Path] = field(default_factory=set)
    returned: dict[Path, TrainingArguments] = field(default_factory=dict)
    ended: list[Run] = field(default_factory=list)
    page: Path | None = None
    side_by_side: SideBySide | None = None
    lock: Any = field(default_factory=threading.RLock)
    stopped: str = ""
    wandb_unreachable: str | None = None

    def stop(self) -> None:
        """End what still runs, and the progress bar."""
        if self.side_by_side is not None:
            self.side_by_side.stop()
        self.progress.end()


@dataclass
class Experiment:
    """An experiment that runs in this process, from its downloads to its report.

    Attributes:
        grid: its conditions.
        run: their run, once that has begun.
        told: whether an interruption was told already.
    """

    grid: list[TrainingArguments]
    run: GridRun | None = None
    told: bool = False


_current: ContextVar[GridRun | None] = ContextVar("grid_run", default=None)
_experiment: ContextVar[Experiment | None] = ContextVar("experiment", default=None)


@contextlib.contextmanager
def experiment(grid: list[TrainingArguments]) -> Iterator[None]:
    """Make `grid` that of the experiment that runs in this process, inside the block."""
    running = Experiment(grid)
    token = _experiment.set(running)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if is_interruption(error) and not running.told:
            print(_what_is_kept(running.run or GridRun()), flush=True)
        raise
    finally:
        _experiment.reset(token)


def is_interruption(error: BaseException) -> bool:
    """Whether this is a Ctrl-C, of which flytekit's handler of the signal makes `exit(1)`."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code == 1
    )


def checked_rows(dataset_folder: Path) -> Path:
    """The folder of a fetched dataset, if its rows are what the experiment here asks for.

    In a pod, which does not know the experiment, nothing is checked.

    Raises:
        InvalidInput: as `check_rows`.
    """
    running = _experiment.get()
    if running is not None:
        check_rows(dataset_folder, running.grid)
    return dataset_folder


@contextlib.contextmanager
def grid_run(grid: list[TrainingArguments]) -> Iterator[GridRun]:
    """Make `grid` the one that runs in this process, inside the block."""
    run, running = GridRun(grid), _experiment.get() or Experiment(grid)
    running.run = run
    run.progress.begin(len(grid))
    token = _current.set(run)
    try:
        yield run
    except (KeyboardInterrupt, SystemExit) as error:
        run.stop()
        if is_interruption(error):
            running.told = True
            print(_what_is_kept(run), flush=True)
        raise
    finally:
        run.stop()
        _current.reset(token)


def _what_is_kept(run: GridRun) -> str:
    """What an interrupted grid leaves, in a line or two."""
    kept, goes_on = run.kept | set(run.returned), "the same command goes on"
    if not kept:
        return f"Interrupted before a run ended: what was downloaded is kept, and {goes_on}."
    of = f"{len(kept)} of {plural(len(run.grid), 'run')}"
    others = " with the others" if len(kept) < len(run.grid) else ""
    text = f"Interrupted: {of} are kept, and {goes_on}{others}."
    page = run.page or store.experiment_folder(BUILD, run.grid) / PAGE_NAME
    return f"{text}\nThe page so far: {page}" if page.is_file() else text


def current_grid_run() -> GridRun:
    """The grid that runs in this process, or an empty one."""
    return _current.get() or GridRun()
