"""A result is used again for the same training code, the same pins and the same kind of GPU only.

The keys are read from the tasks as a client registers them: the workflow is imported in a process
of its own, from a copy of the project in which one thing was touched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest
from support.control_plane import WORKFLOW, run_child
from support.projects import PACKAGE, copy_project, needed_modules

from liger_benchmark.code_version import SOURCES_CODE, TRAINING_CODE, code_files

Keys: TypeAlias = dict[str, str]

PRINT_KEYS = f"""
import json, {WORKFLOW} as workflow
tasks = (workflow.download_model, workflow.train_model, workflow.run_cached_training_benchmark)
print(json.dumps({{task.name.split(".")[-1]: task.metadata.cache_version for task in tasks}}))
"""


def touch(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n# touched\n")


def touch_what_runs_do_not_use(project: Path) -> None:
    for path in (f"{PACKAGE}/report/page.py", f"{PACKAGE}/report/terminal.py", "README.md"):
        touch(project / path)


def move_a_pin(project: Path) -> None:
    path = project / "constraints.txt"
    pins = path.read_text(encoding="utf-8")
    assert "\nliger-kernel==" in pins
    path.write_text(pins.replace("\nliger-kernel==", "\nliger-kernel==9."), encoding="utf-8")


TOUCHED: dict[str, Callable[[Path], None]] = {
    "nothing": lambda project: None,
    "training": lambda project: touch(project / PACKAGE / "training" / "trainer.py"),
    "pin": move_a_pin,
    "accelerator": lambda project: None,
    "report and readme": touch_what_runs_do_not_use,
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Keys]:
    """The cache versions of the tasks, by what was touched."""
    folder = tmp_path_factory.mktemp("touched")

    def read(touched: str) -> Keys:
        project = copy_project(folder / touched)
        TOUCHED[touched](project)
        child = run_child(
            [sys.executable, "-c", PRINT_KEYS],
            cwd=project,
            environment={
                "HOME": str(folder),
                "LIGER_BENCHMARK_GPU": "H100" if touched == "accelerator" else "A100",
            },
        )
        assert child.returncode == 0, child.stdout
        return dict(json.loads(child.stdout.splitlines()[-1]))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(TOUCHED, pool.map(read, TOUCHED), strict=True))


@pytest.mark.parametrize("touched", ["training", "pin", "accelerator"])
def test_a_change_that_matters_to_a_run_changes_its_key(
    keys: dict[str, Keys], touched: str
) -> None:
    for task in ("train_model", "run_cached_training_benchmark"):
        assert keys[touched][task] != keys["nothing"][task]


def test_a_change_to_the_report_or_the_readme_leaves_every_key(keys: dict[str, Keys]) -> None:
    assert keys["report and readme"] == keys["nothing"]


@pytest.mark.parametrize("touched", ["training", "accelerator"])
def test_downloads_are_kept_whatever_trains_on_them(keys: dict[str, Keys], touched: str) -> None:
    assert keys[touched]["download_model"] == keys["nothing"]["download_model"]


PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("parts", [TRAINING_CODE, SOURCES_CODE], ids=["training", "sources"])
def test_the_key_covers_its_folders_and_exactly_what_they_import(parts: tuple[str, ...]) -> None:
    covered = {path.relative_to(PROJECT).as_posix() for path in code_files(parts)}
    imported: set[str] = set()
    for path in covered:
        imported |= needed_modules(PROJECT, path.removesuffix(".py").replace("/", "."))
    assert imported - {f"{PACKAGE}/__init__.py"} == covered


def test_a_file_added_to_training_is_in_the_key_by_itself(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    read = [
        sys.executable,
        "-c",
        f"from {PACKAGE}.code_version import code_digest as d; print(d())",
    ]
    before = run_child(read, cwd=project, environment={}).stdout
    (project / PACKAGE / "training" / "new.py").write_text("")
    assert run_child(read, cwd=project, environment={}).stdout != before
