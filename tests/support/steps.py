"""Drives the callback that measures steps, as the trainer does, with a clock moved by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from liger_benchmark.training.measurement import EfficiencyCallback


class FakeDevice:
    """Records its calls, and returns the given peaks and joules one after the other."""

    def __init__(
        self, peaks: list[tuple[float, float]], joules: list[float | None] | None = None
    ) -> None:
        self.peaks = iter(peaks)
        self.joules = None if joules is None else iter(joules)
        self.calls: list[str] = []

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def reset_peak_memory(self) -> None:
        self.calls.append("reset")

    def peak_memory(self) -> dict[str, float]:
        self.calls.append("read")
        allocated, reserved = next(self.peaks)
        return {"memory_allocated_MB": allocated, "memory_reserved_MB": reserved}

    def energy_joules(self) -> float | None:
        return None if self.joules is None else next(self.joules)

    def sample_clock(self) -> None:
        self.calls.append("sample")


class Clock:
    """A clock that stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def run_steps(
    seconds: list[float],
    micro_batches: list[list[int]],
    *,
    n_warmup_steps: int,
    peaks: list[tuple[float, float]] | None = None,
    first_step: int = 0,
    joules: list[float | None] | None = None,
) -> EfficiencyCallback:
    """Drive the callback as the trainer does: one begin and one end an optimisation step."""
    clock = Clock()
    device = FakeDevice(peaks or [(1.0, 2.0)] * len(seconds), joules)
    callback = EfficiencyCallback(n_warmup_steps, device, clock=clock)
    state = SimpleNamespace(global_step=first_step)
    for duration, batches in zip(seconds, micro_batches, strict=True):
        clock.now += 1000.0  # loading the batch: not a part of the step
        callback.on_step_begin(None, state, None)
        for n_tokens in batches:
            callback.count_tokens(n_tokens)
        clock.now += duration
        callback.on_pre_optimizer_step(None, state, None)
        state.global_step += 1
        callback.on_step_end(None, state, None)
        callback.on_log(None, state, None, logs={"loss": 1.0, "learning_rate": 0.1})
    return callback


def column(callback: EfficiencyCallback, name: str) -> list[Any]:
    return [row[name] for row in callback.history]


class Driver:
    """Drives a callback as the trainer does, with a clock that is moved by hand."""

    def __init__(self, n_warmup_steps: int) -> None:
        self.clock = Clock()
        self.compiled = 0
        self.state = SimpleNamespace(global_step=0)
        self.callback = EfficiencyCallback(
            n_warmup_steps,
            FakeDevice([(1.0, 2.0)] * 99),
            clock=self.clock,
            compilations=lambda: self.compiled,
        )

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def step(
        self, seconds: float, tokens: int, real_tokens: int = 0, compiles: int = 0, pause: float = 0
    ) -> dict[str, Any]:
        """One step; `pause` seconds of checks lie in the middle of it."""
        self.callback.announce_real_tokens(real_tokens)
        self.callback.on_step_begin(None, self.state, None)
        self.callback.count_tokens(tokens)
        self.wait(seconds / 2)
        if pause:
            with self.callback.paused("checks"):
                self.wait(pause)
        self.wait(seconds / 2)
        self.compiled += compiles
        self.state.global_step += 1
        self.callback.on_step_end(None, self.state, None)
        return self.callback.history[-1]
