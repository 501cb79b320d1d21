"""The conditions of a grid as tasks of Flyte 2 run them: checked, trained, tracked, collected."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import flyte
from flyte.io import Dir, File

from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.flyte import tracking
from liger_benchmark.flyte.cache_versions import TRAINING_VERSION
from liger_benchmark.flyte.disagreement import refuse_if_stopped
from liger_benchmark.flyte.local_run import current_grid_run
from liger_benchmark.flyte.page_so_far import publish_found, publish_so_far
from liger_benchmark.flyte.pod_limits import check_pod_limits
from liger_benchmark.flyte.pod_memory import check_pod_memory
from liger_benchmark.flyte.settings import GPU_KIND, WANDB_ENTITY, WANDB_PROJECT, training_size
from liger_benchmark.flyte2 import environments
from liger_benchmark.flyte2.execution import attempt, is_local, storage
from liger_benchmark.report.progress import Progress, describe
from liger_benchmark.run import Run, write_run
from liger_benchmark.training import dry_pass, environment
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import ChildFailed, summary
from liger_benchmark.validation import InvalidInput


class Result(Protocol):
    """What `collect_results` reads of a `TrainingResult`."""

    training_history: File
    record: File


def refuse_side_by_side(grid: Sequence[TrainingArguments]) -> None:
    """Refuse conditions at the same time: a local run of Flyte 2 runs them one after the other.

    Raises:
        InvalidInput: naming the setting.
    """
    if grid[0].parallel_conditions > 1:
        raise InvalidInput(
            "training_args.parallel_conditions: a local run of Flyte 2 runs one condition after "
            "the other; leave it out, or start liger_kernel_finetuning.py"
        )


async def check_downloads(
    grid: list[TrainingArguments], dataset_cache_dir: Dir, model_cache_dir: Dir
) -> None:
    """Refuse what only the downloads could tell, and say how long the grid will take.

    On a cluster the dry pass is left to the training tasks, and of the model nothing but its
    `config.json` is fetched.

    Raises:
        InvalidInput: if the rows do not fit the format, the model lacks what an arm asks for, or a
            training pod has too little memory for it.
    """
    config_file = await model_cache_dir.get_file("config.json")
    config = {}
    if config_file is not None:
        config = estimate.config_in(Path(await config_file.download()).parent) or {}
    if not is_local():
        check_pod_memory(grid, config)
    preflight.check_model(grid, config)
    if is_local():
        # A pod has a disk of its own; here an earlier run's reasons lie about.
        for arguments in grid:
            store.clear_failure(storage(), arguments)
        folders = [Path(await each.download()) for each in (dataset_cache_dir, model_cache_dir)]
        if not all(is_kept(arguments, *folders) for arguments in grid):
            _dry_pass(grid, *folders)
    gpu = environment.visible_gpu() if is_local() else GPU_KIND
    print(estimate.expected(grid, config, gpu), flush=True)


def pod_begins(arguments: TrainingArguments) -> None:
    """In a training pod, before anything is fetched: count its try, and compare its resources.

    Raises:
        PodCutDown: if it has less than its task states.
    """
    if not is_local():
        attempt()
        check_pod_limits(arguments.n_gpus)


def on_gpus(task: flyte.TaskTemplate, n_gpus: int) -> flyte.TaskTemplate:
    """The training task with the resources of a condition on several GPUs, on a cluster."""
    if is_local() or n_gpus == 1:
        return task
    return task.override(resources=environments.resources(training_size(n_gpus)))


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
    folder = store.run_folder(storage(), arguments, dataset_folder, model_folder)
    name = arguments.condition
    grid.progress.condition_begins(name, arguments.max_steps)
    store.clear_failure(storage(), arguments)
    run = store.finished(folder)
    reused = run is not None
    if run is None:
        publish_found(grid)
        try:
            run = store.run_and_keep(
                folder,
                partial(_train_and_log, grid.progress, arguments, dataset_folder, model_folder),
            )
        except Exception as error:
            grid.progress.condition_ends(name, f"failed: {summary(error)}")
            store.keep_failure(storage(), arguments, error, tracking.address() | attempt())
            publish_so_far(grid, store.last_failure(storage(), arguments))
            raise
    how = describe(run) + (" (kept from an earlier run)" if reused else "")
    grid.progress.condition_ends(name, how, reused)
    grid.returned[folder] = arguments
    publish_so_far(grid, run, reused)
    return folder, run


def is_kept(arguments: TrainingArguments, dataset_folder: Path, model_folder: Path) -> bool:
    """Whether this machine keeps the condition's result, so that nothing has to be trained."""
    folder = store.run_folder(storage(), arguments, dataset_folder, model_folder)
    return store.finished(folder) is not None


def collect_results(
    results: Sequence[Result | None], grid: Sequence[TrainingArguments], folder: Path
) -> None:
    """Bring every condition's history and record into the experiment's `folder`, under `runs/`.

    A result whose files are gone or damaged is shown as failed, and costs no other its place.
    """
    for arguments, result in zip(grid, results, strict=True):
        to = folder / "runs" / arguments.slug
        try:
            if result is None:
                write_run(to, store.last_failure(storage(), arguments))
            else:
                record = Path(result.record.download_sync())
                history = Path(result.training_history.download_sync())
                store.copy_run(history, record, to)
        # Each blob store has errors of its own, which have no class in common.
        except Exception as error:
            write_run(to, store.lost_run(arguments, error))


def keep_failures(
    root: Path, grid: Sequence[TrainingArguments], failures: Sequence[str | None]
) -> None:
    """Keep the error of each failed condition for the report, unless this machine has it already.

    On a cluster the error of a condition reaches the parent as text: the child's own traceback,
    whose last line names type and message.

    Args:
        failures: an error a condition, or None.
    """
    for arguments, text in zip(grid, failures, strict=True):
        if text is None or store.failure_folder(root, arguments).is_dir():
            continue
        last_line = (text.strip() or "failed without a message").splitlines()[-1]
        kind, separator, message = last_line.partition(": ")
        if not (separator and kind.replace(".", "").isidentifier()):
            kind, message = "Error", last_line
        error = {"type": kind.rpartition(".")[2], "message": message, "traceback": text}
        store.keep_failure(root, arguments, ChildFailed(error), {})


@contextlib.contextmanager
def tracked(
    training_args: TrainingArguments, dataset_folder: Path, model_folder: Path
) -> Iterator[None]:
    """A W&B run inside the block, if the condition asks for one and has to be trained.

    Raises:
        TrackingRefused: if there is no API key, or W&B refuses it.
    """
    grid = current_grid_run()
    is_tracked = training_args.report_to == "wandb" and not grid.stopped
    if not is_tracked or is_kept(training_args, dataset_folder, model_folder):
        yield
        return
    with tracking.wandb_run(
        training_args,
        project=WANDB_PROJECT,
        entity=WANDB_ENTITY,
        folder=storage(),
        unreachable=grid.wandb_unreachable,
        **wandb_options(training_args),
    ) as run:
        grid.wandb_unreachable = run.unreachable
        yield


def wandb_options(training_args: TrainingArguments) -> dict[str, Any]:
    """What a W&B run takes from Flyte: the experiment it belongs to and, on a cluster, the key."""
    if is_local():
        grid = current_grid_run().grid
        return {"group": tracking.experiment_name(training_args, grid, TRAINING_VERSION)}
    return {
        "group": flyte.ctx().action.run_name,
        "api_key": os.environ.get("WANDB_API_KEY"),
    }


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

    run = run_condition(arguments, dataset_folder, model_folder, output_folder, on_row=on_row)
    run.record |= tracking.log_outcome(run.outcome) | attempt()
    return run


def _dry_pass(grid: list[TrainingArguments], dataset_folder: Path, model_folder: Path) -> None:
    for line in dry_pass.check_grid(grid, dataset_folder, model_folder):
        print(line, flush=True)
