"""Folders and files that appear whole or not at all, also if two experiments write them at once."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_folder(
    folder: Path, keep: Callable[[Path, Path], bool] = lambda old, new: False
) -> Iterator[Path]:
    """A folder to fill that takes its place whole when the block is left without an error.

    Under its own name until then: a run that was killed is never taken for a finished one, and two
    experiments that run the same condition at once do not write into each other's files.

    Args:
        keep: told the folder that is in the place already and the new one, whether the old one
            stays. An experiment beside this one may be reading it.
    """
    with _partial_folder(folder) as partial:
        yield partial
        if folder.is_dir() and keep(folder, partial):
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(partial, folder)
        except OSError:  # another experiment's took the place in this very moment
            if not keep(folder, partial):
                raise


def lasting_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Have `fill` fill a folder, put it in its place, and return the place: nobody changes it then.

    If the place is taken by the same content, that stays. If it is taken by another, which an
    experiment beside this one may be reading, the new one goes beside it, under a name that says
    what it holds.
    """
    with _partial_folder(folder) as partial:
        fill(partial)
        named_for_content = folder.with_name(f"{folder.name}-{_digest(partial)[:8]}")
        for place in (folder, named_for_content):
            # Fails if there is something in the place; of two at once, one succeeds.
            with contextlib.suppress(OSError):
                os.rename(partial, place)
                return place
            if same_content(place, partial):
                return place
        # Named for this content and of another: damaged.
        shutil.rmtree(named_for_content, ignore_errors=True)
        os.replace(partial, named_for_content)
        return named_for_content


def same_content(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files, byte for byte; False if one goes away meanwhile."""
    try:
        files = _files(a)
        return files == _files(b) and all(
            os.path.samefile(a / name, b / name)  # two names of one file, as links to a cache are
            or filecmp.cmp(a / name, b / name, shallow=False)
            for name in files
        )
    except OSError:
        return False


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A file to write that takes its place in one move when the block is left without an error.

    It is on the disk by then: a power cut leaves the old one, or the new one whole.
    """
    partial = path.with_name(f"{path.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Wait until no other process on this machine is in such a block for `folder`.

    A process that dies inside lets the others in.
    """
    import fcntl  # not where Windows registers the workflow

    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w", encoding="ascii") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _partial_folder(folder: Path) -> Iterator[Path]:
    partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in _files(folder):
        with open(folder / name, "rb") as file:
            digest.update(f"{name}\0".encode())
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
