"""A local run of the experiment on Flyte 2: what is kept, reported, refused and tracked."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.grids import make_run
from support.projects import copy_project
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import local_run, page_so_far, tracking
from liger_benchmark.run import OUT_OF_MEMORY, Run, read_run
from liger_benchmark.training import dry_pass
from liger_benchmark.training.isolated_process import ChildFailed

# `flyte` alone would be found as the folder of this file.
pytest.importorskip("flyte.io", reason="the SDK of Flyte 2 is not installed (requirements-dev.txt)")

import flyte
import flyte.errors
from flyte.io import File

import liger_kernel_finetuning_v2 as experiment
from liger_benchmark.flyte2 import conditions

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def write_inputs(path: Path, sizes: list[int], n_runs: int = 1, **settings: Any) -> Path:
    """An inputs file with the vanilla arm alone."""
    tiny = dataclasses.asdict(TINY) | {"max_steps": 2} | settings
    keys = ("model_name", "dataset_name", "max_seq_length", "bf16", "max_steps", "n_warmup_steps")
    content = {
        "experiment_args": {"use_liger": [False], "per_device_train_batch_size": sizes},
        "training_args": {key: tiny[key] for key in (*keys, *settings)},
        "n_runs": n_runs,
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def run_locally(inputs_file: Path) -> tuple[list[Any], Any, Any]:
    flyte.init()
    run = flyte.with_runcontext(mode="local").run(
        experiment.benchmarking_experiment, inputs_file=File(path=str(inputs_file))
    )
    return tuple(run.outputs())  # type: ignore[return-value]


def test_flyte_run_makes_the_page_and_keeps_finished_runs(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    home = tmp_path / "home"
    home.mkdir()
    inputs = write_inputs(tmp_path / "inputs.yaml", [1])

    def run() -> str:
        done = subprocess.run(
            [
                BIN / "flyte",
                "run",
                "--local",
                "liger_kernel_finetuning_v2.py",
                "benchmarking_experiment",
            ]
            + ["--inputs_file", str(inputs)],
            cwd=project,
            env={
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "HOME": str(home),
                "CUDA_VISIBLE_DEVICES": "",
                "HF_HUB_OFFLINE": "1",
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    first = run()
    assert "1 run: 1 arm (vanilla) × 1 batch size × 1 repeat" in first
    assert "[1/1] phi3-tiny bs=1 vanilla run=1 …" in first
    assert "kept from an earlier run" not in first
    [page] = project.glob("build/results/*-phi3-tiny-*/report.html")
    assert first.rstrip().endswith(str(page))
    [folder] = project.glob("build/runs/phi3-tiny-*")
    assert read_run(folder).outcome == "completed"
    second = run()
    assert "kept from an earlier run" in second
    assert not list(home.rglob(".flyte"))


Condition = Callable[..., Run]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture
def trained(build: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes that were trained. Training is a stub: 2 runs out of memory, 3 fails."""
    sizes: list[int] = []

    def stub(arguments: TrainingArguments, *_: Path, **__: Any) -> Run:
        size = arguments.per_device_train_batch_size
        sizes.append(size)
        if size == 3:
            error = {"type": "ValueError", "message": "three", "traceback": "ValueError: three"}
            raise ChildFailed(error)
        made = make_run("vanilla", size, arguments.run, steps=3, cpu=True)
        run = dataclasses.replace(made, training_args=arguments)
        if size == 2:
            run.outcome, run.record["out_of_memory"] = OUT_OF_MEMORY, {"step": 4}
        return run

    monkeypatch.setattr(conditions, "run_condition", stub)
    monkeypatch.setattr(dry_pass, "check_grid", lambda *_: [])
    return sizes


def test_a_failed_condition_costs_no_other_and_is_alone_tried_again(
    trained: list[int], build: Path, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "inputs.yaml", [1, 2, 3])
    results, table, page = run_locally(inputs)
    assert [result and result.outcome for result in results] == [
        "completed",
        "out_of_memory",
        None,
    ]
    assert list(table["outcome"]) == ["completed", "out_of_memory", "failed"]
    assert Path(page.path).is_relative_to(build / "results")
    assert "ValueError: three" in Path(page.path).read_text(encoding="utf-8")
    for result in results[:2]:
        assert Path(result.record.path).is_relative_to(build / "runs")
    run_locally(inputs)
    assert trained == [1, 2, 3, 3]


def test_the_page_is_written_after_each_condition(
    trained: list[int], build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    monkeypatch.setattr(
        page_so_far,
        "publish_part",
        lambda analysis, folder, planned: parts.append(len(analysis.runs)) or folder,
    )
    run_locally(write_inputs(tmp_path / "inputs.yaml", [1, 2, 3]))
    assert parts == [1, 2, 3]


def test_the_report_in_the_console_has_the_pages_sections(
    trained: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tabs: dict[str, str] = {}

    class Tab:
        def __init__(self, name: str) -> None:
            self.name = name

        def replace(self, html: str) -> None:
            tabs[self.name] = html

    monkeypatch.setattr(flyte.report, "get_tab", Tab)
    run_locally(write_inputs(tmp_path / "inputs.yaml", [1]))
    assert list(tabs)[0] == "Benchmarking Results"
    assert "Environment" in tabs
    assert experiment.analyze_results.report


def test_an_experiment_without_any_result_fails_after_its_report(
    trained: list[int], build: Path, tmp_path: Path
) -> None:
    with pytest.raises(flyte.errors.RuntimeUserError, match="all 1 conditions failed.*three"):
        run_locally(write_inputs(tmp_path / "inputs.yaml", [3]))
    assert list(build.glob("results/*/report.html"))


@pytest.mark.parametrize("mistake", [{"optim": "sdg"}, {"parallel_conditions": 2}])
def test_a_mistake_in_the_inputs_file_is_one_line_before_anything_is_fetched(
    mistake: dict[str, Any], trained: list[int], build: Path, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "inputs.yaml", [1], **mistake)
    key = f"training_args.{next(iter(mistake))}"
    with pytest.raises(flyte.errors.RuntimeUserError, match=key) as caught:
        run_locally(inputs)
    assert "\n" not in str(caught.value)
    assert not build.exists()


def test_a_condition_of_ones_own_grid_is_tracked_once(
    trained: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []

    class Opened:
        def __init__(self, arguments: TrainingArguments, **options: Any) -> None:
            opened.append(options)

        def __enter__(self) -> tracking.TrackedRun:
            return tracking.TrackedRun()

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(tracking, "wandb_run", Opened)
    inputs = write_inputs(tmp_path / "inputs.yaml", [1, 4], report_to="wandb")
    run_locally(inputs)
    run_locally(inputs)  # both are kept by now
    assert len(opened) == 2
    assert {options["group"] for options in opened} == {opened[0]["group"]}
    assert opened[0]["project"] == "liger-kernel-finetuning"


def test_a_reason_of_an_earlier_local_run_is_gone_when_a_grid_begins(
    trained: list[int], build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a condition that fails before its training, where W&B refuses the key, say."""
    inputs = write_inputs(tmp_path / "inputs.yaml", [1, 3])
    run_locally(inputs)

    def refused(*_: Any) -> None:
        raise RuntimeError("refused before the training")

    monkeypatch.setattr(conditions, "is_kept", lambda *_: False)
    monkeypatch.setattr(experiment, "tracked", refused)
    with pytest.raises(flyte.errors.RuntimeUserError, match="refused before the training"):
        run_locally(inputs)
    text = (build / "results" / "latest" / "report.html").read_text(encoding="utf-8")
    assert "refused before the training" in text
    assert "ValueError: three" not in text
