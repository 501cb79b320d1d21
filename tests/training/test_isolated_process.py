"""A condition's process is fresh, and its parent reports how it ended."""

from __future__ import annotations

import multiprocessing.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import isolated_functions as functions

from liger_benchmark.training import isolated_process
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated, summary

TESTS = Path(__file__).parents[1]


def nothing(message: object) -> None:
    pass


def test_a_result_and_the_messages_before_it_arrive_in_order() -> None:
    messages: list[object] = []
    result, seconds = run_isolated(
        functions.echo, 1, "two", {"three": 3}, on_message=messages.append
    )
    assert result == (1, "two", {"three": 3})
    assert messages == [1, "two", {"three": 3}]
    assert set(seconds) == {"process", "teardown"}
    assert all(value >= 0 for value in seconds.values())


def test_every_call_has_a_process_of_its_own() -> None:
    first, _ = run_isolated(functions.process_id, on_message=nothing)
    second, _ = run_isolated(functions.process_id, on_message=nothing)
    assert len({first, second, os.getpid()}) == 3


def test_torch_is_imported_before_the_process_begins_and_the_parents_script_is_not_run() -> None:
    modules, _ = run_isolated(functions.loaded_modules, on_message=nothing)
    assert modules == {"torch": True, "pytest": False, "main_is_the_parents": False}


def test_a_class_patched_in_one_process_is_unpatched_in_the_next() -> None:
    assert run_isolated(functions.patch_a_class, on_message=nothing)[0] == "Phi3RMSNorm"
    assert run_isolated(functions.patch_a_class, on_message=nothing)[0] == "Phi3RMSNorm"


def test_an_exception_comes_with_the_childs_own_traceback() -> None:
    messages: list[object] = []
    with pytest.raises(ChildFailed) as failure:
        run_isolated(functions.raise_error, "no luck", on_message=messages.append)
    assert messages == ["about to fail"]
    assert failure.value.error["type"] == "ValueError"
    assert failure.value.error["message"] == "no luck"
    assert "isolated_functions.py" in str(failure.value)
    assert summary(failure.value) == "ValueError: no luck"


def test_a_killed_process_is_reported_with_its_signal() -> None:
    with pytest.raises(ChildFailed, match=r"signal 9 \(SIGKILL\)"):
        run_isolated(functions.kill_itself, on_message=nothing)


def test_a_process_that_leaves_without_a_result_has_failed() -> None:
    with pytest.raises(ChildFailed, match="exit code 7"):
        run_isolated(functions.leave_silently, on_message=nothing)


def test_after_a_failure_the_next_process_works() -> None:
    with pytest.raises(ChildFailed):
        run_isolated(functions.kill_itself, on_message=nothing)
    assert run_isolated(functions.echo, 5, on_message=nothing)[0] == (5,)


def test_an_interrupted_parent_leaves_no_child_behind() -> None:
    child: list[int] = []

    def interrupt(process_id: int) -> None:
        child.append(process_id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated(functions.sleep_for_long, on_message=interrupt)
    deadline = time.monotonic() + 10
    while _is_running(child[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(child[0])


def test_what_runs_in_several_threads_can_be_killed_at_once() -> None:
    both_run = threading.Barrier(3, timeout=60)

    def train() -> BaseException | None:
        try:
            run_isolated(functions.sleep_for_long, on_message=lambda _: both_run.wait())
        except ChildFailed as error:
            return error
        return None

    with ThreadPoolExecutor(2) as both:
        waiting = [both.submit(train) for _ in range(2)]
        both_run.wait()
        isolated_process.kill_running()
        assert all("SIGKILL" in str(each.result()) for each in waiting)


def test_a_process_has_the_variables_of_the_moment_and_not_those_of_the_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch reads most of them as it is imported: the server that imports it starts anew."""
    monkeypatch.setattr(isolated_process, "PRELOAD", [])
    name = "TORCHDYNAMO_DISABLE"
    for value in ("1", "2", None):
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
        found, _ = run_isolated(functions.environment_variable, name, on_message=nothing)
        assert found == (value, value)


def test_other_variables_do_not_make_the_imports_start_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _ = run_isolated(functions.parent_id, on_message=nothing)
    monkeypatch.setenv("MY_OWN_VARIABLE", "1")
    assert run_isolated(functions.parent_id, on_message=nothing)[0] == first


def test_a_temporary_folder_too_long_for_a_socket_works(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 110)
    long.mkdir()
    ended = subprocess.run(
        [sys.executable, str(TESTS / "support" / "scripts" / "run_isolated_echo.py")],
        env=os.environ | {"TMPDIR": str(long), "PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout == f"5\n(5,) {long}\n", ended.stderr


def test_without_a_usable_temporary_folder_the_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 110)
    monkeypatch.setattr(multiprocessing.util, "get_temp_dir", refused)
    with pytest.raises(OSError, match=r"^TMPDIR: '/x+' is too long .*set it to a folder of 7\d"):
        run_isolated(functions.process_id, on_message=nothing)
    assert tempfile.gettempdir() == "/" + "x" * 110


@pytest.mark.gpu
def test_a_cuda_crash_in_one_process_leaves_the_next_untouched() -> None:
    with pytest.raises(ChildFailed, match="CUDA|device-side assert|illegal"):
        run_isolated(functions.crash_cuda, on_message=nothing)
    assert run_isolated(functions.cuda_works, on_message=nothing)[0] == 8.0


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
