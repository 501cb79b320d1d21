"""Ranks start together, and the one that fails first ends the others with its own error."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator

import pytest
from support import isolated_groups as groups

from liger_benchmark.training.isolated_process import ChildFailed, run_isolated


def run(*args: object) -> tuple[object, list[tuple[int, object]]]:
    """The result of a function in a group of two ranks, and what they sent."""
    messages: list[tuple[int, object]] = []
    function, *rest = args
    result, _ = run_isolated(
        groups.group, function, 2, *rest, on_message=messages.append, has_children=True
    )
    return result, messages


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(is_running, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [process for process in processes if is_running(process)]


def test_every_rank_has_its_number_and_all_share_a_sum() -> None:
    result, messages = run(groups.add_ranks, 1)
    assert result == [(0, 3.0), (1, 3.0)]
    assert sorted(messages) == [(0, "rank 0"), (1, "rank 1")]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "rank 1 of 2: no luck"),
        ("is killed", r"rank 1 of 2: the process was killed by signal 9 \(SIGKILL\)"),
        ("leaves", "rank 1 of 2: the process ended with exit code 7 and left no result"),
        ("hangs", "rank 1 of 2 is behind, and none has moved for 10 s"),
    ],
)
def test_the_rank_that_fails_first_ends_the_group_with_its_own_error(
    how: str, message: str
) -> None:
    messages: list[tuple[int, object]] = []
    with pytest.raises(ChildFailed) as failure:
        run_isolated(
            groups.group, groups.fail_in_rank_1, 2, how,
            on_message=messages.append, has_children=True,
        )  # fmt: skip
    assert re.match(message, failure.value.error["message"])
    processes = [sent for _, sent in messages if isinstance(sent, int)]
    assert len(processes) == 2
    wait_until_gone(processes)
    if how == "raises":
        assert failure.value.error["type"] == "ValueError"
        assert "isolated_groups.py" in failure.value.error["traceback"]
    if how == "hangs":  # the stack says where
        assert "wait_for_ever" in failure.value.error["traceback"]


def test_a_rank_that_ran_out_of_memory_ends_the_group_with_a_result() -> None:
    result, messages = run(groups.fail_in_rank_1, "runs out of memory")
    assert result == [{"out_of_memory": {"step": 1}}]
    wait_until_gone([sent for _, sent in messages if isinstance(sent, int)])


@pytest.fixture
def port_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        yield port


def test_a_port_in_use_is_not_taken(port_in_use: int) -> None:
    assert run(groups.add_ranks, 1)[0] == [(0, 3.0), (1, 3.0)]


def test_an_interrupted_parent_leaves_no_rank_behind() -> None:
    processes: list[int] = []

    def interrupt(message: tuple[int, int]) -> None:
        processes.append(message[1])
        if len(processes) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated(
            groups.group, groups.sleep_in_all_ranks, 2, on_message=interrupt, has_children=True
        )
    wait_until_gone(processes)
