"""Faults from outside: no finished run is lost, and each fault is reported as what it is.

| fault | where it is injected |
| --- | --- |
| GPU out of memory at load, first step, mid-run, optimiser | test_out_of_memory (also on a GPU) |
| killed child, child that leaves without a word | test_isolated_process, test_workflow |
| CUDA crash | test_isolated_process (on a GPU) |
| exception in the callback, any other error in a step | test_condition, test_workflow |
| corrupt weights, weights of another architecture or shape | here |
| full disk while a history is written | here |
| Hub unreachable, downloads that break off | test_hub |
| W&B unreachable, at start and mid-run; its process gone; missing key | test_wandb_unavailable |
| missing secret in a pod | test_secrets |
| truncated, missing or damaged history in the analysis | here, test_store, test_result_folders |
| a result whose folder is gone | here |
| two experiments in one folder at once, with the same sources or others | here |
| a killed process that holds a lock, a file system without locks | test_files |
| TMPDIR too long for a socket's address | test_isolated_process |
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import isolated_training
from support.grids import make_run
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.flyte import conditions, local_run
from liger_benchmark.run import COMPLETED, FAILED, HISTORY_FILE, RECORD_FILE, Run, read_run
from liger_benchmark.sources import fetch
from liger_benchmark.sources.fetch import fetch_dataset, fingerprint
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated

PROJECT = Path(__file__).parents[2]
SCRIPTS = PROJECT / "tests" / "support" / "scripts"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def weights(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with a model and its weights: `right`, and `other`, whose layers are a Llama's."""
    folder = tmp_path_factory.mktemp("weights")
    run_isolated(
        isolated_training.save_models, model_folder, folder, on_message=lambda message: None
    )
    return folder


def damaged(weights: Path, tmp_path: Path, content: bytes) -> Path:
    model = shutil.copytree(weights / "right", tmp_path / "model")
    (model / WEIGHTS).write_bytes(content)
    return model


def failure(model: Path, dataset_folder: Path, tmp_path: Path, **settings: Any) -> str:
    arguments = replace(TINY, model_name=str(model), **settings)
    with pytest.raises(ChildFailed) as error:
        run_condition(arguments, dataset_folder, model, tmp_path / "output")
    return str(error.value).strip().splitlines()[-1]


def test_a_models_own_weights_are_loaded(
    weights: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    model = weights / "right"
    run = run_condition(
        replace(TINY, model_name=str(model)), dataset_folder, model, tmp_path / "output"
    )
    assert run.outcome == COMPLETED


@pytest.mark.parametrize("use_liger", [False, True])
def test_truncated_weights_are_an_error_of_one_line(
    weights: Path, dataset_folder: Path, tmp_path: Path, use_liger: bool
) -> None:
    content = (weights / "right" / WEIGHTS).read_bytes()
    model = damaged(weights, tmp_path, content[:-1000])
    message = failure(model, dataset_folder, tmp_path, use_liger=use_liger)
    assert "training_args.model_name: the weights in 'model' cannot be read; fetch" in message


def test_a_file_that_holds_no_weights_is_an_error_of_one_line(
    weights: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    message = failure(damaged(weights, tmp_path, b"\0" * 5000), dataset_folder, tmp_path)
    assert "cannot be read; fetch them again" in message


@pytest.mark.parametrize("use_liger", [False, True])
def test_weights_of_another_architecture_are_refused(
    weights: Path, dataset_folder: Path, tmp_path: Path, use_liger: bool
) -> None:
    content = (weights / "other" / WEIGHTS).read_bytes()
    model = damaged(weights, tmp_path, content)
    message = failure(model, dataset_folder, tmp_path, use_liger=use_liger)
    assert "not of this architecture: 4 missing keys, such as model.layers.0.mlp" in message


def test_weights_of_other_shapes_are_refused(
    weights: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    content = (weights / "small" / WEIGHTS).read_bytes()
    model = damaged(weights, tmp_path, content)
    message = failure(model, dataset_folder, tmp_path)
    assert "are of other shapes than config.json says" in message


Between = Callable[[Path, TrainingArguments], None]


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """Run the workflow, batch sizes 16 and 24, without training; its table by batch size."""
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")

    def run(before_it_ends: Between = lambda runs, arguments: None) -> pd.DataFrame:
        def condition(arguments: TrainingArguments, *_: Any, **__: Any) -> Run:
            trained.append(arguments.per_device_train_batch_size)
            before_it_ends(tmp_path / "build" / "runs", arguments)
            size = arguments.per_device_train_batch_size
            return replace(make_run("vanilla", size, steps=3, cpu=True), training_args=arguments)

        trained.clear()
        monkeypatch.setattr(conditions, "run_condition", condition)
        grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[16, 24])
        arguments = make_run("vanilla", 16, steps=3, cpu=True).training_args
        _, table = workflow.benchmarking_experiment(
            experiment_args=grid,
            training_args=replace(arguments, model_name=TINY.model_name),
            n_runs=1,
        )
        return table.set_index("per_device_train_batch_size")

    return run


trained: list[int] = []


def of_size_16(runs: Path) -> Path:
    [folder] = runs.glob("*-bs-16-*")
    return folder


def lose_the_folder(runs: Path) -> None:
    shutil.rmtree(of_size_16(runs))


def cut_the_history(runs: Path) -> None:
    history = of_size_16(runs) / HISTORY_FILE
    history.write_bytes(history.read_bytes()[:-200])


def cut_the_record(runs: Path) -> None:
    record = of_size_16(runs) / RECORD_FILE
    record.write_bytes(record.read_bytes()[:200])


@pytest.mark.parametrize("damage", [lose_the_folder, cut_the_history, cut_the_record])
def test_a_missing_or_damaged_result_counts_as_failed_and_is_trained_again(
    damage: Callable[[Path], None], experiment: Callable[..., pd.DataFrame]
) -> None:
    def damage_the_first(runs: Path, arguments: TrainingArguments) -> None:
        if arguments.per_device_train_batch_size == 24:  # the first one's task has ended
            damage(runs)

    table = experiment(damage_the_first)
    assert list(table.loc[[16, 24], "outcome"]) == [FAILED, COMPLETED]
    assert table.loc[16, "reason"].startswith("ResultLost: its files are gone or damaged: ")
    assert list(experiment()["outcome"]) == [COMPLETED, COMPLETED]
    assert trained == [16]


def test_a_full_disk_fails_only_the_run_that_is_being_written(
    tmp_path: Path,
    experiment: Callable[..., pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    to_csv = pd.DataFrame.to_csv
    # The run's history, and then what is kept of the failure.
    full = [True, True]

    def on_a_full_disk(frame: pd.DataFrame, *args: Any, **options: Any) -> Any:
        if trained == [16, 24] and full:
            full.pop()
            return to_csv(frame, "/dev/full", **options)
        return to_csv(frame, *args, **options)

    monkeypatch.setattr(pd.DataFrame, "to_csv", on_a_full_disk)
    table = experiment()
    assert list(table.loc[[16, 24], "outcome"]) == [COMPLETED, FAILED]
    assert "No space left on device" in capsys.readouterr().out
    assert [folder.name for folder in (tmp_path / "build" / "runs").iterdir()] == [
        of_size_16(tmp_path / "build" / "runs").name
    ]
    assert list(experiment()["outcome"]) == [COMPLETED, COMPLETED]
    assert trained == [24]


def test_two_concurrent_experiments_share_a_folder(tmp_path: Path) -> None:
    """The same grid in two processes, from the fetching of sources to the report; not trained."""
    build = tmp_path / "build"
    both = [
        subprocess.Popen(
            [sys.executable, "-u", str(SCRIPTS / "run_experiment.py"), str(build)],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]

    def wait_for(process: subprocess.Popen[str], text: str) -> None:
        assert process.stdout is not None
        while text not in (line := process.stdout.readline()):
            assert line, f"it ended before {text}"

    for process in both:
        wait_for(process, "ready")
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        # The second begins, and fetches the sources, while the first one's runs read them.
        if process is both[0]:
            wait_for(process, "[1/9]")
    for process in both:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert "['completed'] 9 sources: 1\n" in output
    runs = [read_run(folder) for folder in (build / "runs").iterdir()]
    assert sorted(run.training_args.condition for run in runs) == sorted(
        f"phi3-tiny bs={size} vanilla run={n}" for size in (1, 2, 3) for n in (1, 2, 3)
    )
    assert len(list((build / "sources" / "dataset").iterdir())) == 1
    assert not list(build.rglob("*.partial-*"))


def test_fetching_a_source_again_leaves_its_files_untouched(tmp_path: Path) -> None:
    folder = fetch_dataset("builtin:instructions", tmp_path / "dataset")
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    fetch_dataset("builtin:instructions", folder)
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before


@pytest.mark.usefixtures("datasets_cache")
def test_a_large_source_keeps_its_fingerprint_when_it_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file's time is part of a run's key: written anew, its runs would not be found."""
    monkeypatch.setattr(fetch, "LARGE_FILE", 1000)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.jsonl").write_text('{"text": "one"}\n' * 100)
    first = fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset")
    before = fingerprint(first)
    assert any(file.stat().st_size > fetch.LARGE_FILE for file in first.iterdir())
    assert fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset") == first
    assert fingerprint(first) == before


@pytest.mark.usefixtures("datasets_cache")
def test_an_edited_source_is_fetched_into_a_folder_of_its_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    rows = tmp_path / "mine" / "rows.jsonl"
    rows.write_text('{"text": "one"}\n')
    first = fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset")
    before = fingerprint(first)
    rows.write_text('{"text": "other"}\n')
    second = fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset")
    assert second != first
    assert fingerprint(second) != before == fingerprint(first)
    assert fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset") == second
    (second / "source.json").unlink()  # damaged: it is not what its name says
    assert fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset") == second
    assert (second / "source.json").is_file()
