"""What the trainer does for the benchmark at every step is in none of the published speeds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from liger_benchmark.training.device import CpuDevice
from liger_benchmark.training.measurement import EfficiencyCallback
from liger_benchmark.training.trainer import _Measured


class TransformersTrainer:
    """Hands out two micro-batches."""

    def get_batch_samples(self, *args: Any) -> tuple[list[dict[str, Any]], int]:
        return [{}, {}], 7


class Trainer(_Measured, TransformersTrainer):
    """The benchmark's trainer without a model."""

    def __init__(self, callback: EfficiencyCallback, observed: Any) -> None:
        self.callback = callback
        self.observed = observed


def test_observing_the_batches_is_in_the_loops_time_of_no_arm() -> None:
    now = [0.0]
    callback = EfficiencyCallback(1, CpuDevice(), clock=lambda: now[0])

    def add_batch(batch: dict[str, Any]) -> int:
        now[0] += 50.0  # moving, masking and hashing it
        return 40

    trainer = Trainer(callback, SimpleNamespace(add_batch=add_batch))
    for _ in range(3):
        assert trainer.get_batch_samples() == ([{}, {}], 7)
        now[0] += 1.0  # collating: a part of the loop
        callback.on_step_begin(None, SimpleNamespace(global_step=0), None)
        callback.count_tokens(100)
        now[0] += 4.0
        callback.on_step_end(None, SimpleNamespace(global_step=1), None)
    last = callback.history[-1]
    assert last["avg_loop_tokens_per_second"] == 200 / 10
    assert last["avg_real_tokens_per_second"] == 160 / 8
