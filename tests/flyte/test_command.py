"""The import of the workflow, and `pyflyte run` in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.commands import GOOD
from support.projects import copy_project

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def test_importing_the_workflow_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; import liger_kernel_finetuning; "
        "print([m for m in ('torch', 'transformers', 'trl', 'datasets', 'matplotlib') "
        "if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_the_workflow_imports_with_and_without_union() -> None:
    without_union = (
        "import sys; sys.modules['union'] = None; sys.modules['unionai'] = None\n"
        "import importlib_metadata, importlib.metadata\n"
        "for m in (importlib_metadata, importlib.metadata):\n"
        "    def entry_points(original=m.entry_points, **k):\n"
        "        found = original(**k)\n"
        "        return [e for e in found if 'union' not in e.value] if k else found\n"
        "    m.entry_points = entry_points\n"
    )
    group = "import liger_kernel_finetuning as w; print(w.WANDB_SECRET.group)"
    # Plain Flyte wants a secret's group, whatever is installed; the `union` command names none.
    for code, expected in (
        (without_union + group, "liger-benchmark"),
        (group, "liger-benchmark"),
        ("import sys; sys.argv = ['union']; " + group, "None"),
    ):
        output = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
        )
        assert output.returncode == 0, output.stderr
        assert output.stdout.strip() == expected


def pyflyte_run(project: Path, home: Path, temporary: Path, inputs: str) -> Any:
    for folder in (home, temporary):
        folder.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [
            BIN / "pyflyte",
            "run",
            "liger_kernel_finetuning.py",
            "benchmarking_experiment",
            "--inputs-file",
            inputs,
        ],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_command_works_with_an_empty_home_and_again_after_tmp_was_emptied(
    tmp_path: Path,
) -> None:
    project = copy_project(tmp_path / "project", used=False)
    both_arms = {"use_liger": [True, False], "per_device_train_batch_size": [1]}
    inputs = GOOD | {"experiment_args": both_arms}
    (project / "inputs.yaml").write_text(json.dumps(inputs), encoding="utf-8")
    first = pyflyte_run(project, tmp_path / "home", tmp_path / "tmp", "inputs.yaml")
    assert first.returncode == 0, first.stderr
    page = Path(first.stdout.strip().splitlines()[-1])
    assert page.is_file() and page.is_relative_to(project / "build")
    shutil.rmtree(tmp_path / "tmp")
    page.unlink()
    again = pyflyte_run(project, tmp_path / "home", tmp_path / "tmp", "inputs.yaml")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("kept from an earlier run") == 2
    assert Path(again.stdout.strip().splitlines()[-1]) == page
    assert page.is_file()


def test_a_wrong_inputs_file_ends_in_one_line_and_starts_nothing(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project", used=False)
    (project / "wrong.yaml").write_text("training_args: {dataset: tatsu-lab/alpaca}\n")
    ended = pyflyte_run(project, tmp_path / "home", tmp_path / "tmp", "wrong.yaml")
    assert ended.returncode != 0
    [line] = ended.stderr.strip().splitlines()
    assert "wrong.yaml" in line and "did you mean dataset_name?" in line
    assert not (project / "build").exists()
