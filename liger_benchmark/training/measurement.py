"""Time, tokens, memory and energy of each optimisation step.

A step is timed from the start of its first forward pass to the end of its optimiser update, with
the device synchronised at both ends. Loading the batch is excluded, as in the blog's callback. The
first `n_warmup_steps` steps are reported, and excluded from every aggregate, because they contain
compilation, autotuning and the allocator's first requests.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from liger_benchmark.training.device import Device

LOGGED = ("loss", "grad_norm", "learning_rate", "epoch")


@dataclass
class Time:
    """Seconds of a step, and their mean over the steps after the warm-up (None during it)."""

    step_seconds: float = 0.0
    avg_step_seconds: float | None = None


@dataclass
class Memory:
    """Peak memory of a step, and of all steps after the warm-up (None during it).

    In MB of 2**20 bytes. On a GPU it is the memory of PyTorch's allocator, on a CPU the resident
    set; the columns of the other are left out of the history.
    """

    step_peak_memory_allocated_MB: float | None = None
    step_peak_memory_reserved_MB: float | None = None
    total_peak_memory_allocated_MB: float | None = None
    total_peak_memory_reserved_MB: float | None = None
    step_peak_resident_set_MB: float | None = None
    total_peak_resident_set_MB: float | None = None


@dataclass
class TPS:
    """Tokens per second, padding included unless the name says real.

    The averages are total tokens over total seconds after the warm-up (None during it). A mean of
    the steps' rates would give short and long steps the same weight. The loop's seconds are those
    of the steps and all between them: loading and collating batches, copies, logging; evaluation,
    checkpoints and the benchmark's own work are left out.
    """

    step_tokens: int = 0
    step_tokens_per_second: float = 0.0
    avg_tokens_per_second: float | None = None
    avg_real_tokens_per_second: float | None = None
    avg_loop_tokens_per_second: float | None = None


@dataclass
class Energy:
    """Energy of the whole GPU in joules, between the end of the previous step and the step's end.

    Without that of evaluation, checkpoints, rehearsal and checks. The counter is updated in
    intervals, so single steps are imprecise. The average is over all steps after the warm-up (None
    during it). Left out where the GPU has no counter.
    """

    step_energy_J: float | None = None
    avg_energy_J_per_token: float | None = None


class EfficiencyCallback:
    """Measures every step of a `transformers.Trainer` and keeps the run's history.

    It has the methods of a `transformers.TrainerCallback` without that base class, so that this
    module can be imported without transformers; `trainer.py` adds the base class.

    Args:
        n_warmup_steps: number of steps at the start to exclude from every aggregate.
        device: the device to synchronise and to read memory and energy from.
        compilations: how many kernels and graphs this process has compiled so far.
        counts_tokens_seen: whether rows hold `num_input_tokens_seen`, the running total of tokens.
        on_row: called with each complete row of the history.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        n_warmup_steps: int,
        device: Device,
        on_row: Callable[[dict[str, Any]], None] = lambda row: None,
        clock: Callable[[], float] = time.perf_counter,
        counts_tokens_seen: bool = False,
        compilations: Callable[[], int] = lambda: 0,
    ) -> None:
        self.n_warmup_steps = n_warmup_steps
        self.device = device
        self.on_row = on_row
        self.clock = clock
        self.counts_tokens_seen = counts_tokens_seen
        self.compilations = compilations
        self.compiled_before_step = 0
        self.tokens_seen = 0
        self.history: list[dict[str, Any]] = []
        self.steps_this_session = 0
        self.seconds = 0.0
        self.warmup_seconds = 0.0
        self.tokens = 0
        self.peaks: dict[str, float] = {}
        self.step_tokens = 0
        self.step_real_tokens = 0
        self.next_real_tokens = 0
        self.real_tokens = 0
        self.step_started_at = 0.0
        self.loop_started_at = 0.0
        self.paused_seconds: dict[str, float] = {}
        self.interruption_seconds = 0.0
        self.joules_counted: float | None = None
        self.joules = 0.0
        self.stage = "step"

    def count_tokens(self, n_tokens: int) -> None:
        """Add the tokens of a micro-batch, padding included, to the current step."""
        self.step_tokens += n_tokens

    def announce_real_tokens(self, n_tokens: int) -> None:
        """Say how many tokens that are no padding the next step has."""
        self.next_real_tokens = n_tokens

    @contextlib.contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Leave work that is no part of a user's training out of the measurement, a phase `what`.

        It is in the time neither of the step nor of the loop, nor in the energy, nor, if it comes
        before the step's own work, in the step's peak memory.
        """
        self.device.synchronize()
        began, counted = self.clock(), self.device.energy_joules()
        try:
            yield
        finally:
            self.device.synchronize()
            seconds = self.clock() - began
            self.step_started_at += seconds
            self.interruption_seconds += seconds
            self.paused_seconds[what] = self.paused_seconds.get(what, 0.0) + seconds
            self._leave_out_energy_since(counted)
        if self.step_tokens == 0:
            self.device.reset_peak_memory()

    @contextlib.contextmanager
    def interrupted(self, stage: str) -> Iterator[None]:
        """Leave an evaluation or a checkpoint between two steps out of the loop's time and energy.

        Only after success: if memory runs out inside, the stage is part of the record.
        """
        before, self.stage = self.stage, stage
        counted = self.device.energy_joules()
        with self.left_out():
            yield
        self._leave_out_energy_since(counted)
        self.stage = before

    @contextlib.contextmanager
    def left_out(self) -> Iterator[None]:
        """Leave the benchmark's own work between two steps out of the loop's time.

        Nothing is synchronised, so that it may be used at every step.
        """
        began = self.clock()
        yield
        self.interruption_seconds += self.clock() - began

    def _leave_out_energy_since(self, counted: float | None) -> None:
        """Leave out what was spent since the counter's value `counted`, in joules."""
        now = self.device.energy_joules()
        if None not in (counted, now, self.joules_counted):
            self.joules_counted += now - counted  # type: ignore[operator]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of an optimisation step, which may have several micro-batches."""
        self.stage = "first step" if self.steps_this_session == 0 else "step"
        self.step_tokens = 0
        self.step_real_tokens = self.next_real_tokens
        if self.steps_this_session == 0:
            self.joules_counted = self.device.energy_joules()
            self._begin_loop()
        self.device.synchronize()
        self.device.reset_peak_memory()
        self.compiled_before_step = self.compilations()
        self.step_started_at = self.clock()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the stage, which an out-of-memory record reports."""
        self.stage = "optimizer"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock and append the step's row to the history."""
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
            self.real_tokens += self.step_real_tokens
            self.peaks = {k: max(v, self.peaks.get(k, v)) for k, v in peaks.items()}
        measured_steps = self.steps_this_session - self.n_warmup_steps
        times = Time(seconds, None if is_warmup else self.seconds / measured_steps)
        tps = TPS(
            self.step_tokens,
            self.step_tokens / seconds,
            None if is_warmup else self.tokens / self.seconds,
            None if is_warmup else self.real_tokens / self.seconds,
            None if is_warmup else self.tokens / self._loop_seconds(),
        )
        memory = Memory(
            **{f"step_peak_{kind}": peak for kind, peak in peaks.items()},
            **{f"total_peak_{kind}": peak for kind, peak in self.peaks.items()},
        )
        used = {k: v for k, v in asdict(memory).items() if _kind(k) in peaks}
        used |= self._energy(is_warmup)
        self.tokens_seen += self.step_tokens
        row = {
            "step": state.global_step,
            "is_warmup": is_warmup,
            "step_compilations": self.compilations() - self.compiled_before_step,
        }
        if self.counts_tokens_seen:
            row["num_input_tokens_seen"] = self.tokens_seen
        self.history.append({**row, **asdict(times), **asdict(tps), **used})
        if is_warmup:
            self._begin_loop()
        else:
            self.device.sample_clock()

    def _begin_loop(self) -> None:
        """Count the time of the whole loop from now on: it ends with the last measured step."""
        self.loop_started_at = self.clock()
        self.interruption_seconds = 0.0

    def _loop_seconds(self) -> float:
        return self.clock() - self.loop_started_at - self.interruption_seconds

    def _energy(self, is_warmup: bool) -> dict[str, float | None]:
        """The step's `Energy` by column; empty if the device has no counter."""
        counted, self.joules_counted = self.joules_counted, self.device.energy_joules()
        if counted is None or self.joules_counted is None:
            return {}
        spent = self.joules_counted - counted
        self.joules += 0.0 if is_warmup else spent
        return asdict(Energy(spent, None if is_warmup else self.joules / self.tokens))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Add the trainer's own values of the step (`LOGGED`) to its row, and pass the row on."""
        if not logs or not self.history or "loss" not in logs:
            return
        self.history[-1] |= {key: logs[key] for key in LOGGED if key in logs}
        self.on_row(self.history[-1])


def _kind(column: str) -> str:
    return column.split("_peak_", 1)[1]
