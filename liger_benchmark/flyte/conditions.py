"""A condition as a task runs it: found finished, or trained, tracked and kept."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from flytekit.exceptions.base import FlyteException
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

from image_spec import GPU_KIND, MEMORY
from liger_benchmark import files, store
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.flyte import failures, tracking
from liger_benchmark.flyte.local_run import (
    GridRun,
    current_grid_run,
    is_local,
    keeps_runs,
    storage,
)
from liger_benchmark.report.progress import describe
from liger_benchmark.report.result_folder import publish_part
from liger_benchmark.run import FAILED, Run, UnreadableRun, write_run
from liger_benchmark.training import dry_pass, environment
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import summary
from liger_benchmark.validation import InvalidInput

# What torch, transformers, trl and CUDA take of a training pod's memory beside the weights, in GiB.
IMPORTS_GIB = 4.0
_UNITS = {
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


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
    grid.progress.condition_begins(arguments.condition, arguments.max_steps)
    store.clear_failure(storage(), arguments)
    run = store.finished(folder) if keeps_runs() else None
    reused = run is not None
    if run is None:
        try:
            run = store.run_and_keep(
                folder,
                partial(_train_and_log, arguments, dataset_folder, model_folder),
                overwrite=not keeps_runs(),
            )
        except Exception as error:
            grid.progress.condition_ends(f"failed: {summary(error)}")
            store.keep_failure(storage(), arguments, error, tracking.address() | failures.attempt())
            _publish_so_far(grid, failures.failed_run(arguments, 0, None))
            raise
    how = describe(run) + (" (kept from an earlier run)" if reused else "")
    grid.progress.condition_ends(how, reused)
    grid.returned[folder] = arguments
    _publish_so_far(grid, run, reused)
    return folder, run


def is_kept(
    arguments: TrainingArguments, dataset_folder: FlyteDirectory, model_folder: FlyteDirectory
) -> bool:
    """Whether this machine keeps the condition's result, so that nothing has to be trained."""
    if not keeps_runs():
        return False
    folders = [Path(folder.download()) for folder in (dataset_folder, model_folder)]
    return store.finished(store.run_folder(storage(), arguments, *folders)) is not None


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
        gpu = GPU_KIND
    preflight.check_model(grid, config)
    # From the end, since an interrupted grid lacks its last runs.
    if is_local() and not all(
        is_kept(each, dataset_folder, model_folder) for each in reversed(grid)
    ):
        _dry_pass(grid, Path(dataset_folder.download()), Path(model_folder.download()))
    if estimate.config_at_hand(grid[0].model_name) is None:
        print(estimate.expected(grid, config, gpu), flush=True)


def check_pod_memory(grid: Sequence[TrainingArguments], config: Mapping[str, Any]) -> None:
    """Refuse a grid whose model's weights do not fit into a training pod's memory.

    The weights are counted whole, though most formats are read piece by piece on their way to the
    GPU. A model whose size `config.json` does not tell is not checked.

    Raises:
        InvalidInput: naming the variable to set.
    """
    parameters = estimate.n_parameters(config)
    if parameters is None:
        return
    weights = (
        parameters * (2 if all(arguments.has_bf16_weights for arguments in grid) else 4) / 2**30
    )
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", MEMORY).groups()  # type: ignore[union-attr]
    if float(number) * _UNITS.get(unit, 1) / 2**30 < weights + IMPORTS_GIB:
        raise InvalidInput(
            f"LIGER_BENCHMARK_MEMORY: {MEMORY} cannot hold the model's weights "
            f"({weights:.1f} GiB) and what a training pod imports ({IMPORTS_GIB:.0f} GiB); "
            f"register with {math.ceil(weights + IMPORTS_GIB)}Gi or more"
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


def _publish_so_far(grid: GridRun, run: Run, reused: bool = False) -> None:
    """Write the page of what has ended, so that a long or interrupted grid can be looked at.

    A grid of one machine only: a pod knows its own condition alone. A page that cannot be written
    costs a line and no run.
    """
    grid.ended.append(run)
    is_last = len(grid.ended) == len(grid.grid)
    if not is_local() or not grid.grid or reused or (is_last and run.outcome != FAILED):
        return
    try:
        folder = store.experiment_folder(storage(), grid.grid)
        with files.lock(folder):
            for ended in grid.ended:
                write_run(folder / "runs" / ended.training_args.slug, ended)
            grid.page = publish_part(analyse(grid.ended), folder, len(grid.grid))
    except Exception as error:
        grid.progress.note(f"the page so far could not be written: {summary(error)}")


def _train_and_log(
    arguments: TrainingArguments, dataset_folder: Path, model_folder: Path, output_folder: Path
) -> Run:
    """Train, passing every step's figures and the outcome on to W&B if it tracks this condition."""
    if not is_local():
        _dry_pass([arguments], dataset_folder, model_folder)

    def on_row(row: dict[str, Any]) -> None:
        tracking.log_row(row)
        current_grid_run().progress.step_ends()

    run = run_condition(arguments, dataset_folder, model_folder, output_folder, on_row=on_row)
    run.record |= tracking.log_outcome(run.outcome) | failures.attempt()
    return run


def _dry_pass(grid: list[TrainingArguments], dataset_folder: Path, model_folder: Path) -> None:
    for line in dry_pass.check_grid(grid, dataset_folder, model_folder):
        print(line, flush=True)
