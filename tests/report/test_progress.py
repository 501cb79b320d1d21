"""The progress of a local run: lines, and a bar where there is a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from liger_benchmark.report import progress as module
from liger_benchmark.report.progress import Progress


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_time_left_is_told_from_the_first_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    progress = Progress()
    progress.begin(4)
    progress.condition_begins("a", steps=10)
    assert progress.times() == "0:00:00 so far"
    clock.now += 20
    progress.step_ends("a")
    progress.step_ends("a")
    # Two of ten steps took 20 s: a condition takes 100 s, and four of them are 400 s.
    assert progress.times() == "0:00:20 so far, about 0:06:20 left"
    clock.now += 30
    progress.condition_ends("a", "done")
    assert progress.times() == "0:00:50 so far, about 0:02:30 left"


def test_a_condition_that_was_kept_tells_nothing_of_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Clock(monkeypatch)
    progress = Progress()
    progress.begin(2)
    progress.condition_begins("a", steps=3)
    progress.condition_ends("a", "kept", reused=True)
    assert capsys.readouterr().out == "[1/2] a …\n    kept\n"


def test_a_terminal_shows_a_bar_and_keeps_a_line_for_each_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    progress = Progress()
    progress.begin(2)
    progress.condition_begins("[red]a", steps=4)
    progress.step_ends("[red]a")
    assert progress.bar is not None
    progress.bar.refresh()
    assert progress.bar.tasks[0].completed == 0.25
    progress.condition_ends("[red]a", "120 tokens/s")
    progress.end()
    shown = terminal.getvalue()
    assert "[1/2] [red]a · step 1/4" in shown
    assert "[1/2] [red]a: 120 tokens/s\n" in shown
    assert progress.bar is None


def test_conditions_that_run_at_the_same_time_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Progress()
    progress.begin(4)
    progress.condition_begins("a", steps=10)
    progress.condition_begins("b", steps=10)
    clock.now += 20
    progress.condition_ends("b", "fast")
    progress.condition_begins("c", steps=10)
    clock.now += 5
    # Three conditions of 20 s each are left; two run at a time, and have run 20 and 5 s.
    assert progress.times() == "0:00:25 so far, about 0:00:18 left"
    progress.condition_ends("a", "slow")
    progress.condition_ends("c", "last")
    told = [line.split(" · ")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        *("[1/4] a …", "[2/4] b …", "[2/4] b: fast", "[3/4] c …", "[1/4] a: slow", "    last"),
    ]
