"""A run's time outside its steps, and which runs waited for the imports."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from support import grids

from liger_benchmark.analysis.overhead import begins_a_session, overhead_seconds
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report import curves
from liger_benchmark.run import COMPLETED, Run


def test_overhead_is_everything_but_the_steps() -> None:
    run = Run(grids.make_run("Liger", 16).training_args, COMPLETED)
    assert math.isnan(overhead_seconds(run))
    run.record["phases"] = {"imports": 1.5, "warmup_steps": 2.0, "steps": 40.0, "teardown": 0.25}
    assert overhead_seconds(run) == 1.75


def test_every_run_that_waited_for_the_imports_is_recognised() -> None:
    """A grid that was run in parts has more than one of them."""
    runs = grids.complete()
    for run in runs:
        run.record["phases"] = {"process": 0.1, "model": 2.0, "steps": 30.0, "teardown": 0.5}
    runs[0].record["phases"]["process"] = 12.0
    runs[5].record["phases"]["process"] = 15.0
    runs[7].record["phases"]["model"] = 3.0
    assert [i for i, run in enumerate(runs) if begins_a_session(run)] == [0, 5]
    analysis = analyse(runs)
    assert analysis.first_overhead_seconds == pytest.approx(17.5)
    assert analysis.later_overhead_seconds == pytest.approx(3.6)


def test_mean_phases_leave_out_the_first_run_of_a_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[pd.DataFrame] = []
    monkeypatch.setattr(curves, "phase_bars", lambda means: drawn.append(means) or "<svg/>")
    runs = grids.one_batch_size()
    for run in runs:
        run.record["phases"] = {"process": 0.4, "model": 2.0, "steps": 5.0}
    runs[0].record["phases"]["process"] = 16.0
    left_out = "without a session’s first run"
    assert left_out in curves.where_the_time_goes(analyse(runs))
    assert drawn[-1].loc["Liger, 16", "process"] == pytest.approx(0.4)
    # A condition's only repeat stays: there is nothing better to show.
    assert left_out not in curves.where_the_time_goes(analyse(runs[:2]))
    assert drawn[-1].loc["Liger, 16", "process"] == pytest.approx(16.0)
