"""Time, tokens and memory of steps, against values computed by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import Clock, Driver, FakeDevice, column, run_steps

from liger_benchmark.training.device import CpuDevice
from liger_benchmark.training.measurement import EfficiencyCallback


def test_exactly_the_warmup_steps_are_left_out_and_averages_are_totals_over_seconds() -> None:
    callback = run_steps([8.0, 4.0, 2.0, 1.0], [[100], [100], [100], [200]], n_warmup_steps=2)
    assert column(callback, "is_warmup") == [True, True, False, False]
    assert column(callback, "step_tokens_per_second") == [12.5, 25.0, 50.0, 200.0]
    # 100 / 2, then (100 + 200) / (2 + 1): not the mean of the rates, which would be 125.
    assert column(callback, "avg_tokens_per_second") == [None, None, 50.0, 100.0]
    assert column(callback, "avg_step_seconds") == [None, None, 2.0, 1.5]
    assert callback.warmup_seconds == 12.0
    assert callback.seconds == 3.0


def test_tokens_seen_are_counted_from_the_first_step_if_asked_for() -> None:
    clock = iter(range(99)).__next__
    for asked, expected in ((True, [5, 12]), (False, [None, None])):
        callback = EfficiencyCallback(
            1, FakeDevice([(1, 1)] * 2), clock=clock, counts_tokens_seen=asked
        )
        for n_tokens in (5, 7):
            callback.on_step_begin(None, SimpleNamespace(global_step=0), None)
            callback.count_tokens(n_tokens)
            callback.on_step_end(None, SimpleNamespace(global_step=1), None)
        assert [row.get("num_input_tokens_seen") for row in callback.history] == expected


def test_on_a_cpu_the_peak_is_of_the_step_and_not_of_its_end() -> None:
    device = CpuDevice()
    device.reset_peak_memory()
    before = device.peak_memory()["resident_set_MB"]
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    del block
    if sys.platform == "linux":
        assert device.peak_memory()["resident_set_MB"] >= before + 48
    device.reset_peak_memory()
    assert device.peak_memory()["resident_set_MB"] > 0


def test_without_warmup_every_step_counts() -> None:
    callback = run_steps([2.0, 2.0], [[10], [30]], n_warmup_steps=0)
    assert column(callback, "avg_tokens_per_second") == [5.0, 10.0]


def test_gradient_accumulation_adds_up_its_micro_batches() -> None:
    callback = run_steps([1.0, 2.0], [[10, 20, 30], [5, 5, 5]], n_warmup_steps=1)
    assert column(callback, "step_tokens") == [60, 15]
    assert column(callback, "avg_tokens_per_second") == [None, 7.5]


def test_a_resumed_session_warms_up_again_and_counts_from_its_own_first_step() -> None:
    callback = run_steps([9.0, 1.0], [[10], [20]], n_warmup_steps=1, first_step=10)
    assert column(callback, "step") == [11, 12]
    assert column(callback, "is_warmup") == [True, False]
    assert column(callback, "avg_tokens_per_second") == [None, 20.0]


def test_memory_peaks_are_per_step_and_their_totals_leave_the_warmup_out() -> None:
    callback = run_steps(
        [1.0] * 4,
        [[1]] * 4,
        n_warmup_steps=1,
        peaks=[(900.0, 999.0), (10.0, 20.0), (30.0, 40.0), (5.0, 40.0)],
    )
    assert column(callback, "step_peak_memory_reserved_MB") == [999.0, 20.0, 40.0, 40.0]
    assert column(callback, "total_peak_memory_reserved_MB") == [None, 20.0, 40.0, 40.0]
    assert column(callback, "total_peak_memory_allocated_MB") == [None, 10.0, 30.0, 30.0]


def test_the_device_is_synchronised_at_both_ends_and_its_peaks_reset_at_the_start() -> None:
    callback = run_steps([1.0], [[1]], n_warmup_steps=0)
    assert isinstance(callback.device, FakeDevice)
    assert callback.device.calls == ["synchronize", "reset", "synchronize", "read", "sample"]


def test_the_gpus_clock_is_sampled_at_measured_steps_only() -> None:
    callback = run_steps([1.0] * 5, [[1]] * 5, n_warmup_steps=2)
    assert isinstance(callback.device, FakeDevice)
    assert callback.device.calls.count("sample") == 3


def test_the_trainers_loss_is_added_to_the_steps_row_and_other_logs_are_not() -> None:
    callback = run_steps([1.0], [[1]], n_warmup_steps=0)
    callback.on_log(None, None, None, logs={"train_loss": 3.0})
    callback.on_log(None, None, None, logs=None)
    assert callback.history[0]["loss"] == 1.0
    assert callback.history[0]["learning_rate"] == 0.1
    assert "train_loss" not in callback.history[0]


def test_each_row_is_passed_on_once_when_it_is_complete() -> None:
    rows: list[dict[str, Any]] = []
    callback = EfficiencyCallback(0, FakeDevice([(1, 1)]), on_row=rows.append, clock=Clock())
    callback.clock = iter([1.0, 1.0, 2.0, 2.0]).__next__
    callback.on_step_begin(None, SimpleNamespace(global_step=0), None)
    callback.count_tokens(5)
    callback.on_step_end(None, SimpleNamespace(global_step=1), None)
    assert rows == []
    callback.on_log(None, None, None, logs={"loss": 2.5})
    assert [row["loss"] for row in rows] == [2.5]


def test_the_stage_follows_the_phases_of_a_step() -> None:
    callback = EfficiencyCallback(0, FakeDevice([(1, 1)] * 2), clock=iter(range(9)).__next__)
    state = SimpleNamespace(global_step=0)
    callback.on_step_begin(None, state, None)
    assert callback.stage == "first step"
    callback.on_pre_optimizer_step(None, state, None)
    assert callback.stage == "optimizer"
    callback.on_step_end(None, state, None)
    callback.on_step_begin(None, state, None)
    assert callback.stage == "step"


def test_real_tokens_are_those_that_were_announced_for_the_step() -> None:
    drive = Driver(n_warmup_steps=1)
    assert drive.step(1.0, 100, real_tokens=90)["avg_real_tokens_per_second"] is None
    assert drive.step(2.0, 100, real_tokens=60)["avg_real_tokens_per_second"] == 30.0
    assert drive.step(2.0, 100, real_tokens=20)["avg_real_tokens_per_second"] == 20.0


def test_a_step_that_compiles_is_told_from_the_others() -> None:
    drive = Driver(n_warmup_steps=1)
    for compiles in (7, 0, 1, 0):
        drive.step(1.0, 1, compiles=compiles)
        drive.compiled += 3  # between the steps
    assert column(drive.callback, "step_compilations") == [7, 0, 1, 0]


def test_a_stage_lasts_until_the_evaluation_has_succeeded() -> None:
    drive = Driver(n_warmup_steps=0)
    drive.step(1.0, 1)
    with drive.callback.interrupted("evaluation"):
        assert drive.callback.stage == "evaluation"
    assert drive.callback.stage == "step"
    with pytest.raises(MemoryError), drive.callback.interrupted("checkpoint"):
        raise MemoryError
    assert drive.callback.stage == "checkpoint"


STEPS = st.lists(
    st.tuples(
        st.floats(min_value=1e-3, max_value=1e3),
        st.lists(st.integers(min_value=1, max_value=10**6), min_size=1, max_size=4),
        st.floats(min_value=0, max_value=1e6),
    ),
    min_size=1,
    max_size=12,
)


@given(STEPS, st.integers(min_value=0, max_value=4))
def test_averages_lie_between_the_extremes_totals_never_fall_and_tokens_add_up(
    steps: list[tuple[float, list[int], float]], n_warmup_steps: int
) -> None:
    callback = run_steps(
        [seconds for seconds, _, _ in steps],
        [tokens for _, tokens, _ in steps],
        peaks=[(peak, peak) for _, _, peak in steps],
        n_warmup_steps=n_warmup_steps,
    )
    measured = [row for row in callback.history if not row["is_warmup"]]
    assert len(measured) == max(len(steps) - n_warmup_steps, 0)
    assert callback.tokens == sum(sum(tokens) for _, tokens, _ in steps[n_warmup_steps:])
    highest = 0.0
    for position, row in enumerate(measured):
        rates = [r["step_tokens_per_second"] for r in measured[: position + 1]]
        average = row["avg_tokens_per_second"]
        assert min(rates) * (1 - 1e-6) <= average <= max(rates) * (1 + 1e-6)
        assert row["total_peak_memory_reserved_MB"] >= highest
        highest = row["total_peak_memory_reserved_MB"]


class Allocator(FakeDevice):
    """A GPU whose allocator's peak is moved by hand."""

    peak = 10.0

    def reset_peak_memory(self) -> None:
        self.peak = 10.0

    def peak_memory(self) -> dict[str, float]:
        return {"memory_allocated_MB": self.peak, "memory_reserved_MB": self.peak}


def test_without_warmup_a_rehearsals_peaks_enter_no_total() -> None:
    allocator = Allocator([])
    callback = EfficiencyCallback(0, allocator, clock=iter(range(9)).__next__)
    callback.on_step_begin(None, SimpleNamespace(global_step=0), None)
    with callback.paused("rehearsal"):
        allocator.peak = 900.0
    callback.count_tokens(1)
    allocator.peak = 50.0
    with callback.paused("checks"):  # after the backward pass, whose peak counts
        pass
    callback.on_step_end(None, SimpleNamespace(global_step=1), None)
    assert callback.history[0]["step_peak_memory_allocated_MB"] == 50.0
    assert callback.history[0]["total_peak_memory_reserved_MB"] == 50.0
