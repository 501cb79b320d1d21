"""A condition as a task runs it: found finished, or trained, tracked and kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from flytekit.exceptions.base import FlyteException
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

from image_spec import GPU_KIND
from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.flyte import tracking
from liger_benchmark.flyte.local_run import current_grid_run, is_local, storage
from liger_benchmark.report.progress import describe
from liger_benchmark.run import FAILED, Run, UnreadableRun, read_run, write_run
from liger_benchmark.training import dry_pass, environment
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import summary


class Result(Protocol):
    """What `collect_results` reads of a `TrainingResult`."""

    training_history: FlyteFile
    record: FlyteFile


def run_or_reuse(
    arguments: TrainingArguments, dataset_folder: Path, model_folder: Path
) -> tuple[Path, Run]:
    """The condition's finished run and its folder; trained now unless this machine keeps it.

    Raises:
        ChildFailed: if training failed. The reason is kept for the report.
    """
    grid = current_grid_run()
    folder = store.run_folder(storage(), arguments, dataset_folder, model_folder)
    grid.progress.condition_begins(arguments.condition)
    store.clear_failure(storage(), arguments)
    run = store.finished(folder)
    reused = run is not None
    if run is None:
        try:
            run = store.run_and_keep(
                folder, partial(_train_and_log, arguments, dataset_folder, model_folder)
            )
        except Exception as error:
            grid.progress.condition_ends(f"failed: {summary(error)}")
            store.keep_failure(storage(), arguments, error, tracking.address())
            raise
    how = describe(run) + (" (kept from an earlier run)" if reused else "")
    grid.progress.condition_ends(how, reused)
    grid.returned[folder] = arguments
    return folder, run


def is_kept(
    arguments: TrainingArguments, dataset_folder: FlyteDirectory, model_folder: FlyteDirectory
) -> bool:
    """Whether this machine keeps the condition's result, so that nothing has to be trained."""
    folders = [Path(folder.download()) for folder in (dataset_folder, model_folder)]
    return store.finished(store.run_folder(storage(), arguments, *folders)) is not None


def check_and_announce(
    grid: list[TrainingArguments], dataset_folder: FlyteDirectory, model_folder: FlyteDirectory
) -> None:
    """Refuse what only the downloads could tell, and say how long the grid will take.

    On a cluster the dry pass is left to the training tasks: the dynamic task has no room for it.

    Raises:
        InvalidInput: if the rows do not fit the format, or the model lacks what an arm asks for.
    """
    config = estimate.config_in(Path(model_folder.download())) or {}
    preflight.check_model(grid, config)
    # From the end, since an interrupted grid lacks its last runs.
    if is_local() and not all(
        is_kept(each, dataset_folder, model_folder) for each in reversed(grid)
    ):
        _dry_pass(grid, Path(dataset_folder.download()), Path(model_folder.download()))
    if estimate.config_at_hand(grid[0].model_name) is None:
        gpu = environment.visible_gpu() if is_local() else GPU_KIND
        print(estimate.expected(grid, config, gpu), flush=True)


def replace_missing_runs() -> None:
    """Put a failed run where a returned one is gone: flytekit would refuse all results for it."""
    for folder, arguments in current_grid_run().returned.items():  # none on a cluster
        store.replace_missing_run(folder, arguments)


def collect_results(
    results: Sequence[Result | None], grid: Sequence[TrainingArguments], folder: Path
) -> None:
    """Bring every condition's history and record into the experiment's `folder`, under `runs/`.

    A result whose files are gone or damaged is shown as failed, and costs no other its place.
    """
    for arguments, result in zip(grid, results, strict=True):
        to = folder / "runs" / arguments.slug
        try:
            _collect(arguments, result, to)
        except (OSError, FlyteException, UnreadableRun) as error:
            write_run(to, store.lost_run(arguments, error))


def _collect(arguments: TrainingArguments, result: Result | None, to: Path) -> None:
    if result is not None:
        record = Path(result.record.download())
        history = Path(result.training_history.download())
        store.copy_run(history, record, to)
        return
    failure = store.failure_folder(storage(), arguments)
    write_run(to, read_run(failure) if failure.is_dir() else Run(arguments, FAILED))


def _train_and_log(
    arguments: TrainingArguments, dataset_folder: Path, model_folder: Path, output_folder: Path
) -> Run:
    """Train, passing every step's figures and the outcome on to W&B if it tracks this condition."""
    if not is_local():
        _dry_pass([arguments], dataset_folder, model_folder)
    run = run_condition(
        arguments, dataset_folder, model_folder, output_folder, on_row=tracking.log_row
    )
    run.record |= tracking.log_outcome(run.outcome)
    return run


def _dry_pass(grid: list[TrainingArguments], dataset_folder: Path, model_folder: Path) -> None:
    for line in dry_pass.check_grid(grid, dataset_folder, model_folder):
        print(line, flush=True)
