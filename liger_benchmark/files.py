"""Atomic writes of files and folders, and a lock between processes.

A reader sees the old content or the complete new one, also while two experiments write the same
path at once.
"""

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
def atomic_folder(folder: Path, keep: Callable[[Path, Path], bool]) -> Iterator[Path]:
    """Yield a temporary folder to fill, and move it to `folder` if the block ends without an error.

    The temporary folder lies beside `folder` under a name of its own. It is removed if the block
    raises.

    Args:
        keep: called as `keep(existing, new)` where `folder` exists already. True leaves the
            existing folder in place, for example because another experiment reads it.
    """
    with _partial_folder(folder) as partial:
        yield partial
        if folder.is_dir() and keep(folder, partial):
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(partial, folder)
        except OSError:  # another experiment created the folder after it was removed here
            if not keep(folder, partial):
                raise


def publish_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Create a folder with `fill(temporary_folder)` and return where it ended up.

    A published folder is never changed, since another experiment may be reading it:

    * If `folder` does not exist, the new folder is moved there.
    * If it exists with the same content, it is kept.
    * If it exists with other content, the new folder is moved beside it, to a name that ends in a
      hash of its content.
    """
    with _partial_folder(folder) as partial:
        fill(partial)
        named_by_content = folder.with_name(f"{folder.name}-{_digest(partial)[:8]}")
        for target in (folder, named_by_content):
            # rename fails if the target is a folder with files: of two processes one succeeds.
            with contextlib.suppress(OSError):
                os.rename(partial, target)
                return target
            if same_content(target, partial):
                return target
        # The name holds the hash of this content, so a folder of other content is damaged.
        shutil.rmtree(named_by_content, ignore_errors=True)
        os.replace(partial, named_by_content)
        return named_by_content


def same_content(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files with the same bytes.

    False as well if one of them is removed during the comparison.
    """
    try:
        files = _files(a)
        return files == _files(b) and all(
            os.path.samefile(a / name, b / name)  # hard links to one file of the Hub's cache
            or filecmp.cmp(a / name, b / name, shallow=False)
            for name in files
        )
    except OSError:
        return False


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, and move it to `path` if the block ends without an error.

    The content is flushed to the disk before the move, so that a power cut leaves the old file or
    the complete new one.
    """
    partial = path.with_name(f"{path.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 as `atomic_file` does: a browser that reloads never sees half of it."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock for `folder` among the processes of this machine; wait for it.

    The operating system releases the lock of a process that dies. On a file system that does not
    support locks the block runs without one.

    Raises:
        OSError: if the lock file, `.NAME.lock` beside the folder, cannot be created.
    """
    import filelock  # 50 ms, which registering the workflow need not spend

    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    path.touch()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # the file system does not support locks
            # filelock's substitute, a marker file, would be left behind by a process that dies.
            held.enter_context(filelock.FileLock(path, fallback_to_soft=False))
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
