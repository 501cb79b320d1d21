"""How a typed local run ends: whole, interrupted, refused."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from wandb.errors import AuthenticationError

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import before_start
from liger_benchmark.flyte.before_start import check_before_start
from liger_benchmark.flyte.endings import own_error
from liger_benchmark.flyte.tracking import TrackingRefused
from liger_benchmark.training.isolated_process import ChildFailed
from liger_benchmark.validation import InvalidInput

PROJECT = Path(__file__).parents[2]
SETTINGS = SimpleNamespace(settings=SimpleNamespace(mode="online"))
INPUTS = PROJECT / "examples" / "smoke_inputs.yaml"


def typed(build: Path, fault: str = "", inputs: Path = INPUTS) -> subprocess.CompletedProcess[str]:
    script = PROJECT / "tests" / "support" / "scripts" / "type_run.py"
    search_path = os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])
    return subprocess.run(
        [sys.executable, script, build, inputs, *([fault] if fault else [])],
        env={**os.environ, "PYTHONPATH": search_path},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_an_interrupted_run_says_what_is_kept_leaves_a_page_and_goes_on(tmp_path: Path) -> None:
    ended = typed(tmp_path / "build", "interrupt")
    assert ended.returncode == 130
    *_, kept, page = ended.stdout.strip().splitlines()
    assert (
        kept == "Interrupted: 1 of 8 runs are kept, and the same command goes on with the others."
    )
    path = Path(page.removeprefix("The page so far: "))
    assert "1 of 8 runs have ended" in path.read_text(encoding="utf-8")
    assert "Traceback" not in ended.stdout + ended.stderr
    resumed = typed(tmp_path / "build", "interrupt-later")
    assert resumed.returncode == 130
    assert resumed.stdout.strip().splitlines()[-2:] == [kept, page]
    before_training = typed(tmp_path / "build", "interrupt-dry-pass")
    assert before_training.stdout.strip().splitlines()[-2:] == [kept, page]
    again = typed(tmp_path / "build")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("kept from an earlier run") == 1
    # Below the summary nothing: no outputs of flytekit's, no table of pandas'.
    assert again.stdout.strip().splitlines()[-1] == str(path)
    assert "DefaultNamedTupleOutput" not in again.stdout and "columns]" not in again.stdout
    assert "examples" not in again.stdout + again.stderr
    assert len(list((path.parent / "runs").iterdir())) == 8


@pytest.mark.parametrize("fault", ["interrupt-download", "interrupt-dry-pass"])
def test_an_interruption_before_the_first_run_is_one_line(fault: str, tmp_path: Path) -> None:
    ended = typed(tmp_path / "build", fault)
    assert ended.returncode == 130
    assert ended.stdout.strip().splitlines()[-1] == (
        "Interrupted before a run ended: what was downloaded is kept, and the same command goes on."
    )
    assert ended.stdout.count("Interrupted") == 1
    assert "Traceback" not in ended.stdout + ended.stderr


def test_the_text_of_an_exit_is_not_lost_and_is_no_interruption(tmp_path: Path) -> None:
    ended = typed(tmp_path / "build", "exit")
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == "the library says why"
    assert "Interrupted" not in ended.stdout


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("no-network", "training_args.model_name: the Hub cannot be reached; try a folder"),
        ("crash", "RuntimeError: it broke"),
    ],
)
def test_an_error_of_ours_is_one_line_that_names_the_file_with_the_traceback(
    tmp_path: Path, fault: str, line: str
) -> None:
    ended = typed(tmp_path / "build", fault)
    assert ended.returncode == 1
    *_, last = ended.stderr.strip().splitlines()
    match = re.fullmatch(re.escape(line) + r" \(traceback: (.*)\)", last)
    assert match, ended.stderr
    assert "Traceback (most recent" in Path(match[1]).read_text(encoding="utf-8")
    assert "Traceback" not in ended.stderr


def test_rows_that_do_not_fit_are_refused_before_the_model_is_downloaded(tmp_path: Path) -> None:
    inputs = yaml.safe_load(INPUTS.read_text(encoding="utf-8"))
    inputs["training_args"]["dataset_format"] = "messages"
    file = tmp_path / "inputs.yaml"
    file.write_text(yaml.safe_dump(inputs), encoding="utf-8")
    ended = typed(tmp_path / "build", "no-network", file)
    assert ended.returncode == 1
    assert 'dataset_format: "text" would fit' in ended.stderr.strip().splitlines()[-1]
    assert "the Hub cannot be reached" not in ended.stderr


def test_an_error_of_ours_is_found_below_flytes_and_others_are_left_alone() -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = InvalidInput("Error encountered while executing 'a.b':\n  seed: 0 is odd")
    assert own_error(outer) == "seed: 0 is odd"
    assert own_error(ChildFailed({"type": "E", "message": "m\nn", "traceback": ""})) == "E: m n"
    assert own_error(KeyError("x")) is None


@pytest.mark.parametrize(
    ("environment", "has_key", "report_to", "is_refused"),
    [
        ({}, False, "wandb", True),
        ({}, True, "wandb", False),
        ({}, False, "none", False),
        ({"WANDB_API_KEY": "k" * 40}, False, "wandb", False),
    ],
)
def test_a_missing_key_for_wandb_is_said_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    has_key: bool,
    report_to: str,
    is_refused: bool,
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(before_start.wandb, "setup", lambda: SETTINGS)
    monkeypatch.setattr(before_start.wandb, "login", lambda **_: has_key)
    expected = pytest.raises(TrackingRefused) if is_refused else contextlib.nullcontext()
    with expected:
        check_before_start(TrainingArguments(report_to=report_to))


def test_a_run_without_assertions_is_refused_in_one_line() -> None:
    """flytekit tells a text and a null apart by an assertion."""
    code = (
        "from liger_benchmark.flyte.before_start import check_before_start as check\n"
        "try:\n    check(None)\nexcept ValueError as error:\n    print(error)"
    )
    command = [sys.executable, "-O", "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.startswith("PYTHONOPTIMIZE: flytekit needs Python's assertions"), done.stderr


def test_a_malformed_key_for_wandb_is_said_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def login(**_: object) -> bool:
        raise AuthenticationError("API key must have 40+ characters, has 5.")

    monkeypatch.setenv("WANDB_API_KEY", "short")
    monkeypatch.setattr(before_start.wandb, "setup", lambda: SETTINGS)
    monkeypatch.setattr(before_start.wandb, "login", login)
    with pytest.raises(TrackingRefused, match=r"must have 40\+ characters, has 5\.; check the key"):
        check_before_start(TrainingArguments(report_to="wandb"))
