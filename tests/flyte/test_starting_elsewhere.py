"""The workflow started by other users, in other folders, and in terminals of other encodings."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.commands import GOOD, written
from support.projects import copy_project

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def environment_of(tmp_path: Path, **more: str) -> dict[str, str]:
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "HF_HUB_OFFLINE": "1",
        **more,
    }


def page_of(output: str) -> Path:
    return Path(output.strip().splitlines()[-1])


def test_a_run_by_a_link_in_a_folder_of_misleading_names_outlives_its_ascii_terminal(
    tmp_path: Path,
) -> None:
    project = copy_project(tmp_path / "project", used=False)
    elsewhere = tmp_path / "elsewhere"
    for name in ("torch", "datasets", "trl", "transformers", "accelerate"):
        (elsewhere / name).mkdir(parents=True)
        written(elsewhere / name / "__init__.py", "raise ImportError('not the library')\n")
    (elsewhere / "link.py").symlink_to(project / "liger_kernel_finetuning.py")
    inputs = written(tmp_path / "inputs.yaml", json.dumps(GOOD))
    with subprocess.Popen(
        [
            *("nohup", BIN / "pyflyte", "run", "link.py", "benchmarking_experiment"),
            f"--inputs-file={inputs}",
        ],
        cwd=elsewhere,
        env=environment_of(tmp_path, PYTHONIOENCODING="ascii", PYTHONUNBUFFERED="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        output = ""
        for line in run.stdout:
            output += line
            if line.startswith("[1/1]"):
                os.killpg(run.pid, signal.SIGHUP)  # the terminal is closed
    assert run.returncode == 0, output
    assert "1 run: 1 arm (vanilla) ? 1 batch size" in output
    assert page_of(output).is_relative_to(project / "build")


def test_the_workflow_runs_as_a_module_of_a_bigger_repository(tmp_path: Path) -> None:
    (tmp_path / "repository" / "bench").mkdir(parents=True)
    project = copy_project(tmp_path / "repository" / "bench" / "liger", used=False)
    inputs = written(tmp_path / "inputs.yaml", json.dumps(GOOD))
    for arguments in (["--help"], ["benchmarking_experiment", f"--inputs-file={inputs}"]):
        if arguments != ["--help"]:
            written(project / "__init__.py", "")
            written(project.parent / "__init__.py", "")
        ended = subprocess.run(
            [BIN / "pyflyte", "run", "bench/liger/liger_kernel_finetuning.py", *arguments],
            cwd=tmp_path / "repository",
            env=environment_of(tmp_path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert page_of(ended.stdout).is_file()


def test_another_user_without_a_name_or_a_home_runs_a_checkout_that_is_read_only(
    tmp_path: Path,
) -> None:
    project = copy_project(tmp_path / "project", used=False)
    inputs = written(tmp_path / "inputs.yaml", json.dumps(GOOD))
    environment = environment_of(tmp_path, HOME="/")
    shared = tmp_path / "shared"
    shared.mkdir()
    for folder in (shared, tmp_path / "tmp"):
        folder.chmod(0o777)
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv to become another user")
        # It may read all files, as they may lie in the home of root, and write none.
        as_user = [
            *("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"),
            *("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"),
        ]
    else:
        as_user = []
        for path in (project, *project.rglob("*")):
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))

    def run(**more: str) -> Any:
        return subprocess.run(
            [
                *(*as_user, BIN / "pyflyte", "run", project / "liger_kernel_finetuning.py"),
                *("benchmarking_experiment", "--inputs-file", inputs),
            ],
            cwd=tmp_path,
            env=environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    refused = run()
    assert refused.returncode != 0
    [line] = refused.stderr.strip().splitlines()
    assert re.match("LIGER_BENCHMARK_BUILD: results would go to .*set the variable", line)
    ended = run(LIGER_BENCHMARK_BUILD=str(shared / "build"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert page_of(ended.stdout).is_relative_to(shared / "build")


@pytest.mark.parametrize(
    "terminal",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "latin-1", "C"],
)
def test_what_a_terminal_cannot_show_is_replaced(tmp_path: Path, terminal: dict[str, str]) -> None:
    code = (
        "from liger_benchmark.report.progress import replace_unprintable\n"
        "replace_unprintable()\n"
        r"print('1 arm \u00d7 2 \u2026', flush=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment_of(tmp_path, **terminal),
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr
    times = b"\xd7" if terminal.get("PYTHONIOENCODING") == "latin-1" else b"?"
    assert ended.stdout == b"1 arm " + times + b" 2 ?\n"
