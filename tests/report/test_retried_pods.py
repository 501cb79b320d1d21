"""A run whose pod a cluster started again is marked: a caveat, and a word in the table of runs."""

from __future__ import annotations

import pytest
from support import grids
from support.pages import Page

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.record import runs as runs_section
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run


def with_attempts(attempts: list[int], outcome: str = COMPLETED) -> list[Run]:
    """A grid of one batch size; its first runs have these attempts, and the first this outcome."""
    runs = grids.one_batch_size()
    for run, attempt in zip(runs, attempts, strict=False):
        run.record |= {"attempt": attempt, "execution": "a1b2c3"}
    runs[0].outcome = outcome
    return runs


def outcomes(runs: list[Run]) -> list[str]:
    """The cells of the column Outcome, with what stands below the word."""
    return [row["Outcome"] for row in Page(runs_section(analyse(runs))).table("Outcome")]


@pytest.mark.parametrize("outcome", [COMPLETED, OUT_OF_MEMORY])
def test_a_measurement_of_a_second_try_has_a_caveat_and_a_mark(outcome: str) -> None:
    runs = with_attempts([2, 1], outcome)
    first = runs[0].training_args.condition
    (caveat,) = [caveat for caveat in analyse(runs).caveats if caveat.kind == "retried"]
    assert caveat.text.startswith("1 run began again in another pod, after the pod before was ")
    assert f": {first} (try 2). Each is whole" in caveat.text
    assert sum("on try 2" in cell for cell in outcomes(runs)) == 1


def test_each_retried_run_is_named_with_its_try() -> None:
    runs = with_attempts([2, 1, 3])
    names = [run.training_args.condition for run in runs]
    (caveat,) = [caveat for caveat in analyse(runs).caveats if caveat.kind == "retried"]
    assert caveat.text.startswith("2 runs began again")
    assert f": {names[0]} (try 2) and {names[2]} (try 3). " in caveat.text


@pytest.mark.parametrize(("attempt", "outcome"), [(1, COMPLETED), (2, FAILED)])
def test_a_first_try_has_no_mark_and_a_failure_says_its_try_itself(
    attempt: int, outcome: str
) -> None:
    runs = with_attempts([attempt], outcome)
    assert "retried" not in [caveat.kind for caveat in analyse(runs).caveats]
    assert not any("on try" in cell for cell in outcomes(runs))
