"""Which measured steps are no steady state."""

from __future__ import annotations

import pytest
from support import grids

from liger_benchmark.analysis.steadiness import SLOW, unsteady_mark, unsteady_steps
from liger_benchmark.columns import STEP_COMPILATIONS
from liger_benchmark.run import OUT_OF_MEMORY, Run


def some_run() -> Run:
    run = grids.make_run("Liger", 24, steps=12)
    run.history["step_seconds"] = 0.169
    run.history.loc[0, "step_seconds"] = 1.84
    return run


def test_a_run_of_equal_steps_is_steady_whatever_its_warm_up_did() -> None:
    run = some_run()
    assert run.history.loc[0, STEP_COMPILATIONS] > 0
    assert unsteady_steps(run) == []


@pytest.mark.parametrize(("factor", "found"), [(SLOW - 0.01, []), (SLOW + 0.01, [8])])
def test_a_step_far_above_the_median_is_unsteady(factor: float, found: list[int]) -> None:
    run = some_run()
    run.history.loc[7, "step_seconds"] *= factor
    assert [step.step for step in unsteady_steps(run)] == found


def test_a_step_that_compiled_is_unsteady_however_fast_it_was() -> None:
    run = some_run()
    run.history.loc[5, STEP_COMPILATIONS] = 2
    [step] = unsteady_steps(run)
    assert (step.step, step.compilations, step.run) == (6, 2, run)
    assert step.seconds == step.median_seconds == 0.169


def test_old_histories_without_counted_compilations_are_judged_by_time_alone() -> None:
    run = some_run()
    del run.history[STEP_COMPILATIONS]
    assert unsteady_steps(run) == []
    run.history.loc[7, "step_seconds"] *= 3
    assert [step.compilations for step in unsteady_steps(run)] == [0]


def test_only_completed_runs_with_timed_steps_are_looked_at() -> None:
    run = some_run()
    run.history.loc[7, "step_seconds"] *= 3
    assert unsteady_steps(Run(run.training_args, OUT_OF_MEMORY, run.history)) == []
    assert unsteady_steps(Run(run.training_args, "completed")) == []


def test_the_mark_counts_compiled_and_slow_steps_apart() -> None:
    run = some_run()
    assert unsteady_mark(run) == ("", "")
    run.history.loc[5, STEP_COMPILATIONS] = 2
    run.history.loc[[7, 8], "step_seconds"] = 0.5
    assert unsteady_mark(run) == (
        "1 step compiled, 2 slow steps",
        "step 6: 169 ms, median 169 ms, 2 compilations; step 8: 500 ms, median 169 ms; "
        "step 9: 500 ms, median 169 ms",
    )
