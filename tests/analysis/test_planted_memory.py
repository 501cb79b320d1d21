"""Faults planted in made-up runs: what was measured of memory and loop, and where a run ended."""

from __future__ import annotations

from typing import Any

import pytest
from support import grids
from support.made_up_faults import of_liger
from support.pages import Page
from support.tables import row

from liger_benchmark.analysis.claims import claim_of
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.columns import TOTAL_PEAK_ALLOCATED_MB
from liger_benchmark.report.page import render_page
from liger_benchmark.run import OUT_OF_MEMORY, Run

# --- 7 and 8: memory


def test_a_run_barely_fits_only_if_the_allocator_had_to_retry() -> None:
    runs = grids.grid(sizes=(48,), memory_mb=39 * 1024.0)
    assert not any("barely" in text for text in analyse(runs).warnings)
    runs[1].record["memory"]["allocator_retries"] = 3
    assert [caveat.kind for caveat in analyse(runs).caveats] == ["memory_limit"]


def test_a_saving_of_reserved_memory_alone_is_said_to_be_stock() -> None:
    runs = grids.one_batch_size()
    for run in runs:
        run.history[TOTAL_PEAK_ALLOCATED_MB] = 21_928.0
    analysis = analyse(runs)
    compared = row(analysis.comparison, arm="Liger")
    assert compared["memory_saving_percent"] == pytest.approx(12.7, abs=0.1)
    assert compared["allocated_saving_percent"] == pytest.approx(0.0)
    [caveat] = analysis.caveats
    assert caveat.kind == "stock"
    assert caveat.text == (
        "At batch size 16 Liger reserves less memory than vanilla and allocates as much: the "
        "saving is in the allocator's stock alone."
    )
    assert "of the memory used 0.0% less" in claim_of(analysis.claims, "memory").measured


# --- 12: what the speed of the steps leaves out


def test_a_gain_in_the_steps_that_the_loop_loses_is_shown_as_a_loss_of_the_loop() -> None:
    """Liger's batches take long to collate: its steps are 26% faster, its loop is slower."""
    runs = grids.one_batch_size()
    for run in of_liger(runs):
        run.history["avg_loop_tokens_per_second"] *= 0.7
    analysis = analyse(runs)
    compared = row(analysis.comparison, arm="Liger")
    assert compared["speedup_percent"] == pytest.approx(26.4, abs=0.1)
    assert compared["loop_speedup_percent"] == pytest.approx(-11.5, abs=0.1)
    [shown] = [r for r in Page(render_page(analysis)).table("Speed-up") if r["Arm"] == "Liger"]
    assert "+26.4%" in shown["Speed-up"] and "loop −11.5%" in shown["Speed-up"]
    assert "loop 11,160" in shown["Tokens/s"]


# --- 13: where memory ran out


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"phase": "model", "step": 0}, "while the model was loaded"),
        ({"phase": "first step", "step": 1}, "at the first step"),
        ({"phase": "step", "step": 7}, "at step 7"),
        ({"phase": "optimizer", "step": 7}, "in the optimizer at step 7"),
        ({"phase": "evaluation", "step": 7}, "in an evaluation after step 7"),
        ({"phase": "checkpoint", "step": 7}, "while a checkpoint was saved after step 7"),
    ],
)
def test_a_run_out_of_memory_says_where_it_ran_out(where: dict[str, Any], words: str) -> None:
    run = Run(grids.make_run("Liger", 16).training_args, OUT_OF_MEMORY)
    run.record["out_of_memory"] = where
    assert analyse([run]).runs_table.loc[0, "reason"] == f"out of memory {words}"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("evaluation", "its evaluation failed"),
        ("checkpoint", "its checkpoint could not be saved"),
        ("save", "it could not be saved"),
        ("record", "its record is incomplete"),
        ("process", "its process failed"),
        ("training", "the training did not end well"),
    ],
)
def test_what_failed_after_the_last_step_is_shown_beside_what_was_measured(
    where: str, words: str
) -> None:
    runs = grids.one_batch_size()
    whole = analyse(runs)
    run = of_liger(runs)[0]
    run.record["after_last_step"] = {where: "OSError: [Errno 28] No space left on device"}
    analysis = analyse(runs)
    assert analysis.headline == whole.headline
    failed = f"{words}: OSError: [Errno 28] No space left on device"
    [caveat] = analysis.caveats
    assert caveat.kind == "after_last_step"
    assert caveat.text == (
        "1 run finished the last step and failed after it; what was measured is kept. phi3-mini "
        f"bs=16 liger run=1: {failed}."
    )
    outcomes = [shown["Outcome"] for shown in Page(render_page(analysis)).table("Outcome")]
    assert outcomes.count(f"completed {failed}") == 1 and outcomes.count("completed") == 5


# --- 14: MFU


def test_mfu_counts_the_parameters_that_a_token_passes() -> None:
    """A mixture of 30 billion parameters of which 3 are at work."""
    run = grids.make_run("Liger", 16, rate=10_000.0)
    run.record["weights"] |= {"n_parameters": 30_500_000_000, "n_active_parameters": 3_300_000_000}
    expected = 6 * 3_300_000_000 * 10_000 / 989.4e12
    assert analyse([run]).runs_table.loc[0, "mfu"] == pytest.approx(expected)
