"""Progress of a local run: which condition of how many, its steps, how it ended, the time left.

In a terminal a bar stands below the lines; elsewhere there are only the lines.
"""

from __future__ import annotations

import datetime
import io
import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from liger_benchmark.run import COMPLETED, Run


def replace_unprintable() -> None:
    """Let characters that the terminal's encoding lacks be replaced rather than end the run."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or stream.encoding.lower().startswith("utf"):
            continue
        if stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


@dataclass
class _Running:
    """A condition that runs: its label, when it began, and its optimisation steps."""

    label: str
    began_at: float
    steps: int
    steps_done: int = 0


class Progress:
    """Lines on standard output, one when a condition begins and one when it has ended.

    Conditions may run at the same time, each in a thread of its own.

    Attributes:
        total, done: conditions in the grid, and those of them that have ended.
        trained: those of `done` that were trained now, rather than found finished.
    """

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.begin(0)

    def begin(self, total: int) -> None:
        """Count from nothing to `total` conditions, and show the bar if this is a terminal."""
        self.end()
        self.total = total
        self.begun = self.done = self.trained = 0
        self.seconds_trained = 0.0
        self.running: dict[str, _Running] = {}
        self.began_at = time.monotonic()
        if total and sys.stdout.isatty():
            self._show_bar()

    def end(self) -> None:
        """Take the bar away; the lines stay."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def condition_begins(self, name: str, steps: int = 0) -> None:
        """Say that the condition `name` starts now, which takes `steps` optimisation steps."""
        self.begun += 1
        label = f"[{self.begun}/{self.total}] {name}" if self.total else name
        self.running[name] = _Running(label, time.monotonic(), steps)
        if self.bar is None:
            self._say(f"{label} …")
        else:
            self._move_bar()

    def step_ends(self, name: str) -> None:
        """Count a step of the condition `name`, which runs."""
        self.running[name].steps_done += 1
        if self.bar is not None:
            self._move_bar()

    def condition_ends(self, name: str, how: str, reused: bool = False) -> None:
        """Say how the condition ended. One that was found finished tells nothing of time left."""
        alone = len(self.running) == 1
        ended = self.running.pop(name)
        self.done += 1
        if not reused:
            self.trained += 1
            self.seconds_trained += time.monotonic() - ended.began_at
        if self.bar is not None:
            self.bar.console.print(Text(f"{ended.label}: {how}"))
            self._move_bar()
            return
        times = self.times()
        # The line above tells which condition it is, if no other has begun since.
        which = "   " if alone else f"{ended.label}:"
        self._say(f"{which} {how}{f' · {times}' if 'left' in times else ''}")

    def note(self, line: str) -> None:
        """Say something that is no part of the progress."""
        if self.bar is None:
            self._say(f"    {line}")
        else:
            self.bar.console.print(Text(line))

    def times(self) -> str:
        """`0:01:10 so far, about 0:08:10 left`; without the second part until a step has ended."""
        now = time.monotonic()
        text = f"{_clock(now - self.began_at)} so far"
        left = self._seconds_left(now)
        return text if left is None else f"{text}, about {_clock(left)} left"

    def _seconds_left(self, now: float) -> float | None:
        """The expected remaining time: a condition takes as long as those trained so far.

        During the first ones, their own steps tell how long they take. The first step, which
        compiles, makes that too much rather than too little.
        """
        conditions = self.total - self.done
        if conditions <= 0:
            return None
        running = list(self.running.values())
        if self.trained:
            each = self.seconds_trained / self.trained
        else:
            first = max(running, key=lambda condition: condition.steps_done, default=None)
            if first is None or not first.steps_done:
                return None
            each = (now - first.began_at) * first.steps / first.steps_done
        in_conditions = sum(min(now - one.began_at, each) for one in running if one.steps)
        return (each * conditions - in_conditions) / max(len(running), 1)

    def _show_bar(self) -> None:
        # Once a second: the process that measures is to be left alone.
        self.bar = Bar(
            BarColumn(bar_width=24),
            _Times(self),
            TextColumn("{task.description}", markup=False),
            console=Console(file=sys.stdout, highlight=False),
            refresh_per_second=1,
            transient=True,
        )
        self.bar.add_task("", total=self.total)
        self.bar.start()

    def _move_bar(self) -> None:
        assert self.bar is not None
        running = list(self.running.values())
        fraction = sum(one.steps_done / one.steps for one in running if one.steps)
        texts = [
            f"{one.label} · step {one.steps_done}/{one.steps}" if one.steps_done else one.label
            for one in running
        ]
        self.bar.update(TaskID(0), completed=self.done + fraction, description="; ".join(texts))

    @staticmethod
    def _say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class _Times(ProgressColumn):
    """The bar's column with the time so far and the time left."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def render(self, task: Task) -> Text:
        """The time so far and the time left."""
        return Text(self.progress.times())


def describe(run: Run) -> str:
    """How a run ended, in a few words with its figures."""
    if run.outcome != COMPLETED:
        refused = run.record.get("out_of_memory", {})
        return f"out of GPU memory at step {refused.get('step', '?')}"
    return f"{run.history['avg_tokens_per_second'].iloc[-1]:,.0f} tokens/s"


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
