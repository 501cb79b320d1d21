"""What folders of sources hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def digest(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- folders


def load(folder: Path) -> list[dict[str, Any]]:
    import datasets

    return datasets.load_from_disk(str(folder)).to_list()
