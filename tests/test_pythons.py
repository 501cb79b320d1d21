"""The project on each Python that it takes: what `make` does, and that the code is understood."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CLASSIFIERS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", " ".join(CLASSIFIERS))
# Compiles all files, and imports what needs no package.
UNDERSTANDS = """
import pathlib, sys
for path in [*pathlib.Path("liger_benchmark").rglob("*.py"), *pathlib.Path("tests").rglob("*.py")]:
    compile(path.read_text(encoding="utf-8"), path, "exec")
from liger_benchmark import catalog, choices, code_version, conflicts, files, folders, wording
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
grid = expand_grid(ExperimentArguments(), TrainingArguments(), 3)
print("%d.%d" % sys.version_info[:2], len(grid))
"""


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    command = ["make", "--dry-run", "lint", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def environment_of(version: str, folder: Path) -> Path:
    """An environment whose Python says that it is of this version."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    return folder


def test_make_does_not_use_an_environment_of_another_python(tmp_path: Path) -> None:
    ours = "{}.{}".format(*sys.version_info)
    other = make(f"PYTHON={sys.executable}", f"VENV={environment_of('3.10', tmp_path / 'other')}")
    assert other.returncode
    assert "other was made with Python 3.10; give " in other.stderr
    assert other.stderr.strip().endswith(f"an environment of its own: VENV=.venv-{ours}.  Stop.")
    same = make(f"PYTHON={sys.executable}", f"VENV={environment_of(ours, tmp_path / 'same')}")
    assert same.returncode == 0 and f"{tmp_path}/same/bin/ruff check" in same.stdout
    lacking = make("PYTHON=python9", f"VENV={tmp_path / 'same'}")
    assert lacking.returncode and "python9 is not there, or cannot be run" in lacking.stderr


@pytest.mark.parametrize("version", PYTHONS)
def test_each_python_that_the_project_takes_understands_its_code(version: str) -> None:
    """3.12 warns of escapes in strings that 3.11 passed over."""
    is_ours = version == "{}.{}".format(*sys.version_info)
    python = sys.executable if is_ours else shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"python{version} is not on this machine")
    command = [python, "-W", "error", "-B", "-c", UNDERSTANDS]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == f"{version} 36\n", done.stderr
