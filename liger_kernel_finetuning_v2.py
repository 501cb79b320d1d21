"""The blog's experiment on Flyte 2: the same downloads, runs, analysis and page as on Flyte 1.

    flyte run --local liger_kernel_finetuning_v2.py benchmarking_experiment \\
        --inputs_file examples/smoke_inputs.yaml
    flyte run liger_kernel_finetuning_v2.py benchmarking_experiment --inputs_file phi3_inputs.yaml

Only the tasks are written anew, for the SDK `flyte`; `liger_kernel_finetuning.py` is the same for
`flytekit`. The tasks stand in the order in which they run. Flyte 2 has no workflows: the parent
task at the end calls the others, and catches what goes wrong in them.
"""

import asyncio
import atexit
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import flyte
import flyte.report
import pandas as pd
from flyte.io import Dir, File

from liger_benchmark import files, folders, store
from liger_benchmark.analysis.result_folders import read_experiment
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import preflight
from liger_benchmark.experiment.grid import describe_grid, most_gpus
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.flyte.cache_versions import DOWNLOAD_VERSION, TRAINING_VERSION
from liger_benchmark.flyte.group_size import conditions_at_once
from liger_benchmark.flyte.local_run import grid_run
from liger_benchmark.flyte.settings import GPU_KIND
from liger_benchmark.flyte2 import environments
from liger_benchmark.flyte2.conditions import (
    check_downloads,
    collect_results,
    keep_failures,
    on_gpus,
    pod_begins,
    refuse_side_by_side,
    run_or_reuse,
    tracked,
)
from liger_benchmark.flyte2.execution import cached_on_cluster, is_local, storage
from liger_benchmark.report import terminal
from liger_benchmark.report.page import render_decks
from liger_benchmark.report.progress import replace_unprintable
from liger_benchmark.report.result_folder import publish
from liger_benchmark.run import HISTORY_FILE, RECORD_FILE
from liger_benchmark.sources import fetch
from liger_benchmark.training.environment import visible_gpu

# Libraries read where their caches lie when they are imported, which the tasks do.
folders.use_writable_caches()
replace_unprintable()


# ## Downloads
#
# Fetched once and cached. The cache's version is that of the code that downloads, and not Flyte's
# own hash of the task's few lines, which would miss a change in what they call.


@environments.download.task(cache=flyte.Cache("auto", version_override=DOWNLOAD_VERSION))
def download_dataset(
    dataset_name: str, dataset_config: str | None = None, dataset_split: str = "train"
) -> Dir:
    """Fetch a split of the dataset: from the Hub, a folder or file, or `builtin:instructions`."""
    part = (dataset_config, dataset_split)
    folder = storage() / "sources" / "dataset" / fetch.folder_name(dataset_name, *part)
    return Dir.from_local_sync(fetch.fetch_dataset(dataset_name, folder, *part))


@environments.download.task(cache=flyte.Cache("auto", version_override=DOWNLOAD_VERSION))
def download_model(model_name: str) -> Dir:
    """Fetch the model: from the Hub, a folder, or `builtin:phi3-mini` (an architecture)."""
    folder = storage() / "sources" / "model" / fetch.folder_name(model_name)
    return Dir.from_local_sync(fetch.fetch_model(model_name, folder))


async def download_sources(training_args: TrainingArguments) -> tuple[Dir, Dir]:
    """The dataset and the model of an experiment, fetched at the same time on a cluster."""
    dataset = cached_on_cluster(download_dataset).aio(
        training_args.dataset_name, training_args.dataset_config, training_args.dataset_split
    )
    model = cached_on_cluster(download_model).aio(training_args.model_name)
    if is_local():
        # Both would import transformers in two threads of this process, and meet it half imported.
        return await dataset, await model
    return await asyncio.gather(dataset, model)


# ## Training
#
# A condition is trained in a fresh process, since Liger patches transformers' classes for a whole
# process. Running out of GPU memory is a result, returned and cached like a finished run.
# Everything else that goes wrong is raised.


@dataclass(repr=False)
class TrainingResult:
    """What a training run leaves: `outcome` is `completed` or `out_of_memory`."""

    model_dir: Dir
    training_history: File
    training_args: TrainingArguments
    outcome: str
    record: File

    def __repr__(self) -> str:
        return f"<{self.training_args.condition}: {self.outcome}>"


@environments.training.task(cache=flyte.Cache("auto", version_override=TRAINING_VERSION))
def train_model(
    training_args: TrainingArguments, dataset_cache_dir: Dir, model_cache_dir: Dir
) -> TrainingResult:
    """Train one condition of the grid with trl's SFTTrainer, in a process of its own."""
    pod_begins(training_args)
    dataset_folder = Path(dataset_cache_dir.download_sync())
    model_folder = Path(model_cache_dir.download_sync())
    with tracked(training_args, dataset_folder, model_folder):
        folder, run = run_or_reuse(training_args, dataset_folder, model_folder)
    return TrainingResult(
        model_dir=Dir.from_local_sync(folder / store.MODEL_FOLDER),
        training_history=File.from_local_sync(folder / HISTORY_FILE),
        training_args=training_args,
        outcome=run.outcome,
        record=File.from_local_sync(folder / RECORD_FILE),
    )


# ## The report
#
# The same content as the task's report in the console, and as a page that stands alone.


@environments.analysis.task(report=True)
def analyze_results(
    results: list[TrainingResult | None],
    failures: list[str | None],
    training_args_list: list[TrainingArguments],
    baseline: str | None = None,
) -> tuple[pd.DataFrame, File]:
    """Compare the arms. Returns one row a condition, and the page."""
    folder = store.experiment_folder(storage(), training_args_list)
    keep_failures(storage(), training_args_list, failures)
    with files.lock(folder):
        collect_results(results, training_args_list, folder)
        analysis = analyse(read_experiment([folder]), baseline)
        page = publish(analysis, folder)
    for name, html in render_decks(analysis).items():
        flyte.report.get_tab(name).replace(html)
    if is_local():
        # Last of all, below what Flyte itself prints at the end of a run.
        atexit.register(terminal.print_summary, analysis, page)
    return analysis.runs_table, File.from_local_sync(page)


# ## The experiment
#
# A condition that fails costs itself and no other: its error goes to the report, and None stays in
# its place. The next run of the same inputs file trains just what is missing, since only results
# are cached.


async def train_grid(
    grid: list[TrainingArguments], dataset_cache_dir: Dir, model_cache_dir: Dir
) -> tuple[list[TrainingResult | None], list[str | None]]:
    """Run every condition. Returns the results and the errors, each with None for the other."""
    train = partial(
        on_gpus(cached_on_cluster(train_model), most_gpus(grid)),
        dataset_cache_dir=dataset_cache_dir,
        model_cache_dir=model_cache_dir,
    )
    outcomes = [
        outcome
        async for outcome in flyte.map.aio(
            train,
            grid,
            group_name="conditions",
            concurrency=conditions_at_once(grid),
            return_exceptions=True,
        )
    ]
    results = [None if isinstance(outcome, Exception) else outcome for outcome in outcomes]
    failures = [str(outcome) if isinstance(outcome, Exception) else None for outcome in outcomes]
    return results, failures


@environments.experiment.task
async def benchmarking_experiment(
    inputs_file: File,
) -> tuple[list[TrainingResult | None], pd.DataFrame, File]:
    """Run every condition of the inputs file, and compare Liger with plain transformers."""
    inputs = read_inputs_file(await inputs_file.download())
    grid = inputs.grid
    preflight.check_experiment(
        grid, on_cluster=not is_local(), gpu=visible_gpu() if is_local() else GPU_KIND
    )
    if is_local():
        refuse_side_by_side(grid)
        folders.check_build_folder(storage())
    print(describe_grid(grid), flush=True)
    dataset_cache_dir, model_cache_dir = await download_sources(grid[0])
    await check_downloads(grid, dataset_cache_dir, model_cache_dir)
    with grid_run(grid):
        results, failures = await train_grid(grid, dataset_cache_dir, model_cache_dir)
    table, page = await analyze_results.aio(
        results, failures, grid, inputs.experiment_args.baseline
    )
    if not any(results):
        raise RuntimeError(f"all {len(grid)} conditions failed, the first with: {failures[0]}")
    return results, table, page
