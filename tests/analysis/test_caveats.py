"""The caveats about a grid: which records raise one, and how it is worded."""

from __future__ import annotations

import pytest
from support import grids

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.columns import STEP_COMPILATIONS, STEP_PEAK_RESERVED_MB
from liger_benchmark.run import FAILED, Run


def invalid(arm: str, size: int, reason: str) -> str:
    """The sentence about an invalid cell."""
    return f"{arm} at batch size {size} is invalid, and left out of every comparison: {reason}."


def of(runs: list[Run], ending: str) -> Run:
    """The run whose folder's name ends so."""
    return next(run for run in runs if run.training_args.slug.endswith(ending))


@pytest.mark.parametrize("name", ["complete", "one_batch_size", "six_arms", "long_names"])
def test_a_healthy_grid_has_no_caveat(name: str) -> None:
    assert analyse(grids.ALL[name]()).caveats == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("weights", "it started from other weights than the baseline"),
        ("dataset", "it was given other rows than the baseline"),
        ("batches", "it trained on other batches than the baseline"),
    ],
)
def test_an_arm_with_other_weights_rows_or_batches_is_invalid(part: str, reason: str) -> None:
    runs = grids.grid(sizes=(16, 24), repeats=2)
    runs[2].record[part]["checksum"] = "another"
    assert analyse(runs).warnings == [invalid("Liger", 24, reason)]


def test_arms_with_the_wrong_kernels_active_are_invalid() -> None:
    runs = grids.one_batch_size()
    runs[0].record["liger"] = dict.fromkeys(("rms_norm", "swiglu"), 0)
    runs[1].record["liger"]["rope"] = 32
    assert analyse(runs).warnings == [
        invalid("vanilla", 16, "parts of Liger were active: rope"),
        invalid("Liger", 16, "no part of Liger was active"),
    ]


def test_other_processes_on_the_gpu_raise_a_warning_and_another_driver_makes_a_cell_invalid() -> (
    None
):
    runs = grids.one_batch_size()
    gpu = runs[0].record["environment"]["gpu"]
    gpu["other_processes"] = [{"pid": 7, "name": "trainer", "memory_MB": None}]
    gpu["driver"] = "590.1"
    assert analyse(runs).warnings == [
        invalid("Liger", 16, "the driver differs from the baseline's: 590.1, not 575.57.08"),
        "Other processes were on the GPU in 1 run: trainer. Timings may have suffered.",
    ]


def test_memory_that_others_held_raises_a_warning_where_no_process_is_named() -> None:
    runs = grids.one_batch_size()
    runs[0].record["environment"]["gpu"]["others_memory_MB"]["end"] = 3072.0
    assert analyse(runs).warnings == [
        "Up to 3.0 GiB of the GPU's memory were held by other processes. Timings may have suffered."
    ]


def test_only_runs_whose_allocator_had_to_retry_barely_fit() -> None:
    runs = grids.complete()
    limit_gib = runs[0].training_args.gpu_memory_limit_gib
    assert limit_gib is not None
    for run in runs:
        # The allocator keeps what it can get: that it holds the whole limit says nothing.
        run.history[STEP_PEAK_RESERVED_MB] = limit_gib * 1024
    assert analyse(runs).warnings == []
    of(runs, "bs-40-vanilla-run-1").record["memory"]["allocator_retries"] = 2
    costs = "the allocator had to free its cached blocks before it could serve a request, which"
    assert analyse(runs).warnings == [f"vanilla barely fits at batch size 40: {costs} costs speed."]
    of(runs, "bs-40-liger-run-2").record["memory"]["allocator_retries"] = 1
    assert analyse(runs).warnings == [
        f"vanilla and Liger barely fit at batch size 40: {costs} costs speed."
    ]


def test_an_older_record_of_which_the_history_shows_a_retry_in_the_warm_up() -> None:
    runs = grids.complete()
    run = of(runs, "bs-40-vanilla-run-1")
    run.record["memory"]["allocator_retries"] = 1
    run.history[STEP_PEAK_RESERVED_MB] = [
        39936.0 if warmup else 39542.0 for warmup in run.history["is_warmup"]
    ]
    assert analyse(runs).warnings == []
    run.history.loc[run.history.index[-1], STEP_PEAK_RESERVED_MB] = 39000.0
    assert "vanilla barely fits at batch size 40" in analyse(runs).warnings[0]


def test_retries_before_the_measured_steps_are_no_sign_of_a_tight_memory() -> None:
    runs = grids.complete()
    memory = of(runs, "bs-40-vanilla-run-1").record["memory"]
    memory |= {"allocator_retries": 2, "retries_in_measured_steps": 0}
    assert analyse(runs).warnings == []
    memory["retries_in_measured_steps"] = 1
    assert "vanilla barely fits at batch size 40" in analyse(runs).warnings[0]


def test_records_without_gradients_are_said_to_have_none() -> None:
    runs = grids.one_batch_size()
    for run in runs:
        del run.record["gradients"]
    assert [(caveat.kind, caveat.text) for caveat in analyse(runs).caveats] == [
        (
            "proof",
            "These runs recorded no gradients: that the arms compute the same rests on their "
            "losses alone.",
        )
    ]


def test_a_gpu_that_slowed_itself_down_raises_a_warning_but_not_at_its_power_limit() -> None:
    runs = grids.one_batch_size()
    for run in runs[:2]:
        slowed_by = {"power cap": 1.0, "hardware thermal slowdown": 0.2}
        run.record["environment"]["gpu"]["window"]["slowed_by"] = slowed_by
    assert analyse(runs).warnings == [
        "The GPU slowed itself down (hardware thermal slowdown in 2 runs)."
    ]


@pytest.mark.parametrize("name", grids.ALL)
def test_a_caveat_of_the_kind_trial_stands_in_front_of_exactly_the_trials(name: str) -> None:
    analysis = analyse(grids.ALL[name]())
    kinds = [caveat.kind for caveat in analysis.caveats]
    trials = ["trial"] if analysis.hardware.trial else []
    assert [kind for kind in kinds if kind == "trial"] == kinds[: len(trials)] == trials
    assert analysis.warnings == [caveat.text for caveat in analysis.caveats]


def test_each_caveat_has_a_kind() -> None:
    runs = grids.complete()
    of(runs, "bs-16-liger-run-1").record["weights"]["checksum"] = "another"
    of(runs, "bs-24-liger-run-1").history.loc[9, STEP_COMPILATIONS] = 1
    of(runs, "bs-24-liger-run-1").record["session"] = "another"
    of(runs, "bs-32-liger-run-1").record["memory"]["allocator_retries"] = 1
    for run in runs:
        if run.training_args.use_liger and run.training_args.per_device_train_batch_size == 40:
            run.history["total_peak_memory_allocated_MB"] *= 2
    window = runs[0].record["environment"]["gpu"]["window"]
    window["slowed_by"] = {"sync boost": 0.5}
    runs[0].record["environment"]["gpu"]["other_processes"] = [{"pid": 7, "name": "trainer"}]
    runs[-1].outcome = FAILED
    assert [caveat.kind for caveat in analyse(runs).caveats] == [
        *("invalid", "outcomes", "unsteady", "pairs", "memory_limit", "stock", "shared_gpu"),
        "throttling",
    ]
