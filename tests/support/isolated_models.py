"""Models of both arms, built in a fresh process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.training.meta_model import build, difference


def difference_of_arms(send: Any, folder: Path, kernels: Sequence[str]) -> str | None:
    """How the model in `folder` with these kernels differs from the one without."""
    vanilla = build(folder, None, "eager")
    try:
        return difference(vanilla, build(folder, kernels, "eager"))
    except ValueError as error:
        return str(error)
