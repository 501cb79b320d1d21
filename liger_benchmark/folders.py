"""The folders that this package, and the libraries it uses, write to on this machine."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

from liger_benchmark.validation import InvalidInput

BUILD_VARIABLE = "LIGER_BENCHMARK_BUILD"
# Results of a local run lie in the project, where they last, or where the variable says.
_NAMED = os.environ.get(BUILD_VARIABLE)
BUILD = Path(
    os.path.abspath(os.path.expanduser(_NAMED))
    if _NAMED
    else Path(__file__).resolve().parents[1] / "build"
)

# The variables by which libraries are told where their caches lie, with the defaults.
_CACHES = {
    "HF_HUB_CACHE": "~/.cache/huggingface/hub",
    "HF_XET_CACHE": "~/.cache/huggingface/xet",
    "HF_ASSETS_CACHE": "~/.cache/huggingface/assets",
    "HF_DATASETS_CACHE": "~/.cache/huggingface/datasets",
    "HF_MODULES_CACHE": "~/.cache/huggingface/modules",
    "MPLCONFIGDIR": "~/.config/matplotlib",
    "TRITON_CACHE_DIR": "~/.triton/cache",
    "WANDB_CACHE_DIR": "~/.cache/wandb",
    "WANDB_CONFIG_DIR": "~/.config/wandb",
    "WANDB_DATA_DIR": "~/.local/share/wandb",
}


def check_build_folder(build: Path = BUILD) -> None:
    """Refuse a folder for results that cannot be written.

    Raises:
        InvalidInput: naming the environment variable that chooses another one.
    """
    if not can_write(build):
        raise InvalidInput(
            f"{BUILD_VARIABLE}: results would go to {str(build)!r}, which cannot be written; "
            "set the variable to a folder that can"
        )


def use_writable_caches(build: Path = BUILD) -> None:
    """Move caches that would lie in a home folder that is missing or cannot be written.

    They go to `caches` in `build`, or to a temporary folder if that cannot be written either.
    Variables that are set already are left as they are. Where the user has no name, as in a
    container that runs under a bare number, one is set for the libraries that ask for it.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = _folder_for_caches(build)
    moved = {
        variable: default
        for variable, default in _CACHES.items()
        if variable not in os.environ and not can_write(_default(default))
    }
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() not in ("0", "", "NO", "OFF", "FALSE"):
        moved.pop("HF_HUB_CACHE", None)  # what was downloaded before is all there is
    if moved:
        caches = _folder_for_caches(build)
        for variable, default in moved.items():
            os.environ[variable] = str(Path(caches, *Path(default).parts[2:]))
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid-{os.getuid()}"


def can_write(path: Path) -> bool:
    """Whether files can be created in the folder `path`, which need not exist yet."""
    existing = next(folder for folder in (path, *path.parents) if os.path.exists(folder))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK, effective_ids=True)


def _default(path: str) -> Path:
    for variable, folder in (("HF_HOME", "~/.cache/huggingface"), ("XDG_CACHE_HOME", "~/.cache")):
        if variable in os.environ and path.startswith(f"{folder}/"):
            path = path.replace(folder, os.environ[variable], 1)
    return Path(path).expanduser().absolute()


def _folder_for_caches(build: Path) -> str:
    return str(build / "caches") if can_write(build) else tempfile.mkdtemp()
