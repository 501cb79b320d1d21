"""What the terminal and the page say of a trial's gradients and of Liger's parts is the same."""

from __future__ import annotations

import pytest
from support import grids
from support.runs import GRADIENTS

from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.report.agreement import gradients_line, liger_line
from liger_benchmark.report.trial import checks_table
from liger_benchmark.run import Run


def cells(analysis: Analysis, column: int) -> list[str]:
    """The texts of a column of the page's table, with their details."""
    rows = checks_table(analysis).rows
    return [f"{row[column].text} {row[column].detail}".strip() for row in rows]


def scaled(runs: list[Run], name: str, norm: float, direction: float) -> Analysis:
    """The grid with a parameter's norm and projections scaled in the arm with Liger."""
    for run in runs:
        own = {key: list(values) for key, values in GRADIENTS.items()}
        if run.training_args.use_liger:
            first, *others = own[name]
            own[name] = [norm * first, *(direction * value for value in others)]
        run.record["gradients"] = own
    return analyse(runs)


@pytest.mark.parametrize("size", [2])
def test_a_norm_above_its_bound_is_shown_with_that_bound(size: int) -> None:
    analysis = scaled(
        grids.grid(sizes=(size,), repeats=1, model_name="builtin:phi3-tiny"),
        "lm_head.weight", norm=1.05, direction=1.0,
    )  # fmt: skip
    assert gradients_line(analysis) == (
        "Gradients do NOT agree: largest difference between arms 5%, rounding explains 2%."
    )
    assert cells(analysis, 4) == ["baseline", "5% above bound"]
    reason = analysis.runs_table["invalid"].max()
    assert "by 5% in lm_head.weight (norm; rounding explains 2%)" in reason


def test_a_difference_that_rounding_explains_is_shown_beside_its_own_bound() -> None:
    analysis = scaled(
        grids.grid(sizes=(2,), repeats=1, model_name="builtin:phi3-tiny"),
        "lm_head.weight", norm=1.0, direction=1.1,
    )  # fmt: skip
    line = gradients_line(analysis)
    assert line.startswith("Gradients agree: ") and line.endswith("rounding explains 30%.")
    assert cells(analysis, 4)[1].endswith("bound 30%")


def test_ligers_parts_are_counted_alike_on_the_page_and_in_the_terminal() -> None:
    runs = grids.on_cpu()
    for run in runs:
        if run.training_args.use_liger:
            run.record["liger"]["rope"] = 0
    analysis = analyse(runs)
    assert liger_line(analysis) == "Liger active: none in vanilla and 98 of 130 parts in Liger."
    assert cells(analysis, 5) == ["none", "98 of 130"] * 2
