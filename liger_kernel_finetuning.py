"""What does Liger Kernel do for the fine-tuning of your model? The blog's experiment on Flyte.

    pyflyte run liger_kernel_finetuning.py benchmarking_experiment \\
        --inputs-file examples/smoke_inputs.yaml
    union run --remote liger_kernel_finetuning.py benchmarking_experiment \\
        --inputs-file phi3_inputs.yaml

Two downloads, a grid of batch sizes with and without Liger mapped over one training task, and an
analysis with its Deck. What happens inside a task is `liger_benchmark`'s.
"""

import atexit
import contextlib
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

import pandas as pd
from flytekit import Deck, Secret, current_context, dynamic, map_task, task, workflow
from flytekit.configuration.plugin import get_plugin
from flytekit.core.context_manager import FlyteContextManager
from flytekit.exceptions.base import FlyteException
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from flytekitplugins.wandb import wandb_init

from image_spec import (
    ANALYSIS_LIMITS,
    DOWNLOAD_LIMITS,
    GPU,
    GPU_KIND,
    GPU_LIMITS,
    MACHINE_DIGEST,
    PINS_DIGEST,
    REGISTRATION,
    SECRET_GROUP,
    SECRETS,
    WANDB_ENTITY,
    WANDB_PROJECT,
    image,
)
from liger_benchmark import store
from liger_benchmark.analysis.tables import analyse, read_experiment
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.code_version import SOURCES_CODE, code_digest
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.files import lock
from liger_benchmark.flyte import command_line, tracking
from liger_benchmark.flyte.credentials import MissingSecret
from liger_benchmark.report import terminal
from liger_benchmark.report.page import render_decks, write_page
from liger_benchmark.report.progress import Progress, describe
from liger_benchmark.run import (
    FAILED,
    HISTORY_FILE,
    RECORD_FILE,
    Run,
    UnreadableRun,
    read_run,
    write_run,
)
from liger_benchmark.sources import fetch
from liger_benchmark.training import dataset, environment
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import summary

command_line.prepare(sys.argv)

BUILD = Path(__file__).resolve().parent / "build"
# A result is used again only for the same training code, pins, container and kind of GPU.
DOWNLOAD_VERSION = f"{code_digest(SOURCES_CODE)}-{PINS_DIGEST}"
TRAINING_VERSION = f"{code_digest()}-{PINS_DIGEST}-{MACHINE_DIGEST}-{GPU_KIND}"

# Without `union` installed, flytekit takes no secret that has no group.
GROUP = SECRET_GROUP or ("liger-benchmark" if get_plugin().secret_requires_group() else None)
WANDB_SECRET = Secret(key="wandb_api_key", group=GROUP)
HF_SECRET = Secret(key="hf_token", group=GROUP)

progress = Progress()
# The folders of the runs that this process returned.
returned: dict[Path, TrainingArguments] = {}


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
    limits=DOWNLOAD_LIMITS,
    cache=True,
    cache_version=DOWNLOAD_VERSION,
    environment=REGISTRATION,
    secret_requests=[HF_SECRET] if HF_SECRET.key in SECRETS else [],
)
def download_dataset(dataset_name: str) -> FlyteDirectory:
    """Fetch the dataset's training split: from the Hub, a folder, or `builtin:instructions`."""
    with_hub_token()
    folder = storage() / "sources" / "dataset" / fetch.folder_name(dataset_name)
    return FlyteDirectory(str(fetch.fetch_dataset(dataset_name, folder)))


@task(
    container_image=image,
    limits=DOWNLOAD_LIMITS,
    cache=True,
    cache_version=DOWNLOAD_VERSION,
    environment=REGISTRATION,
    secret_requests=[HF_SECRET] if HF_SECRET.key in SECRETS else [],
)
def download_model(model_name: str) -> FlyteDirectory:
    """Fetch the model: from the Hub, a folder, or `builtin:phi3-mini` (an architecture)."""
    with_hub_token()
    folder = storage() / "sources" / "model" / fetch.folder_name(model_name)
    return FlyteDirectory(str(fetch.fetch_model(model_name, folder)))


class track_with_wandb(wandb_init):
    """`wandb_init` for a condition that asks for it and has to be trained: a named run each."""

    def execute(self, training_args: TrainingArguments, **folders: Any) -> Any:
        train = partial(self.task_function, training_args=training_args, **folders)
        if training_args.report_to != "wandb" or is_kept(training_args, **folders):
            return train()
        with tracking.wandb_run(
            training_args,
            project=self.project,
            entity=self.entity,
            folder=storage(),
            **wandb_options(training_args),
        ):
            return train()


@task(
    container_image=image,
    limits=GPU_LIMITS,
    accelerator=GPU,
    cache=True,
    cache_version=TRAINING_VERSION,
    environment=REGISTRATION,
    secret_requests=[WANDB_SECRET] if WANDB_SECRET.key in SECRETS else [],
)
@track_with_wandb(project=WANDB_PROJECT, entity=WANDB_ENTITY, secret=WANDB_SECRET)
def train_model(
    training_args: TrainingArguments,
    dataset_cache_dir: FlyteDirectory,
    model_cache_dir: FlyteDirectory,
) -> TrainingResult:
    """Train one condition of the grid with trl's SFTTrainer, in a process of its own."""
    dataset_folder, model_folder = (
        Path(directory.download()) for directory in (dataset_cache_dir, model_cache_dir)
    )
    folder = store.run_folder(storage(), training_args, dataset_folder, model_folder)
    progress.condition_begins(training_args.condition)
    store.clear_failure(storage(), training_args)
    run = store.finished(folder)
    reused = run is not None
    if run is None:
        try:
            run = store.run_and_keep(
                folder,
                partial(train_and_log, training_args, dataset_folder, model_folder),
            )
        except Exception as error:
            progress.condition_ends(f"failed: {summary(error)}")
            store.keep_failure(storage(), training_args, error, tracking.address())
            raise
    progress.condition_ends(
        describe(run) + (" (kept from an earlier run)" if reused else ""), reused
    )
    returned[folder] = training_args
    return TrainingResult(
        model_dir=FlyteDirectory(str(folder / store.MODEL_FOLDER)),
        training_history=FlyteFile(str(folder / HISTORY_FILE)),
        training_args=training_args,
        outcome=run.outcome,
        record=FlyteFile(str(folder / RECORD_FILE)),
    )


@task(container_image=image, environment=REGISTRATION)
def prepare_experiment_args(
    experiment_args: ExperimentArguments,
    training_args: TrainingArguments,
    n_runs: int,
) -> list[TrainingArguments]:
    """The full grid of conditions, repeats outermost so that the arms take turns."""
    return expand_grid(experiment_args, training_args, n_runs)


@dynamic(
    container_image=image,
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
    """Map the training task over the grid; a condition that fails leaves None in its place.

    The list is cached with its Nones. A higher `attempt` is another key for it and none for the
    sub-tasks, so that just those that failed run again.
    """
    progress.begin(len(training_args_list))
    tracking.note_grid(training_args_list)
    check_and_announce(training_args_list, dataset_cache_dir, model_cache_dir)
    partial_train_model = partial(
        train_model,
        dataset_cache_dir=dataset_cache_dir,
        model_cache_dir=model_cache_dir,
    )
    returned.clear()
    results = map_task(partial_train_model, concurrency=4, min_success_ratio=0.1)(
        training_args=training_args_list
    )
    for folder, training_args in returned.items():  # none on a cluster
        store.replace_missing_run(folder, training_args)
    return results


@task(
    container_image=image,
    limits=ANALYSIS_LIMITS,
    environment=REGISTRATION,
    enable_deck=True,
    deck_fields=(),
)
def analyze_results(
    results: list[Optional[TrainingResult]],
    training_args_list: list[TrainingArguments],
    baseline: Optional[str] = None,
) -> pd.DataFrame:
    """Compare the arms, show it as Decks, and write the same as a page. One row a condition."""
    folder = store.experiment_folder(storage(), training_args_list)
    with lock(folder):
        for training_args, result in zip(training_args_list, results, strict=True):
            collect(training_args, result, folder / "runs" / training_args.slug)
        analysis = analyse(read_experiment([folder]), baseline)
        page = write_page(analysis, folder)
    for name, html in render_decks(analysis).items():
        Deck(name, html)
    if is_local():
        # Last of all, below what flytekit itself prints at the end of a run.
        atexit.register(terminal.print_summary, analysis, page)
    return analysis.runs_table


@workflow
def benchmarking_experiment(
    experiment_args: ExperimentArguments = ExperimentArguments(),
    training_args: TrainingArguments = TrainingArguments(),
    n_runs: int = 3,
    attempt: int = 1,
) -> tuple[list[Optional[TrainingResult]], pd.DataFrame]:
    """Run every condition `n_runs` times and compare Liger with plain transformers."""
    dataset_cache_dir = download_dataset(dataset_name=training_args.dataset_name)
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
    analysis = analyze_results(
        results=results, training_args_list=training_args_list, baseline=experiment_args.baseline
    )
    return results, analysis


def is_local() -> bool:
    """Whether Flyte runs its tasks here, in this process, rather than in a pod."""
    state = FlyteContextManager.current_context().execution_state
    return state is not None and state.is_local_execution()


def storage() -> Path:
    """Where files go: a local run's under the project, where they last; a pod's into its own."""
    return BUILD if is_local() else Path(current_context().working_directory)


def check_and_announce(
    grid: list[TrainingArguments],
    dataset_cache_dir: FlyteDirectory,
    model_cache_dir: FlyteDirectory,
) -> None:
    """What could not be told before the downloads: what the model lacks, and how long it will take.

    On a cluster the rows are left to the training tasks: this one has no room for them.
    """
    if is_local():
        dataset.check_rows(Path(dataset_cache_dir.download()), grid)
    config = estimate.config_in(Path(model_cache_dir.download())) or {}
    preflight.check_model(grid, config)
    if estimate.config_at_hand(grid[0].model_name) is None:
        gpu = environment.visible_gpu() if is_local() else GPU_KIND
        print(estimate.expected(grid, config, gpu), flush=True)


def is_kept(
    training_args: TrainingArguments,
    dataset_cache_dir: FlyteDirectory,
    model_cache_dir: FlyteDirectory,
) -> bool:
    """Whether this machine keeps this condition's result, so that nothing has to be trained."""
    folders = [Path(directory.download()) for directory in (dataset_cache_dir, model_cache_dir)]
    return store.finished(store.run_folder(storage(), training_args, *folders)) is not None


def train_and_log(
    training_args: TrainingArguments, dataset_folder: Path, model_folder: Path, output_folder: Path
) -> Run:
    """Train, passing every step's figures and the outcome on to W&B if it tracks this condition."""
    run = run_condition(
        training_args, dataset_folder, model_folder, output_folder, on_row=tracking.log_row
    )
    return tracking.log_outcome(run)


def wandb_options(training_args: TrainingArguments) -> dict[str, Any]:
    """What a W&B run takes from Flyte: the experiment it belongs to and, on a cluster, the key."""
    if is_local():
        return {"group": tracking.experiment_name(training_args, TRAINING_VERSION)}
    execution = current_context().execution_id.name
    pod, url = os.environ.get("HOSTNAME", ""), os.environ.get("FLYTE_EXECUTION_URL")
    return {
        "group": execution,
        "api_key": read_secret(WANDB_SECRET),
        # Flyte's console finds a task's W&B run by the name of its pod.
        "run_id": pod if pod.startswith(execution) else None,
        "notes": f"[Execution URL]({url})" if url else None,
    }


def read_secret(secret: Secret) -> str:
    """A secret's value in a pod."""
    context = current_context()
    with contextlib.suppress(ValueError):
        if value := context.secrets.get(group=secret.group, key=secret.key):
            return value
    here = context.execution_id
    raise MissingSecret(secret.key, secret.group, f"{here.project}-{here.domain}")


def collect(training_args: TrainingArguments, result: Optional[TrainingResult], to: Path) -> None:
    """Bring one condition's history and record into the experiment's folder.

    A result whose files are gone or damaged is shown as failed, and costs no other its place.
    """
    try:
        if result is not None:
            record = Path(result.record.download())
            history = Path(result.training_history.download())
            store.copy_run(history, record, to)
            return
        failure = store.failure_folder(storage(), training_args)
        write_run(to, read_run(failure) if failure.is_dir() else Run(training_args, FAILED))
    except (OSError, FlyteException, UnreadableRun) as error:
        write_run(to, store.lost_run(training_args, error))


def with_hub_token() -> None:
    """Give the Hub's client its token in a pod, if one was asked for at registration."""
    if HF_SECRET.key in SECRETS and not is_local():
        os.environ["HF_TOKEN"] = read_secret(HF_SECRET)
