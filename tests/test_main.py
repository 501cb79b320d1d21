"""The command line: which command it runs, and what it says to one that it does not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from liger_benchmark.__main__ import main

PROJECT = Path(__file__).parents[1]
GRID = PROJECT / "results" / "phi3-mini-h200-fastest-2048"


def test_report_rebuilds_the_page_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.html"
    assert main(["report", str(GRID), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert output.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_commands_own_refusal_is_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(tmp_path / "missing.yaml")]) == 1
    assert "missing.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "profile"])
def test_each_command_describes_its_own_arguments(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert "--output FILE" in capsys.readouterr().out


def test_an_unknown_command_is_answered_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["reprot"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "reprot" in said and "report" in said and "profile" in said


def test_the_package_runs_as_a_module() -> None:
    child = subprocess.run(
        [sys.executable, "-m", "liger_benchmark", "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("usage: liger-benchmark")
