"""The analysis against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pandas as pd
import pytest
from support import grids
from support.tables import row

from liger_benchmark.analysis.comparison import BF16_LOSS_BOUND
from liger_benchmark.analysis.intervals import (
    largest_relative_difference,
    mean_interval,
    ratio_interval,
)
from liger_benchmark.analysis.tables import (
    analyse,
    begins_a_sitting,
    overhead_seconds,
)
from liger_benchmark.experiment.gpu_peaks import dense_bf16_tflops
from liger_benchmark.report import curves
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run

# Two-sided 95 % quantiles of Student's t, from a printed table.
T_1, T_2 = 12.706, 4.303


def test_a_mean_of_three_has_students_interval() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.high is not None and interval.low is not None
    assert interval.high - 2.0 == pytest.approx(T_2 * 1.0 / math.sqrt(3), rel=1e-4)
    assert 2.0 - interval.low == pytest.approx(T_2 * 1.0 / math.sqrt(3), rel=1e-4)


def test_a_mean_of_two_has_a_wide_interval() -> None:
    interval = mean_interval([9.0, 11.0])
    assert interval.high == pytest.approx(10 + T_1 * math.sqrt(2) / math.sqrt(2), rel=1e-4)


def test_one_value_has_no_interval_and_equal_values_a_point() -> None:
    assert (mean_interval([5.0]).low, mean_interval([5.0]).high) == (None, None)
    equal = mean_interval([5.0, 5.0, 5.0])
    assert (equal.low, equal.high) == (5.0, 5.0)


def test_a_ratio_is_paired_and_its_interval_is_on_the_logs() -> None:
    # Pairs with ratios e**0.1, e**0.2 and e**0.3: mean log 0.2, deviation 0.1.
    ratios = [math.exp(0.1), math.exp(0.2), math.exp(0.3)]
    base = [100.0, 200.0, 50.0]
    interval = ratio_interval([r * b for r, b in zip(ratios, base, strict=True)], base)
    half = T_2 * 0.1 / math.sqrt(3)
    assert interval.mean == pytest.approx(math.exp(0.2))
    assert interval.low == pytest.approx(math.exp(0.2 - half), rel=1e-4)
    assert interval.high == pytest.approx(math.exp(0.2 + half), rel=1e-4)


@pytest.mark.parametrize(
    ("losses", "reference", "expected"),
    [
        ([1.0, 2.2, 3.0], [1.0, 2.0, 3.0], 0.1),
        ([0.0], [0.0], 0.0),
        ([1.0], [0.0], math.inf),
        ([math.nan], [1.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_losses_are_compared_relative_to_vanilla(
    losses: list[float], reference: list[float], expected: float
) -> None:
    assert largest_relative_difference(losses, reference) == pytest.approx(expected)


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
    assert (table[table["outcome"] == COMPLETED]["reason"] == "").all()


def test_out_of_memory_says_where_and_how_much() -> None:
    table = analyse(grids.complete()).runs_table
    reason = table[table["outcome"] == OUT_OF_MEMORY].iloc[0]["reason"]
    assert reason == (
        "out of memory at the first step: 0.92 GiB refused, 37.89 GiB allocated, 38.49 GiB reserved"
    )


def test_the_last_row_of_a_history_is_the_runs_aggregate() -> None:
    run = grids.make_run("Liger", 16, rate=1234.0, memory_mb=5678.0)
    table = analyse([run]).runs_table
    assert table.loc[0, "avg_tokens_per_second"] == pytest.approx(1234.0)
    assert table.loc[0, "total_peak_memory_reserved_MB"] == pytest.approx(5678.0)


def test_memory_on_a_cpu_is_named_resident_set() -> None:
    analysis = analyse(grids.on_cpu())
    assert analysis.memory_column == "total_peak_resident_set_MB"
    assert analysis.runs_table["total_peak_resident_set_MB"].notna().all()


def test_mfu_is_six_parameters_tokens_over_the_peak() -> None:
    run = grids.make_run("Liger", 16, rate=20_000.0)
    expected = 6 * 3_821_079_552 * 20_000 / 989.4e12
    assert analyse([run]).runs_table.loc[0, "mfu"] == pytest.approx(expected)


def test_no_mfu_for_an_unknown_gpu_or_without_bf16() -> None:
    run = grids.make_run("Liger", 16)
    run.record["environment"]["gpu"] = {"name": "Unheard-of 9000"}
    assert analyse([run]).runs_table["mfu"].isna().all()
    assert analyse([grids.make_run("Liger", 16, bf16=False)]).runs_table["mfu"].isna().all()


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA B200", 2250.0),
        ("NVIDIA A40", 149.7),
        ("NVIDIA GeForce RTX 4090", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_peaks_are_found_by_nvmls_names(name: str, peak: float | None) -> None:
    assert dense_bf16_tflops(name) == peak


def test_overhead_is_everything_but_the_steps() -> None:
    run = Run(grids.make_run("Liger", 16).training_args, COMPLETED)
    assert math.isnan(overhead_seconds(run))
    run.record["phases"] = {"imports": 1.5, "warmup_steps": 2.0, "steps": 40.0, "teardown": 0.25}
    assert overhead_seconds(run) == 1.75


def test_runs_that_waited_for_the_imports_are_told_apart_wherever_they_stand() -> None:
    """A grid that was run in parts has more than one of them."""
    runs = grids.complete()
    for run in runs:
        run.record["phases"] = {"process": 0.1, "model": 2.0, "steps": 30.0, "teardown": 0.5}
    runs[0].record["phases"]["process"] = 12.0
    runs[5].record["phases"]["process"] = 15.0
    runs[7].record["phases"]["model"] = 3.0
    assert [i for i, run in enumerate(runs) if begins_a_sitting(run)] == [0, 5]
    analysis = analyse(runs)
    assert analysis.first_overhead_seconds == pytest.approx(17.5)
    assert analysis.later_overhead_seconds == pytest.approx(3.6)


def test_the_phases_means_leave_out_the_first_run_of_a_sitting(
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


def test_loss_parity_is_the_largest_difference_over_steps_and_repeats() -> None:
    runs = grids.two_arms(((120.0, 100.0), (120.0, 100.0)))
    vanilla = runs[1].history["loss"]
    runs[0].history["loss"] = vanilla * [1.0, 1.03, 1.0, 0.99]
    analysis = analyse(runs)
    compared = row(analysis.comparison, per_device_train_batch_size=16)
    assert compared["loss_difference"] == pytest.approx(0.03)
    assert compared["loss_bound"] == BF16_LOSS_BOUND
    assert compared["loss_above_bound"]
    assert any("losses differ by up to 3 %" in text for text in analysis.warnings)


def test_losses_within_the_bound_raise_no_doubt() -> None:
    analysis = analyse(grids.complete())
    assert not analysis.comparison["loss_above_bound"].any()
    assert analysis.warnings == []


@pytest.mark.parametrize(
    ("part", "words"),
    [("weights", "did not start from the same weights"), ("dataset", "did not see the same rows")],
)
def test_arms_that_started_apart_are_named(part: str, words: str) -> None:
    runs = grids.grid(sizes=(16, 24), repeats=2)
    runs[2].record[part]["checksum"] = "another"
    assert any(f"{words} at batch size 24" in text for text in analyse(runs).warnings)


def test_arms_that_are_not_what_they_are_called_are_named() -> None:
    runs = grids.one_batch_size()
    runs[0].record["liger"] = dict.fromkeys(("rms_norm", "swiglu"), 0)
    runs[1].record["liger"]["rope"] = 32
    warnings = " ".join(analyse(runs).warnings)
    assert "of the Liger arm no part of Liger was active" in warnings
    assert "of the vanilla arm parts of Liger were active" in warnings


def test_neighbours_on_the_gpu_and_other_drivers_are_named() -> None:
    runs = grids.one_batch_size()
    gpu = runs[0].record["environment"]["gpu"]
    gpu["other_processes"] = [{"pid": 7, "name": "trainer", "memory_MB": None}]
    gpu["driver"] = "590.1"
    warnings = " ".join(analyse(runs).warnings)
    assert "Other processes were on the GPU in 1 run: trainer" in warnings
    assert "different driver versions: 575.57.08 and 590.1" in warnings


def test_there_is_nothing_to_analyse_without_a_run() -> None:
    with pytest.raises(ValueError, match="no run"):
        analyse([])


def test_the_analysis_is_imported_without_heavy_packages() -> None:
    code = (
        "import liger_benchmark.report.page, liger_benchmark.report.terminal, sys;"
        "print([m for m in ('torch', 'matplotlib', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_runs_that_fitted_only_just_are_named() -> None:
    runs = grids.complete()
    assert not any("barely fits" in warning for warning in analyse(runs).warnings)
    tight = next(r for r in runs if r.training_args.slug.endswith("bs-40-vanilla-run-1"))
    limit_gib = tight.training_args.gpu_memory_limit_gib
    assert limit_gib is not None
    tight.history["step_peak_memory_reserved_MB"] = limit_gib * 1024
    [warning] = [w for w in analyse(runs).warnings if "barely fits" in w]
    assert "vanilla arm barely fits at batch size 40" in warning
    other = next(r for r in runs if r.training_args.slug.endswith("bs-40-liger-run-2"))
    other.history["step_peak_memory_reserved_MB"] = limit_gib * 1024
    [warning] = [w for w in analyse(runs).warnings if "barely fit" in w]
    assert warning.startswith("The arms vanilla and Liger barely fit at batch size 40: each ")
