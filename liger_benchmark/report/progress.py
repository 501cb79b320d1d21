"""Progress lines of a local run: which condition of how many, how it ended, the time left."""

from __future__ import annotations

import datetime
import io
import sys
import time

from liger_benchmark.run import COMPLETED, Run


def replace_unprintable() -> None:
    """Let characters that the terminal's encoding lacks be replaced rather than end the run."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or stream.encoding.lower().startswith("utf"):
            continue
        if stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


class Progress:
    """Lines on standard output, one when a condition begins and one when it has ended."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, total: int) -> None:
        """Count from nothing to `total` conditions."""
        self.total = total
        self.done = 0
        self.began_at = time.monotonic()
        self.durations: list[float] = []

    def condition_begins(self, name: str) -> None:
        """Say that the condition `name` starts now."""
        self.condition_began_at = time.monotonic()
        position = f"[{self.done + 1}/{self.total}] " if self.total else ""
        self._say(f"{position}{name} …")

    def condition_ends(self, how: str, reused: bool = False) -> None:
        """Say how the condition ended. One that was found finished tells nothing of time left."""
        now = time.monotonic()
        self.done += 1
        if not reused:
            self.durations.append(now - self.condition_began_at)
        line = f"    {how}"
        left = self.total - self.done
        if left > 0 and self.durations:
            each = sum(self.durations) / len(self.durations)
            line += f" · {_clock(now - self.began_at)} so far, about {_clock(each * left)} left"
        self._say(line)

    @staticmethod
    def _say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def describe(run: Run) -> str:
    """How a run ended, in a few words with its figures."""
    if run.outcome != COMPLETED:
        refused = run.record.get("out_of_memory", {})
        return f"out of GPU memory at step {refused.get('step', '?')}"
    return f"{run.history['avg_tokens_per_second'].iloc[-1]:,.0f} tokens/s"


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
