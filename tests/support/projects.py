"""Copies of the project, and which of its files a module needs."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

PACKAGE = "liger_benchmark"


def copy_project(folder: Path, *, used: bool = True) -> Path:
    """A copy of the project that can be run or registered.

    Args:
        used: also with stand-ins for what lies about in a checkout that has been used: `.git`, an
            environment, old results, tests.
    """
    checkout = Path(__file__).parents[2]
    folder.mkdir(parents=True)
    for path in checkout.iterdir():
        if path.suffix in (".py", ".yaml", ".txt"):
            shutil.copy(path, folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(checkout / PACKAGE, folder / PACKAGE, ignore=ignored)
    if not used:
        return folder
    for name in (
        ".git/config", ".venv/lib/module.py", "README.md", "build/runs/history.csv",
        "results/grid/report.html", "tests/test_module.py", "wandb/offline-run/files/x.py",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# not for the cluster\n")
    return folder


def needed_modules(project: Path, start: str) -> set[str]:
    """The project's own files that the module `start` can come to import, itself included.

    Imports inside functions count: what they name has to be there when the function is called.
    """
    needed: set[str] = set()
    waiting = {start}
    while waiting:
        name = waiting.pop()
        path = project / f"{name.replace('.', '/')}.py"
        package = project / name.replace(".", "/") / "__init__.py"
        path = package if package.is_file() else path
        if not path.is_file() or str(path.relative_to(project)) in needed:
            continue
        needed.add(str(path.relative_to(project)))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for module in found:  # importing a.b imports a before
                parts = module.split(".")
                waiting |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return needed
