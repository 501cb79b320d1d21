"""Every way of starting the workflow: what is checked and announced is what runs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import GOOD, TRAINING, Typed, type_command, written
from support.runs import make_run
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.flyte import command_line, conditions, local_run
from liger_benchmark.validation import InvalidInput

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WRONG = GOOD | {"training_args": TRAINING | {"model": 1}}
# How the inputs may be given. A `-` at the end is standard input.
WAYS: dict[str, Callable[[str, Path], list[str]]] = {
    "a file": lambda text, path: ["--inputs-file", str(path)],
    "a file after an equals sign": lambda text, path: [f"--inputs-file={path}"],
    "standard input": lambda text, path: ["-"],
    "standard input as the file": lambda text, path: ["--inputs-file", "-"],
    "flags": lambda text, path: [
        part for key, value in json.loads(text).items() for part in (f"--{key}", json.dumps(value))
    ],
    "flags that name files": lambda text, path: [
        part
        for key, value in json.loads(text).items()
        for part in (f"--{key}", str(written(path.with_name(f"{key}.json"), json.dumps(value))))
        if key != "n_runs"
    ],
}
TypeIn = Callable[..., Typed]


@pytest.fixture(autouse=True)
def build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    monkeypatch.setattr(command_line, "visible_gpu", lambda: None)
    return tmp_path / "build"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conditions that were trained, in a moment each."""
    conditions_trained: list[str] = []

    def train(arguments: TrainingArguments, *_: Any, **__: Any) -> Any:
        conditions_trained.append(arguments.condition)
        arm = "Liger" if arguments.use_liger else "vanilla"
        run = make_run(arm, arguments.per_device_train_batch_size, arguments.run, cpu=True)
        return dataclasses.replace(run, training_args=arguments)

    monkeypatch.setattr(conditions, "run_condition", train)
    return conditions_trained


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TypeIn:
    """Start with inputs given in one of `WAYS`, followed by other arguments."""
    # The summary comes when the process ends, which here is that of all tests.
    monkeypatch.setattr(command_line.atexit, "register", lambda *_: None)
    monkeypatch.setenv("FLYTE_LOCAL_CACHE_OVERWRITE", "false")

    def typed(inputs: dict[str, Any], way: str, *more: str, **options: Any) -> Typed:
        text = json.dumps(inputs)
        arguments = WAYS[way](text, written(tmp_path / "inputs.yaml", text))
        standard_input = text if "-" in arguments else None
        return type_command(
            monkeypatch, *more, *arguments, standard_input=standard_input, **options
        )

    return typed


@pytest.mark.parametrize("options", [(), ("--remote",)], ids=["local", "remote"])
@pytest.mark.parametrize("way", WAYS)
def test_a_mistake_is_one_line_and_starts_nothing_however_the_inputs_are_given(
    type_in: TypeIn, way: str, options: tuple[str, ...]
) -> None:
    ended = type_in(WRONG, way, options=options)
    assert ended.exit_code != 0 and ended.inputs == []
    [line] = ended.lines
    assert "training_args.model: unknown key (value 1); did you mean model_name?" in line


@pytest.mark.parametrize("way", [way for way in WAYS if way != "flags that name files"])
def test_what_is_announced_is_what_runs(type_in: TypeIn, trained: list[str], way: str) -> None:
    ended = type_in(GOOD, way, starts=True)
    assert ended.exit_code == 0, ended.lines
    assert "1 run: 1 arm (vanilla) × 1 batch size × 1 repeat" in ended.lines
    assert trained == ["phi3-tiny bs=1 vanilla run=1"]


def test_a_flag_takes_the_place_of_that_part_of_the_file(
    type_in: TypeIn, trained: list[str]
) -> None:
    axes = json.dumps({"use_liger": [True, False], "per_device_train_batch_size": [1, 2]})
    ended = type_in(GOOD, "a file", "--n_runs", "2", "--experiment_args", axes, starts=True)
    assert ended.exit_code == 0, ended.lines
    said = [line for line in ended.lines if " arms " in line]
    assert said == ["8 runs: 2 arms (Liger, vanilla) × 2 batch sizes × 2 repeats"]
    assert len(trained) == 8


def test_on_a_cluster_a_run_is_announced_before_the_execution_is_created(type_in: TypeIn) -> None:
    ended = type_in(GOOD, "a file", "--n_runs", "2", options=("--remote",))
    assert ended.exit_code == 0
    assert ended.lines[0] == "2 runs: 1 arm (vanilla) × 1 batch size × 2 repeats"
    [inputs] = ended.inputs
    assert inputs["n_runs"].scalar.primitive.integer == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "say which experiment to run: --inputs-file examples/smoke_inputs.yaml"),
        (["--inputs-file"], "--inputs-file: the file's name is missing"),
        (["--inputs-file=absent.yaml"], "absent.yaml: cannot be read: No such file"),
        (["--inputs-file", "a", "--inputs-file=b"], "--inputs-file: a and b: one experiment"),
        (["--inputs-file", "a", "-"], "--inputs-file: a and -: one experiment has one file"),
        (["--n_runs", "two"], 'n_runs: "two" is not a whole number'),
        (["--n_runs", "0"], "n_runs: 0 must be 1 or more"),
        (["--experiment_args", "{use_liger"], "--experiment_args: "),
        (["--n_rnus", "2"], "No such option '--n_rnus'"),
        # The defaults are the blog's experiment, which a CPU cannot run.
        (["--attempt", "2"], "training_args.bf16: true needs a GPU"),
    ],
)
def test_what_cannot_be_started_is_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    ended = type_command(monkeypatch, *arguments)
    assert ended.exit_code != 0 and ended.inputs == []
    [said] = ended.lines
    assert said.startswith(line)


def test_help_is_shown_without_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = type_command(monkeypatch, "--help")
    assert ended.exit_code == 0 and ended.inputs == []
    assert any("--inputs-file" in line for line in ended.lines)


def test_json_may_be_indented_by_tabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "inputs.json", json.dumps(GOOD, indent="\t"))
    assert type_command(monkeypatch, f"--inputs-file={path}").exit_code == 0


def test_a_call_says_what_runs_and_shows_its_page_and_can_be_repeated(
    trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def notebook(batch_size: int) -> Any:  # a cell runs inside an event loop
        axes = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[batch_size])
        return workflow.benchmarking_experiment(experiment_args=axes, training_args=TINY, n_runs=1)

    for batch_size in (1, 2):
        results, table = asyncio.run(notebook(batch_size))
        assert len(results) == len(table) == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "1 run: 1 arm (vanilla) × 1 batch size × 1 repeat"
        assert sum("1 arm (vanilla)" in line for line in lines) == 1
        assert Path(lines[-1]).is_file()
    assert len(trained) == 2


def test_a_call_without_inputs_runs_the_defaults_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    monkeypatch.setattr(workflow.fetch, "fetch_dataset", stop)
    with pytest.raises(Stopped):
        workflow.benchmarking_experiment()
    assert capsys.readouterr().out.startswith("36 runs: 2 arms (Liger, vanilla) × 6 batch sizes")


def test_overwriting_the_cache_runs_everything_again(type_in: TypeIn, trained: list[str]) -> None:
    first = type_in(GOOD, "a file", starts=True)
    kept = type_in(GOOD, "a file", starts=True)
    assert len(trained) == 1
    assert any("kept from an earlier run" in line for line in kept.lines)
    [run] = (local_run.BUILD / "runs").iterdir()
    before = stat_of(run)
    again = type_in(GOOD, "a file", options=("--overwrite-cache",), starts=True)
    assert len(trained) == 2
    assert not any("kept from an earlier run" in line for line in again.lines)
    assert stat_of(run) != before  # the old run was replaced
    assert {first.exit_code, kept.exit_code, again.exit_code} == {0}


def stat_of(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_ino, status.st_mtime_ns


@pytest.mark.parametrize(("fresh", "flag"), [("FRESH=1", True), ("FRESH=0", False)])
def test_make_run_passes_the_flag_on(fresh: str, flag: bool) -> None:
    command = subprocess.run(
        ["make", "-n", "run", "INPUTS=x.yaml", fresh],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ("--overwrite-cache" in command) is flag


def test_a_folder_for_results_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: TypeIn
) -> None:
    monkeypatch.setattr(local_run, "BUILD", written(tmp_path / "file", "") / "build")
    ended = type_in(GOOD, "a file")
    [line] = ended.lines
    assert line.startswith("LIGER_BENCHMARK_BUILD: results would go to ")
    assert ended.inputs == []
    with pytest.raises(InvalidInput, match="LIGER_BENCHMARK_BUILD"):
        workflow.benchmarking_experiment()
