"""Liger against the same without, at each length: which pairs there are, and their table."""

from __future__ import annotations

from typing import Any

import pytest
from support.grids import FOUR_ARMS
from support.runs import grid, make_run

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.counterparts import liger_against_the_same
from liger_benchmark.run import OUT_OF_MEMORY

LENGTHS: dict[str, dict[str, Any]] = {
    "vanilla + max_seq_length=1024": {"max_seq_length": 1024, "rate": 1000.0},
    "vanilla + max_seq_length=4096": {"max_seq_length": 4096, "rate": 500.0},
    "Liger + max_seq_length=1024": {"max_seq_length": 1024, "use_liger": True, "rate": 900.0},
    "Liger + max_seq_length=4096": {"max_seq_length": 4096, "use_liger": True, "rate": 750.0},
}


def test_each_length_has_its_own_baseline() -> None:
    analysis = analyse(grid(sizes=(16,), repeats=2, arms=LENGTHS))
    pairs = analysis.counterparts.set_index("arm")
    assert pairs["counterpart"].to_dict() == {
        "Liger + max_seq_length=1024": "vanilla + max_seq_length=1024",
        "Liger + max_seq_length=4096": "vanilla + max_seq_length=4096",
    }
    assert pairs["speedup_percent"].tolist() == pytest.approx([-10, 50])
    section = liger_against_the_same(analysis)
    assert "+50.0%" in section and "\N{MINUS SIGN}10.0%" in section


def test_a_length_at_which_vanilla_runs_out_of_memory_is_shown() -> None:
    long = "vanilla + max_seq_length=4096"
    runs = [
        make_run(arm, 16, repeat, outcome=OUT_OF_MEMORY, **{**settings, "rate": None})
        if arm == long
        else make_run(arm, 16, repeat, **settings)
        for repeat in (1, 2)
        for arm, settings in LENGTHS.items()
    ]
    section = liger_against_the_same(analyse(runs))
    assert "out of memory" in section
    assert "only Liger fits" in section


@pytest.mark.parametrize("arms", [("Liger", "vanilla"), FOUR_ARMS])
def test_arms_of_the_same_work_have_no_such_table(arms: Any) -> None:
    analysis = analyse(grid(sizes=(16,), repeats=2, arms=arms))
    assert analysis.counterparts.empty
    assert liger_against_the_same(analysis) == ""
