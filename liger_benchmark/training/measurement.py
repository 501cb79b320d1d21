"""Throughput and memory of each optimisation step: what is timed, counted and left out.

The clock runs from the beginning of a step's first forward pass to the end of its optimiser
update, with the device synchronised at both ends; loading the batch lies outside, as in the
blog's callback. The first `n_warmup_steps` of a session are reported and left out of every
aggregate: they hold compilation, autotuning and the allocator's first requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from liger_benchmark.training.device import Device


@dataclass
class Time:
    """Seconds a step took, and on average since the warm-up (None during it)."""

    step_seconds: float = 0.0
    avg_step_seconds: float | None = None


@dataclass
class Memory:
    """Peaks of a step, and over all steps since the warm-up (None during it). In MB of 2**20 bytes.

    On a GPU the allocator's; on a CPU the resident set, under that name.
    """

    step_peak_memory_allocated_MB: float | None = None
    step_peak_memory_reserved_MB: float | None = None
    total_peak_memory_allocated_MB: float | None = None
    total_peak_memory_reserved_MB: float | None = None
    step_peak_resident_set_MB: float | None = None
    total_peak_resident_set_MB: float | None = None


@dataclass
class TPS:
    """Tokens per second, padding included. The average is total tokens over total seconds.

    A mean of the steps' rates would weigh a short step as much as a long one.
    """

    step_tokens: int = 0
    step_tokens_per_second: float = 0.0
    avg_tokens_per_second: float | None = None


@dataclass
class Energy:
    """Joules that the whole GPU used, the pause before a step included.

    A step's are coarse, since the counter moves in jumps; the average is over all steps since the
    warm-up (None during it). Absent where the card does not tell.
    """

    step_energy_J: float | None = None
    avg_energy_J_per_token: float | None = None


class EfficiencyCallback:
    """Measures every step of a `transformers.Trainer` and keeps the run's history.

    It has the methods of a `transformers.TrainerCallback` without its base class, so that
    importing this module costs nothing; `training.py` mixes the base class in.

    Args:
        n_warmup_steps: how many steps of this session to leave out of every aggregate.
        device: what to synchronise and whose memory to read.
        counts_tokens_seen: whether rows hold `num_input_tokens_seen`, the session's running total.
        on_row: called with each finished row of the history.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        n_warmup_steps: int,
        device: Device,
        on_row: Callable[[dict[str, Any]], None] = lambda row: None,
        clock: Callable[[], float] = time.perf_counter,
        counts_tokens_seen: bool = False,
    ) -> None:
        self.n_warmup_steps = n_warmup_steps
        self.device = device
        self.on_row = on_row
        self.clock = clock
        self.counts_tokens_seen = counts_tokens_seen
        self.tokens_seen = 0
        self.history: list[dict[str, Any]] = []
        self.steps_this_session = 0
        self.seconds = 0.0
        self.warmup_seconds = 0.0
        self.tokens = 0
        self.peaks: dict[str, float] = {}
        self.step_tokens = 0
        self.step_started_at = 0.0
        self.joules_counted: float | None = None
        self.joules = 0.0
        self.stage = "step"

    def count_tokens(self, n_tokens: int) -> None:
        """Add a micro-batch's tokens to the running step; called once a forward pass."""
        self.step_tokens += n_tokens

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of an optimisation step (not of each micro-batch)."""
        self.stage = "first step" if self.steps_this_session == 0 else "step"
        self.step_tokens = 0
        if self.steps_this_session == 0:
            self.joules_counted = self.device.energy_joules()
        self.device.synchronize()
        self.device.reset_peak_memory()
        self.step_started_at = self.clock()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember where the step is, in case memory runs out there."""
        self.stage = "optimizer"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock and work out the step's measurements."""
        self.device.synchronize()
        seconds = self.clock() - self.step_started_at
        peaks = self.device.peak_memory()
        self.stage = "step"
        self.steps_this_session += 1
        is_warmup = self.steps_this_session <= self.n_warmup_steps
        if is_warmup:
            self.warmup_seconds += seconds
        else:
            self.seconds += seconds
            self.tokens += self.step_tokens
            self.peaks = {k: max(v, self.peaks.get(k, v)) for k, v in peaks.items()}
        measured_steps = self.steps_this_session - self.n_warmup_steps
        times = Time(seconds, None if is_warmup else self.seconds / measured_steps)
        tps = TPS(
            self.step_tokens,
            self.step_tokens / seconds,
            None if is_warmup else self.tokens / self.seconds,
        )
        memory = Memory(
            **{f"step_peak_{kind}": peak for kind, peak in peaks.items()},
            **{f"total_peak_{kind}": peak for kind, peak in self.peaks.items()},
        )
        used = {k: v for k, v in asdict(memory).items() if _kind(k) in peaks}
        used |= self._energy(is_warmup)
        self.tokens_seen += self.step_tokens
        row = {"step": state.global_step, "is_warmup": is_warmup}
        if self.counts_tokens_seen:
            row["num_input_tokens_seen"] = self.tokens_seen
        self.history.append({**row, **asdict(times), **asdict(tps), **used})

    def _energy(self, is_warmup: bool) -> dict[str, float | None]:
        """The step's `Energy`, by name; empty where the device does not tell."""
        counted, self.joules_counted = self.joules_counted, self.device.energy_joules()
        if counted is None or self.joules_counted is None:
            return {}
        spent = self.joules_counted - counted
        self.joules += 0.0 if is_warmup else spent
        return asdict(Energy(spent, None if is_warmup else self.joules / self.tokens))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Join the trainer's own figures of a step (loss, learning rate, …) to the measurements."""
        if not logs or not self.history or "loss" not in logs:
            return
        self.history[-1] |= {key: logs[key] for key in LOGGED if key in logs}
        self.on_row(self.history[-1])


LOGGED = ("loss", "grad_norm", "learning_rate", "epoch")


def _kind(column: str) -> str:
    return column.split("_peak_", 1)[1]
