"""Whether a download fits on the disk, before it begins."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

GIB = 2**30


def lack_of_space(needed: int, folder: Path) -> str | None:
    """What is wrong and what to do, if `needed` bytes do not fit where `folder` is or will be.

    None if they fit, or if the free space is not known.
    """
    existing = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), None)
    if existing is None or not needed:
        return None
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        return None
    if needed <= free:
        return None
    where = "HF_HUB_CACHE" if "HF_HUB_CACHE" in os.environ else "HF_HOME"
    return (
        f"its files take {needed / GIB:.1f} GiB and {folder} has {free / GIB:.1f} GiB free; make "
        f"room, or let {where} name a folder on a larger disk"
    )
