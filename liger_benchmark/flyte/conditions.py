"""A condition as a task runs it: found finished, or trained, tracked and kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from flytekit.exceptions.base import FlyteException
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

from image_spec import GPU, resources
from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.experiment.grid import most_gpus
from liger_benchmark.flyte import failures, tracking
from liger_benchmark.flyte.disagreement import refuse_if_stopped
from liger_benchmark.flyte.execution import is_local, keeps_runs, storage
from liger_benchmark.flyte.local_run import current_grid_run
from liger_benchmark.flyte.page_so_far import publish_found, publish_so_far
from liger_benchmark.flyte.pod_memory import check_pod_memory
from liger_benchmark.flyte.settings import GPU_KIND, training_size
from liger_benchmark.flyte.side_by_side import devices_of_this_condition
from liger_benchmark.report.progress import Progress, describe
from liger_benchmark.run import Run, UnreadableRun, write_run
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
        ExperimentStopped: if the grid was stopped before.
    """
    grid = current_grid_run()
    refuse_if_stopped(grid, arguments)
    folder = _folder_of(arguments, dataset_folder, model_folder)
    name = arguments.condition
    grid.progress.condition_begins(name, arguments.max_steps)
    store.clear_failure(storage(), arguments)
    run = store.finished(folder) if keeps_runs() else None
    reused = run is not None
    if run is None:
        publish_found(grid)
        try:
            run = store.run_and_keep(
                folder,
                partial(_train_and_log, grid.progress, arguments, dataset_folder, model_folder),
                overwrite=not keeps_runs(),
            )
        except Exception as error:
            if grid.side_by_side is not None and grid.side_by_side.stopped:
                raise
            grid.progress.condition_ends(name, f"failed: {summary(error)}")
            store.keep_failure(storage(), arguments, error, tracking.address() | failures.attempt())
            if is_local():
                publish_so_far(grid, store.last_failure(storage(), arguments))
            raise
    how = describe(run) + (" (kept from an earlier run)" if reused else "")
    grid.progress.condition_ends(name, how, reused)
    grid.returned[folder] = arguments
    if is_local():
        publish_so_far(grid, run, reused)
    return folder, run


def is_kept(
    arguments: TrainingArguments, dataset_folder: FlyteDirectory, model_folder: FlyteDirectory
) -> bool:
    """Whether this machine keeps the condition's result, so that nothing has to be trained."""
    folders = (Path(folder.download()) for folder in (dataset_folder, model_folder))
    return keeps_runs() and bool(kept_runs([arguments], *folders))


def kept_runs(grid: list[TrainingArguments], dataset_folder: Path, model_folder: Path) -> set[Path]:
    """The folders of the grid's finished runs that this machine keeps."""
    if not keeps_runs():
        return set()
    of_grid = {_folder_of(each, dataset_folder, model_folder) for each in grid}
    return {folder for folder in of_grid if store.finished(folder) is not None}


def _folder_of(arguments: TrainingArguments, dataset_folder: Path, model_folder: Path) -> Path:
    devices = devices_of_this_condition()
    return store.run_folder(storage(), arguments, dataset_folder, model_folder, devices)


def check_and_announce(
    grid: list[TrainingArguments], dataset_folder: FlyteDirectory, model_folder: FlyteDirectory
) -> None:
    """Refuse what only the downloads could tell, and say how long the grid will take.

    On a cluster the dry pass is left to the training tasks, and of the model nothing but its
    `config.json` is fetched: the dynamic task has no room for more.

    Raises:
        InvalidInput: if the rows do not fit the format, the model lacks what an arm asks for, or a
            training pod has too little memory for it.
    """
    if is_local():
        config = estimate.config_in(Path(model_folder.download())) or {}
        gpu = environment.visible_gpu()
    else:
        file = FlyteFile.from_source(f"{model_folder.remote_source.rstrip('/')}/config.json")
        config = estimate.config_in(Path(file.download()).parent) or {}
        check_pod_memory(grid, config)
        failures.grid_begins(model_folder)
        gpu = GPU_KIND
    preflight.check_model(grid, config)
    if is_local():
        sources = Path(dataset_folder.download()), Path(model_folder.download())
        kept = kept_runs(grid, *sources)
        current_grid_run().kept = kept
        if len(kept) < len(grid):
            _dry_pass(grid, *sources)
    if estimate.config_at_hand(grid[0].model_name) is None:
        print(estimate.expected(grid, config, gpu), flush=True)


def ask_for_gpus(mapped: Any, grid: Sequence[TrainingArguments]) -> None:
    """Give the pods of a map task the resources of a condition on several GPUs.

    On a cluster only. The pod runs torch's own launcher, as a local run does: flytekit's `Elastic`
    would start the whole task once a rank, W&B and uploads too, for nothing but the same launcher.

    Args:
        mapped: what calling the map task has returned.
    """
    n_gpus = most_gpus(grid)
    if is_local() or n_gpus == 1:
        return
    pod = training_size(n_gpus)
    stated = resources(pod)
    mapped.with_overrides(
        requests=stated, limits=stated, accelerator=GPU, shared_memory=pod.shared_memory
    )


def replace_missing_runs() -> None:
    """Put a failed run where a returned one is gone: flytekit would refuse all results for it."""
    for folder, arguments in current_grid_run().returned.items():  # none on a cluster
        store.replace_missing_run(folder, arguments)


def collect_results(
    results: Sequence[Result | None],
    grid: Sequence[TrainingArguments],
    folder: Path,
    model_folder: FlyteDirectory | None = None,
) -> None:
    """Bring every condition's history and record into the experiment's `folder`, under `runs/`.

    A result whose files are gone or damaged is shown as failed, and costs no other its place.

    Args:
        model_folder: the model that was trained on: failures on a cluster are kept beside it.
    """
    for index, (arguments, result) in enumerate(zip(grid, results, strict=True)):
        to = folder / "runs" / arguments.slug
        try:
            if result is None:
                write_run(to, failures.failed_run(arguments, index, model_folder))
            else:
                record = Path(result.record.download())
                history = Path(result.training_history.download())
                store.copy_run(history, record, to)
        except (OSError, FlyteException, UnreadableRun) as error:
            write_run(to, store.lost_run(arguments, error))


def _train_and_log(
    progress: Progress,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
) -> Run:
    """Train, passing every step's figures and the outcome on to W&B if it tracks this condition."""
    if not is_local():
        _dry_pass([arguments], dataset_folder, model_folder)

    def on_row(row: dict[str, Any]) -> None:
        tracking.log_row(row)
        progress.step_ends(arguments.condition)

    run = run_condition(
        *(arguments, dataset_folder, model_folder, output_folder),
        on_row=on_row,
        devices=devices_of_this_condition(),
    )
    run.record |= tracking.log_outcome(run.outcome) | failures.attempt()
    return run


def _dry_pass(grid: list[TrainingArguments], dataset_folder: Path, model_folder: Path) -> None:
    for line in dry_pass.check_grid(grid, dataset_folder, model_folder):
        print(line, flush=True)
