"""The tables of the analysis against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest
from support import grids
from support.tables import row

from liger_benchmark.analysis.loss_difference import BF16_LOSS_BOUND
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.columns import (
    AVG_TOKENS_PER_SECOND,
    TOTAL_PEAK_RESERVED_MB,
    TOTAL_PEAK_RESIDENT_SET_MB,
)
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run


def test_speedup_and_saving_follow_from_the_pairs() -> None:
    compared = row(
        analyse(grids.two_arms(((120.0, 100.0), (240.0, 200.0)))).comparison,
        per_device_train_batch_size=16,
    )
    assert compared["n_pairs"] == 2
    assert compared["speedup_percent"] == pytest.approx(20.0)
    assert compared["speedup_low"] == pytest.approx(20.0)
    # Memory is equal in every repeat: 900 against 1000, and an interval without width.
    assert compared["memory_saving_percent"] == pytest.approx(10.0)
    assert compared["memory_saving_low"] == pytest.approx(10.0)
    assert compared["memory_saving_high"] == pytest.approx(10.0)


def test_the_ends_of_a_savings_interval_are_in_order() -> None:
    runs = [
        grids.make_run(arm, 16, repeat, rate=100.0, memory_mb=used, steps=4)
        for repeat, pair in enumerate(((900.0, 1000.0), (800.0, 1000.0)), start=1)
        for arm, used in zip(("Liger", "vanilla"), pair, strict=True)
    ]
    compared = row(analyse(runs).comparison, per_device_train_batch_size=16)
    mean = 100 * (1 - math.sqrt(0.9 * 0.8))
    assert compared["memory_saving_percent"] == pytest.approx(mean)
    assert compared["memory_saving_low"] < mean < compared["memory_saving_high"]


def test_only_repeats_that_both_arms_completed_are_paired() -> None:
    runs = grids.two_arms(((120.0, 100.0), (130.0, 100.0), (500.0, 100.0)))
    runs[5] = Run(runs[5].training_args, FAILED)  # vanilla, repeat 3
    analysis = analyse(runs)
    compared = row(analysis.comparison, per_device_train_batch_size=16)
    assert compared["n_pairs"] == 2
    assert compared["speedup_percent"] == pytest.approx(100 * (math.sqrt(1.2 * 1.3) - 1))
    vanilla = row(analysis.cells, arm="vanilla")
    assert (vanilla["n_completed"], vanilla["n_failed"]) == (2, 1)
    assert vanilla["tokens_per_second"] == pytest.approx(100.0)


def test_a_run_that_did_not_complete_enters_no_mean() -> None:
    runs = grids.two_arms(((120.0, 100.0), (120.0, 100.0)))
    # It ran out of memory after steps of a very different speed.
    stopped = grids.make_run("Liger", 16, 3, rate=9999.0, steps=4)
    analysis = analyse([*runs, dataclasses.replace(stopped, outcome=OUT_OF_MEMORY)])
    cell = row(analysis.cells, arm="Liger")
    assert cell["tokens_per_second"] == pytest.approx(120.0)
    assert (cell["n_completed"], cell["n_out_of_memory"]) == (2, 1)
    assert any("1 of 3 runs of Liger" in text for text in analysis.warnings)
    assert analysis.runs_table["avg_tokens_per_second"].notna().sum() == 4


def test_runs_table_names_every_run_and_its_reason() -> None:
    table = analyse(grids.with_failures()).runs_table
    assert len(table) == 12
    failed = table[table["outcome"] == FAILED]
    assert list(failed["reason"]) == [
        "RuntimeError: CUDA error: an illegal memory access was met",
        "no result was returned; see the task's log",
        "no result was returned; see the task's log",
    ]
    assert list(failed["detail"]) == list(failed["reason"])
    completed = table[table["outcome"] == COMPLETED]
    assert (completed["reason"] == "").all() and (completed["detail"] == "").all()


def test_out_of_memory_says_where_and_how_much() -> None:
    table = analyse(grids.complete()).runs_table
    row = table[table["outcome"] == OUT_OF_MEMORY].iloc[0]
    detail = "at the first step: 0.92 GiB refused, 37.89 GiB allocated, 38.49 GiB reserved"
    assert row["reason"] == f"out of memory {detail}"
    assert row["detail"] == detail


@pytest.mark.parametrize(
    ("details", "reason", "detail"),
    [
        ({}, "out of memory", ""),
        ({"requested_MB": 1024.0}, "out of memory: 1.00 GiB refused", "1.00 GiB refused"),
        ({"phase": "step", "step": 7}, "out of memory at step 7", "at step 7"),
    ],
)
def test_the_detail_of_a_run_out_of_memory_is_the_reason_without_the_outcome(
    details: dict[str, object], reason: str, detail: str
) -> None:
    run = Run(grids.make_run("Liger", 16).training_args, OUT_OF_MEMORY)
    run.record["out_of_memory"] = details
    table = analyse([run]).runs_table
    assert (table.loc[0, "reason"], table.loc[0, "detail"]) == (reason, detail)


def test_the_last_row_of_a_history_is_the_runs_aggregate() -> None:
    run = grids.make_run("Liger", 16, rate=1234.0, memory_mb=5678.0)
    table = analyse([run]).runs_table
    assert table.loc[0, AVG_TOKENS_PER_SECOND] == pytest.approx(1234.0)
    assert table.loc[0, TOTAL_PEAK_RESERVED_MB] == pytest.approx(5678.0)


def test_memory_on_a_cpu_is_named_resident_set() -> None:
    analysis = analyse(grids.on_cpu())
    assert analysis.memory_column == TOTAL_PEAK_RESIDENT_SET_MB
    assert analysis.runs_table[TOTAL_PEAK_RESIDENT_SET_MB].notna().all()


def test_mfu_is_six_parameters_tokens_over_the_peak() -> None:
    run = grids.make_run("Liger", 16, rate=20_000.0)
    expected = 6 * 3_821_079_552 * 20_000 / 989.4e12
    assert analyse([run]).runs_table.loc[0, "mfu"] == pytest.approx(expected)


def test_no_mfu_for_an_unknown_gpu_or_without_bf16() -> None:
    run = grids.make_run("Liger", 16)
    run.record["environment"]["gpu"] = {"name": "Unheard-of 9000"}
    assert analyse([run]).runs_table["mfu"].isna().all()
    assert analyse([grids.make_run("Liger", 16, bf16=False)]).runs_table["mfu"].isna().all()


def test_loss_parity_is_the_largest_difference_over_steps_and_repeats() -> None:
    runs = grids.two_arms(((120.0, 100.0), (120.0, 100.0)))
    vanilla = runs[1].history["loss"]
    runs[0].history["loss"] = vanilla * [1.0, 1.03, 1.0, 0.99]
    analysis = analyse(runs)
    compared = row(analysis.comparison, per_device_train_batch_size=16)
    assert compared["loss_difference"] == pytest.approx(0.03)
    assert compared["loss_bound"] == BF16_LOSS_BOUND
    assert compared["loss_above_bound"]
    assert analysis.warnings == [
        "Liger at batch size 16 is invalid, and left out of every comparison: its losses differ "
        "from the baseline's by up to 3%, and rounding explains 0.2%."
    ]


def test_losses_within_the_bound_raise_no_warning() -> None:
    analysis = analyse(grids.complete())
    assert not analysis.comparison["loss_above_bound"].any()
    assert analysis.warnings == []


def test_analysing_no_runs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no run"):
        analyse([])


def test_the_analysis_is_imported_without_heavy_packages() -> None:
    code = (
        "import liger_benchmark.report.page, liger_benchmark.report.terminal, sys;"
        "print([m for m in ('torch', 'matplotlib', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
