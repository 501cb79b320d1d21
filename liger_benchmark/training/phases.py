"""How long the phases of a run took, and in which of them it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from liger_benchmark.training.measurement import EfficiencyCallback


@dataclass
class Phases:
    """Measures the phases of a run, in seconds, in the order in which they end.

    An instance is used as `with phases("model"): ...`; `begins` is called with each name.
    """

    begins: Callable[[str], None] = lambda name: None
    seconds: dict[str, float] = field(default_factory=dict)
    current: str = ""

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.current = name
        self.begins(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began

    def with_steps(self, callback: EfficiencyCallback) -> dict[str, float]:
        """The phases, with `training` split: into the steps, what lay between them, and pauses.

        Those are `rehearsal` and `checks`, see `BenchmarkTrainer`.
        """
        seconds = dict(self.seconds)
        in_training = seconds.pop("training", 0.0)
        in_steps = (
            callback.warmup_seconds + callback.seconds + sum(callback.paused_seconds.values())
        )
        return (
            seconds
            | callback.paused_seconds
            | {
                "warmup_steps": callback.warmup_seconds,
                "steps": callback.seconds,
                "between_steps": max(in_training - in_steps, 0.0),
            }
        )


def position(phases: Phases, callback: EfficiencyCallback) -> dict[str, Any]:
    """The phase and the step in which a run ended. Steps count from 1; 0 is before the first.

    An evaluation or checkpoint reports the step before it.
    """
    if phases.current != "training":
        return {"phase": phases.current, "step": 0}
    is_between_steps = callback.stage in ("evaluation", "checkpoint")
    return {"phase": callback.stage, "step": callback.steps_this_session + (not is_between_steps)}
