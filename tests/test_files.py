"""Locks, and folders that two processes write at once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.tiny import TINY

from liger_benchmark import store
from liger_benchmark.files import atomic_folder, lock
from liger_benchmark.run import COMPLETED, Run, read_run

PROJECT = Path(__file__).parents[1]
SCRIPTS = PROJECT / "tests" / "support" / "scripts"


def test_the_lock_is_released_by_a_process_that_is_killed(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, str(SCRIPTS / "hold_lock.py"), str(tmp_path / "a")],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
    )
    assert first.stdout is not None and first.stdout.readline() == b"in\n"
    entered: list[float] = []

    def enter() -> None:
        with lock(tmp_path / "a"):
            entered.append(time.monotonic())

    waiting = threading.Thread(target=enter)
    waiting.start()
    time.sleep(0.3)
    assert not entered
    first.kill()
    first.communicate()
    waiting.join(10)
    assert entered


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_does_not_stop_an_experiment(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with lock(tmp_path / "a"), lock(tmp_path / "a"):
        pass
    # No marker file that would keep others out after this process died.
    assert (tmp_path / ".a.lock").stat().st_size == 0


def test_of_two_equal_runs_the_first_to_end_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def train(number: int) -> Run:
        return Run(TINY, COMPLETED, record={"number": number})

    def overtaken(output: Path) -> Run:
        store.run_and_keep(folder, lambda _: train(1))
        return train(2)

    assert store.run_and_keep(folder, overtaken).record == {"number": 1}
    assert read_run(folder).record == {"number": 1}


def test_a_folder_created_just_before_the_move_is_kept_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liger_benchmark import files

    def taken(source: Path, target: Path) -> None:
        Path(target).mkdir()
        raise OSError("Directory not empty")

    monkeypatch.setattr(files.os, "replace", taken)
    with atomic_folder(tmp_path / "a", keep=lambda old, new: True):
        pass
    with (
        pytest.raises(OSError, match="not empty"),
        atomic_folder(tmp_path / "b", keep=lambda old, new: False),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
