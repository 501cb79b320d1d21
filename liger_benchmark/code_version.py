"""A hash of the code that determines what a run measures; part of every cache key.

That code is the folders `training/` and `sources/` and the modules that they import. A change to
any other file keeps cached results valid.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent
# Folders, and the modules outside them that they import. A test compares this with the imports.
TRAINING_CODE = (
    *("training", "sources"),
    *("arguments.py", "catalog.py", "choices.py", "code_version.py", "conflicts.py"),
    *("files.py", "folders.py", "run.py"),
    "validation.py",
)
SOURCES_CODE = (
    *("sources", "arguments.py", "catalog.py", "choices.py", "conflicts.py"),
    *("files.py", "validation.py"),
)


def code_digest(parts: tuple[str, ...] = TRAINING_CODE) -> str:
    """A hash of the source code in `parts`, which are folders and modules of this package."""
    digest = hashlib.sha256()
    for path in code_files(parts):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def code_files(parts: tuple[str, ...] = TRAINING_CODE) -> list[Path]:
    """The Python files in `parts`, sorted by path."""
    files = []
    for part in parts:
        path = PACKAGE / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return sorted(files)
