"""Where a task of Flyte 2 runs, and what follows: cache, files, checks, tracking, errors."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flyte
from flyte.io import Dir

from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.flyte import local_run, tracking
from liger_benchmark.flyte.cache_versions import TRAINING_VERSION
from liger_benchmark.flyte.conditions import is_kept
from liger_benchmark.flyte.local_run import current_grid_run
from liger_benchmark.flyte.settings import GPU_KIND, WANDB_ENTITY, WANDB_PROJECT
from liger_benchmark.training import dataset, environment
from liger_benchmark.training.isolated_process import ChildFailed


def is_local() -> bool:
    """Whether Flyte runs its tasks here, in this process, rather than in a pod."""
    context = flyte.ctx()
    return context is None or not context.is_in_cluster()


def storage() -> Path:
    """Where files go: `BUILD` in a local run, the pod's temporary folder on a cluster."""
    return local_run.BUILD if is_local() else Path(tempfile.gettempdir()) / "liger-benchmark"


def cached_on_cluster(task: flyte.TaskTemplate) -> flyte.TaskTemplate:
    """The task without its cache in a local run.

    Flyte's local cache hands out the paths of files, which may be gone. Finished runs and downloads
    are kept under `BUILD` instead.
    """
    return task.override(cache="disable") if is_local() else task


async def check_downloads(
    grid: list[TrainingArguments], dataset_cache_dir: Dir, model_cache_dir: Dir
) -> None:
    """Refuse what only the downloads could tell, and say how long the grid will take.

    On a cluster the rows are left to the training tasks, and of the model no more than its
    `config.json` is fetched.

    Raises:
        InvalidInput: if the rows do not fit the format, or the model lacks what an arm asks for.
    """
    if is_local():
        dataset.check_rows(Path(await dataset_cache_dir.download()), grid)
    config_file = await model_cache_dir.get_file("config.json")
    config = {}
    if config_file is not None:
        config = estimate.config_in(Path(await config_file.download()).parent) or {}
    preflight.check_model(grid, config)
    gpu = environment.visible_gpu() if is_local() else GPU_KIND
    print(estimate.expected(grid, config, gpu), flush=True)


@contextlib.contextmanager
def tracked(
    training_args: TrainingArguments, dataset_folder: Path, model_folder: Path
) -> Iterator[None]:
    """A W&B run inside the block, if the condition asks for one and has to be trained.

    Raises:
        TrackingRefused: if there is no API key, or W&B refuses it.
    """
    if training_args.report_to != "wandb" or is_kept(
        storage(), training_args, dataset_folder, model_folder
    ):
        yield
        return
    with tracking.wandb_run(
        training_args,
        project=WANDB_PROJECT,
        entity=WANDB_ENTITY,
        folder=storage(),
        **wandb_options(training_args),
    ):
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
