"""Faults from outside: none loses a finished run, and none is called what it is not.

| fault | where it is injected |
| --- | --- |
| GPU out of memory at load, first step, mid-run, optimiser | test_training (also on a GPU) |
| killed child, child that leaves without a word | test_isolation, test_workflow |
| CUDA crash | test_isolation (on a GPU) |
| exception in the callback, any other error in a step | test_training, test_workflow |
| corrupt weights, weights of another architecture or shape | here |
| full disk while a history is written | test_store |
| Hub unreachable, downloads that break off | test_hub |
| W&B unreachable, at the start and mid-run; missing key | test_wandb |
| missing secret in a pod | test_secrets |
| truncated, missing or damaged history handed to the analysis | test_store, test_merging |
| a result whose folder is gone | here |
| two experiments in one folder at once | here, test_store |
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import isolated_training
import pytest
from conftest import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark import store
from liger_benchmark.folders import fresh_folder
from liger_benchmark.grid import ExperimentArguments
from liger_benchmark.isolation import ChildFailed, run_isolated
from liger_benchmark.runs import COMPLETED, FAILED, Run, read_run
from liger_benchmark.sources import fetch_dataset
from liger_benchmark.training import run_condition

PROJECT = Path(__file__).parent.parent
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
def test_weights_that_were_cut_short_are_one_line(
    weights: Path, dataset_folder: Path, tmp_path: Path, use_liger: bool
) -> None:
    content = (weights / "right" / WEIGHTS).read_bytes()
    model = damaged(weights, tmp_path, content[:-1000])
    message = failure(model, dataset_folder, tmp_path, use_liger=use_liger)
    assert "training_args.model_name: the weights in 'model' cannot be read; fetch" in message


def test_weights_that_are_no_weights_are_one_line(
    weights: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    message = failure(damaged(weights, tmp_path, b"\0" * 5000), dataset_folder, tmp_path)
    assert "cannot be read; fetch them again" in message


@pytest.mark.parametrize("use_liger", [False, True])
def test_weights_of_another_architecture_are_not_trained_on(
    weights: Path, dataset_folder: Path, tmp_path: Path, use_liger: bool
) -> None:
    content = (weights / "other" / WEIGHTS).read_bytes()
    model = damaged(weights, tmp_path, content)
    message = failure(model, dataset_folder, tmp_path, use_liger=use_liger)
    assert "not of this architecture: 4 missing keys, such as model.layers.0.mlp" in message


def test_weights_of_other_shapes_are_not_trained_on(
    weights: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    content = (weights / "small" / WEIGHTS).read_bytes()
    model = damaged(weights, tmp_path, content)
    message = failure(model, dataset_folder, tmp_path)
    assert "are of other shapes than config.json says" in message


def test_a_result_whose_files_are_gone_has_failed_and_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "BUILD", tmp_path / "build")
    grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2])
    results, _ = workflow.benchmarking_experiment(
        experiment_args=grid, training_args=TINY, n_runs=1
    )
    shutil.rmtree(Path(results[0].record.path).parent)
    # The task's own function: locally flytekit would not even hand on a path that is gone.
    monkeypatch.setattr(workflow, "storage", lambda: tmp_path / "again")
    table = workflow.analyze_results.task_function(
        results=results, training_args_list=[result.training_args for result in results]
    ).set_index("per_device_train_batch_size")
    assert table.loc[1, "outcome"] == FAILED
    assert "its files are gone" in table.loc[1, "reason"]
    assert table.loc[2, "outcome"] == COMPLETED


def test_two_experiments_at_once_share_a_folder_in_peace(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from conftest import TINY\n"
        "import liger_kernel_finetuning as w\n"
        "from liger_benchmark.grid import ExperimentArguments\n"
        "if __name__ == '__main__':\n"
        "    w.BUILD = Path(sys.argv[1])\n"
        "    grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2])\n"
        "    _, t = w.benchmarking_experiment(experiment_args=grid, training_args=TINY, n_runs=2)\n"
        "    print(sorted(t['outcome'].unique()), len(t))\n"
    )
    script = tmp_path / "experiment.py"
    script.write_text(code, encoding="utf-8")
    build = tmp_path / "build"
    both = [
        subprocess.Popen(
            [sys.executable, str(script), str(build)],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert "['completed'] 4" in output
    runs = [read_run(folder) for folder in (build / "runs").iterdir()]
    assert sorted(run.training_args.condition for run in runs) == sorted(
        f"phi3-tiny bs={size} vanilla run={n}" for size in (1, 2) for n in (1, 2)
    )
    assert not list(build.rglob("*.partial-*"))


def test_a_source_that_is_there_already_stays_under_its_readers_feet(tmp_path: Path) -> None:
    folder = fetch_dataset("builtin:instructions", tmp_path / "dataset")
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    fetch_dataset("builtin:instructions", folder)
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before


def test_of_two_equal_runs_the_one_that_ended_first_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def train(number: int) -> Run:
        return Run(TINY, COMPLETED, record={"number": number})

    def overtaken(output: Path) -> Run:
        store.run_and_keep(folder, lambda _: train(1))
        return train(2)

    assert store.run_and_keep(folder, overtaken).record == {"number": 1}
    assert read_run(folder).record == {"number": 1}


def test_a_place_that_is_taken_in_the_last_moment_is_kept_if_it_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liger_benchmark import folders

    def taken(source: Path, target: Path) -> None:
        Path(target).mkdir()
        raise OSError("Directory not empty")

    monkeypatch.setattr(folders.os, "replace", taken)
    with fresh_folder(tmp_path / "a", keep=lambda old, new: True):
        pass
    with pytest.raises(OSError, match="not empty"), fresh_folder(tmp_path / "b"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
