"""The page of a grid that still runs on this machine, written after each of its conditions."""

from __future__ import annotations

from liger_benchmark import files, store
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.flyte import local_run
from liger_benchmark.flyte.disagreement import compare_with_others
from liger_benchmark.flyte.local_run import GridRun
from liger_benchmark.report.result_folder import publish_part
from liger_benchmark.run import FAILED, Run, write_run
from liger_benchmark.training.isolated_process import summary


def publish_so_far(grid: GridRun, run: Run, reused: bool = False) -> None:
    """Write the page of what has ended, so that a long or interrupted grid can be looked at.

    Nothing is written in a pod, which knows its own condition alone. A page that cannot be written
    costs a line and no run.

    Args:
        run: the run that has just ended.
        reused: it was kept from an earlier grid.
    """
    with grid.lock:
        _add(grid, run, reused)


def _add(grid: GridRun, run: Run, reused: bool) -> None:
    grid.ended.append(run)
    was_stopped = compare_with_others(grid, run)
    is_last = len(grid.ended) == len(grid.grid)
    if not grid.grid or (reused and not was_stopped) or (is_last and run.outcome != FAILED):
        return
    _publish(grid)
    if was_stopped:
        grid.progress.note(f"the page: {grid.page}")


def publish_found(grid: GridRun) -> None:
    """Write the page of the runs that a resumed grid has found, before it trains its first one."""
    with grid.lock:
        if grid.grid and grid.ended and grid.page is None:
            _publish(grid)


def _publish(grid: GridRun) -> None:
    try:
        folder = store.experiment_folder(local_run.BUILD, grid.grid)
        with files.lock(folder):
            for ended in grid.ended:
                write_run(folder / "runs" / ended.training_args.slug, ended)
            grid.page = publish_part(analyse(grid.ended), folder, len(grid.grid))
    except Exception as error:
        grid.progress.note(f"the page so far could not be written: {summary(error)}")
