"""Which version of the measuring code a result belongs to, as a hash of that code.

What decides what a run measures lies in two folders, `training/` and `sources/`, and in the few
modules that they import. A change to anything else leaves results as they are.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent
# What lies outside the folders and is imported by them; a test follows the imports.
TRAINING_CODE = (
    *("training", "sources"),
    *("arguments.py", "catalog.py", "code_version.py", "files.py", "run.py", "validation.py"),
)
SOURCES_CODE = ("sources", "arguments.py", "catalog.py", "files.py", "validation.py")


def code_digest(parts: tuple[str, ...] = TRAINING_CODE) -> str:
    """A hash of the source code of `parts`, folders and modules of this package."""
    digest = hashlib.sha256()
    for path in code_files(parts):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def code_files(parts: tuple[str, ...] = TRAINING_CODE) -> list[Path]:
    """The Python files that `parts` stand for, in the order of their names."""
    files = []
    for part in parts:
        path = PACKAGE / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return sorted(files)
