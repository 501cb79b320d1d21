"""The agent's watch over the ranks of its group: it reads what they send, and ends a hung group."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any


@dataclass
class Rank:
    """What the agent knows of a rank.

    Attributes:
        receiver: the end of its pipe that the agent reads.
        pid: its process; None until it has begun.
        n_messages: how far it has come, counted in messages.
        heard_at: when it last said something, on the monotonic clock.
        received: by kind what it sent last: `result`, `error` or `ended`.
    """

    receiver: Connection
    heard_at: float
    pid: int | None = None
    n_messages: int = 0
    received: dict[str, Any] = field(default_factory=dict)


class Watch(threading.Thread):
    """Reads what the ranks send, and ends a group in which nothing moves.

    Attributes:
        ranks: by rank.
        hung: the error of a group that was ended because it had hung.
        error: what `on_message` raised; it ends the group.
    """

    def __init__(
        self,
        ranks: list[Rank],
        on_message: Callable[[int, Any], None],
        hang_seconds: float,
        folder: Path,
    ) -> None:
        super().__init__(daemon=True)
        self.ranks = ranks
        self.on_message = on_message
        self.hang_seconds = hang_seconds
        self.folder = folder
        self.hung: dict[str, str] | None = None
        self.error: BaseException | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        """Watch the ranks until they have ended."""
        while not self._ended.is_set():
            self._read(timeout=0.1)
            silent = time.monotonic() - max(rank.heard_at for rank in self.ranks)
            if silent > self.hang_seconds and self.hung is None and self.error is None:
                self._end_hung_group()

    def stop(self) -> None:
        """End the thread, and read what is left in the pipes."""
        self._ended.set()
        self.join()
        while self._read(timeout=0):
            pass

    def _read(self, timeout: float) -> bool:
        """Take what has arrived; False if that is nothing."""
        by_receiver = {id(rank.receiver): rank for rank in self.ranks if not rank.receiver.closed}
        if not by_receiver:
            time.sleep(timeout)
            return False
        ready = wait([rank.receiver for rank in by_receiver.values()], timeout)
        for receiver in ready:
            rank = by_receiver[id(receiver)]
            try:
                kind, payload = rank.receiver.recv()
            except (EOFError, OSError):
                rank.receiver.close()
                continue
            rank.heard_at = time.monotonic()
            rank.n_messages += 1
            if kind == "pid":
                rank.pid = payload
            elif kind == "message":
                self._pass_on(self.ranks.index(rank), payload)
            else:
                rank.received[kind] = payload
        return bool(ready)

    def _pass_on(self, rank: int, message: Any) -> None:
        if self.error is not None:
            return
        try:
            self.on_message(rank, message)
        except BaseException as error:
            self.error = error
            self._signal(range(len(self.ranks)), signal.SIGKILL)

    def _end_hung_group(self) -> None:
        least = min(rank.n_messages for rank in self.ranks)
        behind = [i for i, rank in enumerate(self.ranks) if rank.n_messages == least]
        stacks = self._stacks()
        if len(behind) == len(self.ranks):
            who = f"none of {len(self.ranks)} ranks"
        else:
            who = f"rank {', '.join(map(str, behind))} of {len(self.ranks)} is behind, and none"
        message = f"{who} has moved for {self.hang_seconds:.0f} s"
        where = "\n".join(f"rank {rank}:\n{stack}" for rank, stack in stacks.items())
        self.hung = {
            "type": "GroupHung",
            "message": message,
            "traceback": f"{where}\nGroupHung: {message}",
        }
        self._signal(behind, signal.SIGKILL)

    def _stacks(self) -> dict[int, str]:
        """Where each rank is: its main thread's stack of Python calls."""
        self._signal(range(len(self.ranks)), signal.SIGUSR1)
        time.sleep(1.0)
        paths = {i: self.folder / f"stack-{i}" for i in range(len(self.ranks))}
        return {i: path.read_text(encoding="utf-8") for i, path in paths.items() if path.exists()}

    def _signal(self, ranks: Sequence[int], which: signal.Signals) -> None:
        for rank in ranks:
            pid = self.ranks[rank].pid
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, which)
