"""Runs in another environment: the same rows, plain data both ways, and errors in one line."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.experiment.preflight import check_experiment
from liger_benchmark.training import other_environment
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import ChildFailed
from liger_benchmark.validation import InvalidInput

EXAMPLE = Path(__file__).parents[2] / "examples" / "versions.yaml"


def elsewhere(where: str | Path, **changes: Any) -> TrainingArguments:
    changes = {"environment": "other", "environments": {"other": str(where)}, **changes}
    return replace(TINY, **changes)


def test_the_example_compares_two_environments_and_this_one_with_itself_is_the_same(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    grid = read_inputs_file(EXAMPLE).grid
    assert [args.arm for args in grid] == ["vanilla", "vanilla + other", "Liger", "Liger + other"]
    # As CONTRIBUTING says the environment is .venv; the tests may run in another.
    grid = [replace(args, environments={"other": sys.prefix}) for args in grid]
    check_experiment(grid, on_cluster=False, gpu=None)
    rows: list[dict[str, Any]] = []
    runs = [
        run_condition(args, dataset_folder, model_folder, tmp_path, on_row=rows.append)
        for args in grid
    ]
    assert len(rows) == 4 * 3
    here, there = runs[0], runs[1]
    assert there.record["environment"]["packages"] == here.record["environment"]["packages"]
    assert list(there.history["loss"]) == pytest.approx(list(here.history["loss"]), rel=1e-6)
    assert there.record["phases"].keys() == here.record["phases"].keys()
    assert invalid_reasons(runs, "vanilla") == {}
    # Other versions are what such arms are compared for; without being asked for, they are not.
    there.record["environment"]["packages"]["trl"] = "0.1.0"
    assert invalid_reasons(runs, "vanilla") == {}
    runs[2].record["environment"]["packages"]["trl"] = "0.1.0"
    assert "packages differ" in invalid_reasons(runs, "vanilla")["Liger", 1]


def test_an_error_there_is_the_childs_own(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = elsewhere(sys.prefix, gpu_memory_limit_gib=39)
    with pytest.raises(ChildFailed, match="gpu_memory_limit_gib: 39 needs a GPU") as failure:
        run_condition(arguments, dataset_folder, model_folder, tmp_path)
    assert failure.value.error["type"] == "InvalidInput"


def test_an_environment_without_the_packages_says_what_is_missing(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    python = tmp_path / "bare"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(ChildFailed, match="No module named 'pandas'"):
        run_condition(elsewhere(python), dataset_folder, model_folder, tmp_path)


@pytest.mark.parametrize(("devices", "seen"), [(["4", "5"], "4"), ([], "")])
def test_an_environment_sees_only_the_gpu_of_its_condition(
    devices: list[str], seen: str, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    python = tmp_path / "tells"
    tell = f'echo "$CUDA_VISIBLE_DEVICES" > {tmp_path / "seen"}'
    python.write_text(f"#!/bin/sh\n{tell}\nexit 3\n", encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(ChildFailed, match="exit code 3"):
        run_condition(elsewhere(python), dataset_folder, model_folder, tmp_path, devices=devices)
    assert (tmp_path / "seen").read_text(encoding="utf-8").strip() == seen


@pytest.mark.parametrize("where", ["absent", "absent.txt", "/etc/passwd"])
def test_a_missing_environment_is_one_line_before_anything_starts(where: str) -> None:
    with pytest.raises(InvalidInput, match="environments: other: .* is neither") as error:
        check_experiment([elsewhere(where)], on_cluster=False, gpu=None)
    assert "\n" not in str(error.value)


def test_a_cluster_has_no_other_environments() -> None:
    with pytest.raises(InvalidInput, match="environment: other environments lie on this machine"):
        check_experiment([elsewhere(sys.prefix)], on_cluster=True, gpu=None)


def test_an_environment_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match='environment: "old" is not among environments'):
        elsewhere(sys.prefix, environment="old")


def test_a_runs_key_changes_with_the_environments_packages(tmp_path: Path) -> None:
    assert other_environment.environment_key(TINY) == ""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("trl==1.14.0\n", encoding="utf-8")
    before = other_environment.environment_key(elsewhere(requirements))
    requirements.write_text("trl==1.16.0\n", encoding="utf-8")
    assert before != other_environment.environment_key(elsewhere(requirements)) != ""
    assert len(other_environment.environment_key(elsewhere(sys.prefix))) == 16


def test_an_environment_that_two_conditions_want_at_once_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_environment, "BUILD", tmp_path)
    both_ask, made = threading.Barrier(2, timeout=60), []

    def install(_: Path, folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)  # the other asks meanwhile
        folder.mkdir(parents=True)
        (folder / "installed").touch()

    def ask(_: int) -> Path:
        both_ask.wait()
        return other_environment._interpreter(requirements)

    monkeypatch.setattr(other_environment, "_install", install)
    requirements = tmp_path / "old.txt"
    requirements.write_text("trl==1.14.0\n", encoding="utf-8")
    with ThreadPoolExecutor(2) as both:
        assert len(set(both.map(ask, range(2)))) == 1
    assert len(made) == 1


def test_an_environment_is_made_from_a_requirements_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_environment, "BUILD", tmp_path)
    commands: list[list[str]] = []

    class Done:
        returncode, stderr = 0, ""

    def run(command: list[Any], **_: Any) -> Done:
        commands.append(list(map(str, command)))
        if command[2] == "venv":
            Path(command[-1]).mkdir(parents=True)
        return Done()

    monkeypatch.setattr(other_environment.subprocess, "run", run)
    requirements = tmp_path / "old.txt"
    requirements.write_text("trl==1.14.0\n", encoding="utf-8")
    python = other_environment._interpreter(requirements)
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    assert commands[1][0] == str(python) and commands[1][-1] == str(requirements)
    assert other_environment._interpreter(requirements) == python
    assert len(commands) == 2
