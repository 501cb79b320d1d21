"""Does Liger Kernel make your LLM training faster, and in less memory? The blog's experiment.

    pyflyte run liger_kernel_finetuning.py benchmarking_experiment \\
        --inputs-file examples/smoke_inputs.yaml
    union run --remote liger_kernel_finetuning.py benchmarking_experiment \\
        --inputs-file phi3_inputs.yaml

The workflow downloads a model and a dataset, trains a grid of conditions (batch sizes, with and
without Liger, a few repeats of each) in a map task, and shows who won, by how much and how sure
that is in a Flyte Deck. The tasks stand in the order in which they run; what happens inside a task
is in `liger_benchmark/`, which knows nothing of Flyte but for its folder `flyte/`.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Optional

import pandas as pd
from flytekit import Deck, dynamic, map_task, task, workflow
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

# In a bigger repository this folder may not be on the search path.
sys.path.append(str(Path(__file__).resolve().parent))

from image_spec import (
    ANALYSIS_POD,
    DOWNLOAD_POD,
    GPU,
    PLANNING_POD,
    REGISTRATION,
    TRAINING_POD,
    image,
)
from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.flyte import command_line
from liger_benchmark.flyte.cache_versions import DOWNLOAD_VERSION, TRAINING_VERSION
from liger_benchmark.flyte.conditions import (
    ask_for_gpus,
    check_and_announce,
    replace_missing_runs,
    run_or_reuse,
)
from liger_benchmark.flyte.credentials import HF_SECRET, WANDB_SECRET, requested, with_hub_token
from liger_benchmark.flyte.endings import ends_plainly
from liger_benchmark.flyte.execution import is_local, storage
from liger_benchmark.flyte.group_size import conditions_at_once
from liger_benchmark.flyte.local_run import checked_rows, grid_run
from liger_benchmark.flyte.reporting import analyse_and_publish, published_page
from liger_benchmark.flyte.settings import WANDB_ENTITY, WANDB_PROJECT
from liger_benchmark.flyte.wandb_task import track_with_wandb
from liger_benchmark.report import terminal
from liger_benchmark.report.page import render_decks
from liger_benchmark.run import HISTORY_FILE, RECORD_FILE
from liger_benchmark.sources import fetch

# flytekit imports this module before it reads the inputs: the moment to have them checked whole.
command_line.prepare()


# ## Downloads
#
# Model and dataset are fetched once and cached: a grid of 36 runs must not fetch 7 GB 36 times, and
# a second experiment with the same model starts at once. The cache's version is that of the code
# that downloads, so that a change to the training code does not fetch anything again.


@task(
    container_image=image,
    requests=DOWNLOAD_POD,
    limits=DOWNLOAD_POD,
    cache=True,
    cache_version=DOWNLOAD_VERSION,
    environment=REGISTRATION,
    secret_requests=requested(HF_SECRET),
)
def download_dataset(
    dataset_name: str, dataset_config: Optional[str] = None, dataset_split: str = "train"
) -> FlyteDirectory:
    """Fetch a split of the dataset: from the Hub, a folder or file, or `builtin:instructions`."""
    with_hub_token()
    part = (dataset_config, dataset_split)
    folder = storage() / "sources" / "dataset" / fetch.folder_name(dataset_name, *part)
    return FlyteDirectory(str(checked_rows(fetch.fetch_dataset(dataset_name, folder, *part))))


@task(
    container_image=image,
    requests=DOWNLOAD_POD,
    limits=DOWNLOAD_POD,
    cache=True,
    cache_version=DOWNLOAD_VERSION,
    environment=REGISTRATION,
    secret_requests=requested(HF_SECRET),
)
def download_model(model_name: str) -> FlyteDirectory:
    """Fetch the model: from the Hub, a folder, or `builtin:phi3-mini` (an architecture)."""
    with_hub_token()
    folder = storage() / "sources" / "model" / fetch.folder_name(model_name)
    return FlyteDirectory(str(fetch.fetch_model(model_name, folder)))


# ## Training
#
# A condition is trained in a fresh process. Liger patches transformers' classes for the whole
# process, so a vanilla run after a Liger run in one process would be a Liger run; and the GPU's
# allocator keeps what it once reserved, so the second run's memory would be the first one's.
#
# Running out of GPU memory is a result, since that is one of the things Liger is said to prevent:
# it is returned and cached like a finished run. Everything else that goes wrong is raised.


@dataclass(repr=False)
class TrainingResult:
    """What a training run leaves: `outcome` is `completed` or `out_of_memory`."""

    model_dir: FlyteDirectory
    training_history: FlyteFile
    training_args: TrainingArguments
    outcome: str
    record: FlyteFile

    def __repr__(self) -> str:
        # flytekit prints all results after a local run: one line each, not a page.
        return f"<{self.training_args.condition}: {self.outcome}>"


@task(
    container_image=image,
    requests=TRAINING_POD,
    limits=TRAINING_POD,
    accelerator=GPU,
    cache=True,
    cache_version=TRAINING_VERSION,
    environment=REGISTRATION,
    secret_requests=requested(WANDB_SECRET),
)
@track_with_wandb(project=WANDB_PROJECT, entity=WANDB_ENTITY, secret=WANDB_SECRET)
def train_model(
    training_args: TrainingArguments,
    dataset_cache_dir: FlyteDirectory,
    model_cache_dir: FlyteDirectory,
) -> TrainingResult:
    """Train one condition of the grid with trl's SFTTrainer, in a process of its own."""
    folder, run = run_or_reuse(
        training_args, Path(dataset_cache_dir.download()), Path(model_cache_dir.download())
    )
    return TrainingResult(
        model_dir=FlyteDirectory(str(folder / store.MODEL_FOLDER)),
        training_history=FlyteFile(str(folder / HISTORY_FILE)),
        training_args=training_args,
        outcome=run.outcome,
        record=FlyteFile(str(folder / RECORD_FILE)),
    )


@task(
    container_image=image,
    requests=PLANNING_POD,
    limits=PLANNING_POD,
    environment=REGISTRATION,
)
def prepare_experiment_args(
    experiment_args: ExperimentArguments,
    training_args: TrainingArguments,
    n_runs: int,
) -> list[TrainingArguments]:
    """The full grid of conditions, repeats outermost so that the arms take turns."""
    return expand_grid(experiment_args, training_args, n_runs)


# ## The grid
#
# The training task is mapped over the grid, inside a dynamic workflow so that the whole grid is
# cached as well. On a cluster as many conditions run at once (`concurrency`) as four GPUs hold, and
# one at least; on one machine they take turns. The map succeeds if a tenth do, rounded up: a crash
# costs its condition, which leaves None in the list, and no other. Its reason is kept.
#
# The ratio is a little below 0.1. Flyte holds it in 32 bits, where 0.1 is more than a tenth: of ten
# conditions two would have to succeed. Concurrency and ratio are part of the map task's name, and
# so of the conditions' cache keys: changing either, or a grid's most GPUs, runs them all again.
#
# The list is cached with its Nones. A higher `attempt` is another key for the list and none for
# the conditions, so that just those that failed run again.


@dynamic(
    container_image=image,
    requests=PLANNING_POD,
    limits=PLANNING_POD,
    cache=True,
    cache_version=TRAINING_VERSION,
    environment=REGISTRATION,
)
def run_cached_training_benchmark(
    training_args_list: list[TrainingArguments],
    dataset_cache_dir: FlyteDirectory,
    model_cache_dir: FlyteDirectory,
    attempt: int = 1,
) -> list[Optional[TrainingResult]]:
    """Map the training task over the grid; a condition that fails leaves None in its place."""
    with grid_run(training_args_list):
        check_and_announce(training_args_list, dataset_cache_dir, model_cache_dir)
        partial_train_model = partial(
            train_model, dataset_cache_dir=dataset_cache_dir, model_cache_dir=model_cache_dir
        )
        at_once = conditions_at_once(training_args_list)
        mapped = map_task(partial_train_model, concurrency=at_once, min_success_ratio=0.09999)
        results = mapped(training_args=training_args_list)
        ask_for_gpus(results, training_args_list)
        replace_missing_runs()
    return results


# ## The report
#
# The analysis compares repeat i of an arm with repeat i of the baseline and judges the blog's
# claims by a rule that is written down. The same content is shown as Decks and as a page that
# stands alone, the output of a task of its own: the workflow's outputs stay the blog's two.


@task(
    container_image=image,
    requests=ANALYSIS_POD,
    limits=ANALYSIS_POD,
    environment=REGISTRATION,
    enable_deck=True,
    deck_fields=(),
)
def analyze_results(
    results: list[Optional[TrainingResult]],
    training_args_list: list[TrainingArguments],
    baseline: Optional[str] = None,
    model_cache_dir: Optional[FlyteDirectory] = None,
) -> pd.DataFrame:
    """Compare the arms, show it as Decks, and write the same as a page. One row a condition."""
    analysis, page = analyse_and_publish(results, training_args_list, baseline, model_cache_dir)
    for name, html in render_decks(analysis).items():
        Deck(name, html)
    if is_local():
        command_line.show_at_the_end(terminal.print_summary, analysis, page)
    return analysis.runs_table


@task(
    container_image=image,
    requests=ANALYSIS_POD,
    limits=ANALYSIS_POD,
    environment=REGISTRATION,
)
def publish_page(
    results: list[Optional[TrainingResult]],
    training_args_list: list[TrainingArguments],
    baseline: Optional[str] = None,
    model_cache_dir: Optional[FlyteDirectory] = None,
) -> FlyteFile:
    """The report as one page: a file that stands alone."""
    page = published_page(results, training_args_list, baseline, model_cache_dir)
    return FlyteFile(str(page))


@ends_plainly
@command_line.announced
@workflow
def benchmarking_experiment(
    experiment_args: ExperimentArguments = ExperimentArguments(),
    training_args: TrainingArguments = TrainingArguments(),
    n_runs: int = 3,
    attempt: int = 1,
) -> tuple[list[Optional[TrainingResult]], pd.DataFrame]:
    """Run every condition `n_runs` times and compare Liger with plain transformers."""
    dataset_cache_dir = download_dataset(
        dataset_name=training_args.dataset_name,
        dataset_config=training_args.dataset_config,
        dataset_split=training_args.dataset_split,
    )
    model_cache_dir = download_model(model_name=training_args.model_name)
    training_args_list = prepare_experiment_args(
        experiment_args=experiment_args, training_args=training_args, n_runs=n_runs
    )
    results = run_cached_training_benchmark(
        training_args_list=training_args_list,
        dataset_cache_dir=dataset_cache_dir,
        model_cache_dir=model_cache_dir,
        attempt=attempt,
    )
    report_inputs = {
        "results": results,
        "training_args_list": training_args_list,
        "model_cache_dir": model_cache_dir,
    }
    # Not among them: a local run resolves a field of an input in place, so each task needs its own.
    analysis = analyze_results(baseline=experiment_args.baseline, **report_inputs)
    publish_page(baseline=experiment_args.baseline, **report_inputs)
    return results, analysis
