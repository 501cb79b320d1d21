"""A condition as a task runs it: found finished, or trained, tracked and kept.

It serves the tasks of Flyte 1 and of Flyte 2, and imports the SDK of neither: `root` is the folder
where the caller keeps its files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, Protocol

from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.flyte import tracking
from liger_benchmark.flyte.local_run import current_grid_run
from liger_benchmark.flyte.settings import GPU_KIND
from liger_benchmark.report.progress import describe
from liger_benchmark.run import FAILED, Run, read_run, write_run
from liger_benchmark.training import dataset, environment
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import summary


class Downloadable(Protocol):
    """A folder of Flyte 1, as its tasks receive it."""

    def download(self) -> str:
        """Fetch it, if need be, and return the path of the local copy."""


class Result(Protocol):
    """What `collect_results` reads of a `TrainingResult`: two files of Flyte 1 or of Flyte 2."""

    training_history: Any
    record: Any


def run_or_reuse(
    root: Path, arguments: TrainingArguments, dataset_folder: Path, model_folder: Path
) -> tuple[Path, Run]:
    """The condition's finished run and its folder; trained now unless this machine keeps it.

    Raises:
        ChildFailed: if training failed. The reason is kept for the report.
    """
    grid = current_grid_run()
    folder = store.run_folder(root, arguments, dataset_folder, model_folder)
    grid.progress.condition_begins(arguments.condition)
    store.clear_failure(root, arguments)
    run = store.finished(folder)
    reused = run is not None
    if run is None:
        try:
            run = store.run_and_keep(
                folder, partial(_train_and_log, arguments, dataset_folder, model_folder)
            )
        except Exception as error:
            grid.progress.condition_ends(f"failed: {summary(error)}")
            store.keep_failure(root, arguments, error, tracking.address())
            raise
    how = describe(run) + (" (kept from an earlier run)" if reused else "")
    grid.progress.condition_ends(how, reused)
    grid.returned[folder] = arguments
    return folder, run


def is_kept(
    root: Path, arguments: TrainingArguments, dataset_folder: Path, model_folder: Path
) -> bool:
    """Whether this machine keeps the condition's result, so that nothing has to be trained."""
    return (
        store.finished(store.run_folder(root, arguments, dataset_folder, model_folder)) is not None
    )


def check_and_announce(
    grid: list[TrainingArguments],
    dataset_folder: Downloadable,
    model_folder: Downloadable,
    *,
    local: bool,
) -> None:
    """Refuse what only the downloads could tell, and say how long the grid will take.

    On a cluster the rows are left to the training tasks: the dynamic task has no room for them.

    Raises:
        InvalidInput: if the rows do not fit the format, or the model lacks what an arm asks for.
    """
    if local:
        dataset.check_rows(Path(dataset_folder.download()), grid)
    config = estimate.config_in(Path(model_folder.download())) or {}
    preflight.check_model(grid, config)
    if estimate.config_at_hand(grid[0].model_name) is None:
        gpu = environment.visible_gpu() if local else GPU_KIND
        print(estimate.expected(grid, config, gpu), flush=True)


def replace_missing_runs() -> None:
    """Put a failed run where a returned one is gone: flytekit would refuse all results for it."""
    for folder, arguments in current_grid_run().returned.items():  # none on a cluster
        store.replace_missing_run(folder, arguments)


def collect_results(
    root: Path,
    results: Sequence[Result | None],
    grid: Sequence[TrainingArguments],
    folder: Path,
    download: Callable[[Any], str] = methodcaller("download"),
) -> None:
    """Bring every condition's history and record into the experiment's `folder`, under `runs/`.

    A result whose files are gone or damaged is shown as failed, and costs no other its place.

    Args:
        download: fetches a file of a result and returns the path of the local copy.
    """
    for arguments, result in zip(grid, results, strict=True):
        to = folder / "runs" / arguments.slug
        try:
            _collect(root, arguments, result, to, download)
        # Each storage has errors of its own, and each SDK wraps them in others.
        except Exception as error:
            write_run(to, store.lost_run(arguments, error))


def _collect(
    root: Path,
    arguments: TrainingArguments,
    result: Result | None,
    to: Path,
    download: Callable[[Any], str],
) -> None:
    if result is not None:
        record = Path(download(result.record))
        history = Path(download(result.training_history))
        store.copy_run(history, record, to)
        return
    failure = store.failure_folder(root, arguments)
    write_run(to, read_run(failure) if failure.is_dir() else Run(arguments, FAILED))


def _train_and_log(
    arguments: TrainingArguments, dataset_folder: Path, model_folder: Path, output_folder: Path
) -> Run:
    """Train, passing every step's figures and the outcome on to W&B if it tracks this condition."""
    run = run_condition(
        arguments, dataset_folder, model_folder, output_folder, on_row=tracking.log_row
    )
    run.record |= tracking.log_outcome(run.outcome)
    return run
