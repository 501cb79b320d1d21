"""Where results and caches go on machines whose home folder cannot be written."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from liger_benchmark import folders

NAMES = (
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "XDG_CACHE_HOME",
    "LOGNAME",
    "USER",
    "LNAME",
    "USERNAME",
    *folders._CACHES,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "HOME"):
        monkeypatch.setenv(name, "to be restored")  # what the code sets is undone, too
        monkeypatch.delenv(name)


def moved() -> set[str]:
    return {name for name in folders._CACHES if name in os.environ}


def test_caches_stay_in_a_home_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folders.use_writable_caches(tmp_path / "build")
    assert moved() == set()
    assert list(tmp_path.iterdir()) == []  # nothing is created to find out


def test_caches_move_out_of_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("TRITON_CACHE_DIR", "my own")
    folders.use_writable_caches(tmp_path / "build")
    assert moved() == {name for name in folders._CACHES if not name.startswith("HF_")}
    assert os.environ["TRITON_CACHE_DIR"] == "my own"
    caches = tmp_path / "build" / "caches"
    assert os.environ["MPLCONFIGDIR"] == str(caches / "matplotlib")


def test_downloads_are_found_again_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folders.use_writable_caches(tmp_path / "build")
    assert "HF_HUB_CACHE" not in moved() and "HF_DATASETS_CACHE" in moved()


def test_caches_are_temporary_where_the_build_folder_cannot_be_written_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    folders.use_writable_caches(tmp_path / "file" / "build")
    assert folders.can_write(Path(os.environ["MPLCONFIGDIR"]))


def test_a_user_without_a_name_and_a_home_is_given_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    folders.use_writable_caches(tmp_path / "build")
    assert os.environ["HOME"] == str(tmp_path / "build" / "caches")
    assert os.environ["USER"] == f"uid-{os.getuid()}"
