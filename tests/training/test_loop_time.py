"""What lies between and inside steps: whose time it is, and whose energy."""

from __future__ import annotations

import pytest
from support.steps import Driver, FakeDevice, column, run_steps


def test_the_loops_speed_counts_the_time_between_measured_steps_and_not_the_warmup() -> None:
    drive = Driver(n_warmup_steps=1)
    drive.wait(1000.0)
    assert drive.step(50.0, 100)["avg_loop_tokens_per_second"] is None
    drive.wait(1.0)  # loading the first measured batch
    assert drive.step(4.0, 100)["avg_loop_tokens_per_second"] == 100 / 5
    drive.wait(3.0)
    row = drive.step(2.0, 100)
    assert row["avg_loop_tokens_per_second"] == 200 / 10
    assert row["avg_tokens_per_second"] == 200 / 6


def test_an_evaluation_between_two_steps_is_not_in_the_loops_time() -> None:
    drive = Driver(n_warmup_steps=1)
    drive.step(1.0, 100)
    with drive.callback.interrupted("evaluation"):
        drive.wait(500.0)
    drive.wait(1.0)
    drive.step(4.0, 100)
    with drive.callback.interrupted("checkpoint"):
        drive.wait(500.0)
    assert drive.step(5.0, 100)["avg_loop_tokens_per_second"] == 200 / 10


@pytest.mark.parametrize("n_warmup_steps", [0, 1])
def test_paused_time_is_in_no_step_and_not_in_the_loop(n_warmup_steps: int) -> None:
    drive = Driver(n_warmup_steps)
    assert drive.step(2.0, 100, pause=30.0)["step_seconds"] == 2.0
    row = drive.step(2.0, 100, pause=20.0)
    assert row["step_seconds"] == 2.0
    assert row["avg_loop_tokens_per_second"] == row["avg_tokens_per_second"] == 50.0
    assert drive.callback.paused_seconds == {"checks": 50.0}


def test_energy_is_what_the_counter_grew_by_and_its_average_leaves_out_the_warmup() -> None:
    callback = run_steps(
        [1.0, 1.0, 1.0],
        [[100], [100], [50]],
        n_warmup_steps=1,
        joules=[1000.0, 1500.0, 1600.0, 1650.0],
    )
    assert column(callback, "step_energy_J") == [500.0, 100.0, 50.0]
    assert column(callback, "avg_energy_J_per_token") == [None, 1.0, 1.0]


class Meter(FakeDevice):
    """A GPU whose counter is moved by hand."""

    counted = 1000.0

    def energy_joules(self) -> float | None:
        return self.counted


@pytest.mark.parametrize("n_warmup_steps", [0, 1])
def test_energy_spent_in_pauses_and_evaluations_is_in_no_step(n_warmup_steps: int) -> None:
    meter = Meter([(1.0, 2.0)] * 9)
    drive = Driver(n_warmup_steps)
    drive.callback.device = meter

    def step(joules: float, checks: float) -> None:
        drive.callback.on_step_begin(None, drive.state, None)
        with drive.callback.paused("checks"):
            meter.counted += checks
        drive.callback.count_tokens(100)
        meter.counted += joules
        drive.wait(1.0)
        drive.callback.on_step_end(None, drive.state, None)

    step(300.0, checks=5000.0)
    for stage in ("evaluation", "checkpoint"):
        with drive.callback.interrupted(stage):
            meter.counted += 7000.0
    meter.counted += 20.0  # between the steps: a part of the average
    step(280.0, checks=0.0)
    assert column(drive.callback, "step_energy_J") == [300.0, 300.0]
    assert column(drive.callback, "avg_energy_J_per_token")[1] == 3.0


def test_the_benchmarks_own_work_between_two_steps_is_not_in_the_loops_time() -> None:
    drive = Driver(n_warmup_steps=1)
    drive.step(1.0, 100)
    with drive.callback.left_out():
        drive.wait(500.0)
    drive.wait(1.0)
    assert drive.step(4.0, 100)["avg_loop_tokens_per_second"] == 100 / 5


def test_without_an_energy_counter_there_are_no_energy_columns() -> None:
    for joules in (None, [None, None, None]):
        callback = run_steps([1.0, 1.0], [[100], [100]], n_warmup_steps=1, joules=joules)
        assert not {"step_energy_J", "avg_energy_J_per_token"} & set(callback.history[0])
