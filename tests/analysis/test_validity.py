"""The validity gate by itself: which runs it holds against which, and the reasons it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import grids
from support.runs import PARTS

from liger_benchmark.analysis.loss_difference import (
    BF16_LOSS_BOUND,
    FP32_LOSS_BOUND,
    loss_bound,
    loss_difference,
)
from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.run import FAILED, OUT_OF_MEMORY, Run


def reasons(runs: list[Run], baseline: str = "vanilla") -> dict[tuple[str, int], str]:
    return invalid_reasons(runs, baseline)


@pytest.mark.parametrize("name", grids.ALL)
def test_no_cell_of_a_healthy_grid_is_invalid(name: str) -> None:
    runs = grids.ALL[name]()
    for baseline in {run.training_args.arm for run in runs}:
        assert reasons(runs, baseline) == {}


def test_what_was_not_recorded_is_not_held_against_a_run() -> None:
    runs = grids.one_batch_size()
    runs[0].record.clear()
    assert reasons(runs) == {}
    for run in runs:
        run.record.clear()
    assert reasons(runs) == {}


def test_one_invalid_repeat_makes_the_cell_invalid_and_no_other() -> None:
    runs = grids.grid(sizes=(16, 24))
    runs[6].history.loc[30, "loss"] = float("nan")
    assert (runs[6].training_args.arm, runs[6].training_args.run) == ("Liger", 2)
    assert reasons(runs) == {("Liger", 24): "the loss is not a finite number at step 31"}


def test_runs_are_compared_within_their_repeat() -> None:
    """Another repeat may lie on another day and card."""
    runs = grids.one_batch_size()
    for run in runs[2:4]:
        run.record["environment"]["gpu"]["driver"] = "590.1"
    assert reasons(runs) == {}


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("dataset", "it was given other rows than"),
        ("batches", "it trained on other batches than"),
        ("weights", "it started from other weights than"),
    ],
)
def test_rows_and_start_are_the_same_in_all_repeats(part: str, reason: str) -> None:
    runs = grids.grid(sizes=(16, 24))
    for run in runs[8:10]:
        run.record[part]["checksum"] = "another"
        assert (run.training_args.per_device_train_batch_size, run.training_args.run) == (16, 3)
    assert reasons(runs) == {
        ("vanilla", 16): f"{reason} repeat 1",
        ("Liger", 16): f"{reason} vanilla's repeat 1",
    }
    one_arm = [run for run in runs if run.training_args.arm == "Liger"]
    assert reasons(one_arm, "Liger") == {("Liger", 16): f"{reason} repeat 1"}


def test_another_number_of_steps_in_another_repeat_decides_other_rows() -> None:
    runs = [
        grids.make_run("vanilla", 16, repeat, steps=steps) for repeat, steps in ((1, 4), (2, 8))
    ]
    assert reasons(runs) == {}


def test_a_run_is_not_held_against_one_that_is_itself_invalid() -> None:
    runs = grids.one_batch_size()
    for run in runs:
        if run.training_args.arm == "vanilla":
            run.history["loss"] = float("inf")
    assert list(reasons(runs)) == [("vanilla", 16)]


def test_arms_that_compute_other_things_than_the_baseline_are_held_against_each_other() -> None:
    """With the optimiser as an axis, Liger + adamw_torch has to agree with its vanilla."""
    runs = grids.grid(sizes=(16,), repeats=2, arms=grids.FOUR_ARMS, steps=12)
    for run in runs:
        if run.training_args.arm == "Liger + adamw_torch":
            run.history["loss"] *= 3
    wrong = ("Liger + adamw_torch", 16)
    assert reasons(runs) == {
        wrong: "its losses differ from vanilla + adamw_torch's by up to 200%, and rounding "
        "explains 0.2%"
    }
    assert list(reasons(runs, "Liger")) == [wrong]


@pytest.mark.parametrize("baseline", ["vanilla + adamw_torch", "Liger + adamw_torch"])
def test_liger_is_held_against_vanilla_whatever_the_baseline(baseline: str) -> None:
    runs = grids.grid(sizes=(16,), repeats=2, arms=grids.FOUR_ARMS, steps=12)
    for run in runs:
        if run.training_args.arm == "Liger":
            run.history["loss"] *= 3
    assert list(reasons(runs, baseline)) == [("Liger", 16)]


def test_where_the_baseline_ran_out_of_memory_the_other_arms_are_held_against_each_other() -> None:
    runs = grids.six_arms()
    for i, run in enumerate(runs):
        if run.training_args.arm == "vanilla":
            runs[i] = Run(run.training_args, OUT_OF_MEMORY, record=run.record)
        elif run.training_args.arm == "Liger":
            run.history["loss"] *= 3
    assert list(reasons(runs)) == [("Liger", 8)]


def test_a_run_out_of_memory_on_another_card_is_invalid() -> None:
    runs = grids.complete()
    for run in runs:
        if run.outcome == OUT_OF_MEMORY:
            run.record["environment"]["gpu"] |= {"name": "NVIDIA A100-SXM4-40GB"}
    words = "the GPU differs from the baseline's: NVIDIA H100 80GB HBM3, not NVIDIA A100-SXM4-40GB"
    assert reasons(runs) == {("Liger", 48): words, ("Liger", 56): words}


def test_a_failed_run_is_neither_valid_nor_invalid() -> None:
    runs = grids.one_batch_size()
    runs[0] = Run(runs[0].training_args, FAILED, runs[0].history, {"environment": {"python": "2"}})
    assert reasons(runs) == {}


def with_kernels(kernels: list[str] | None, active: dict[str, Any]) -> list[Run]:
    own = {"use_liger": True} | ({"liger_kernels": kernels} if kernels else {})
    runs = grids.grid(sizes=(16,), repeats=1, arms={"vanilla": {}, "with Liger": own}, steps=4)
    runs[1].record["liger"] |= active
    return runs


@pytest.mark.parametrize(
    ("kernels", "active", "reason"),
    [
        (None, {}, None),
        # The architecture has none, or Liger has none for it.
        (None, {"rope": 0, "parts": PARTS | {"rope": 0}}, None),
        (None, {"rope": 0, "expected": {k: n for k, n in PARTS.items() if k != "rope"}}, None),
        (None, {"rope": 0}, "Liger's rope was active in 0 of 32 places"),
        (None, {"rope": 0, "expected": PARTS}, "Liger's rope was active in 0 of 32 places"),
        (
            None,
            {"cross_entropy": 1},
            "parts of Liger were active that it did not ask for: cross_entropy",
        ),
        (None, {"rms_norm": 1}, "Liger's rms_norm was active in 1 of 65 places"),
        (None, {"swiglu": 31}, "Liger's swiglu was active in 31 of 32 places"),
        (["rope", "rms_norm"], {}, None),
        (["rope", "rms_norm"], {"rope": 0}, "parts of Liger were not active: rope"),
        (
            ["rope", "rms_norm"],
            {"swiglu": 32},
            "parts of Liger were active that it did not ask for: swiglu",
        ),
        (["rope"], {"rope": 0}, "no part of Liger was active"),
    ],
)
def test_the_active_kernels_have_to_be_those_asked_for_in_all_places(
    kernels: list[str] | None, active: dict[str, Any], reason: str | None
) -> None:
    expected = {} if reason is None else {("with Liger", 16): reason}
    assert reasons(with_kernels(kernels, active)) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["proof"].update(graphs=2), "torch_compile: false was asked for, and 2 graphs"),
        (lambda r: r.update(loss="chunked_nll"), "loss_type: nll was asked for, and the live"),
        (lambda r: r["weights"].update(n_parameters=7), "its model has another number of param"),
        (lambda r: r["environment"].update(python="3.12.1"), "the version of Python differ from"),
        (lambda r: r["environment"].update(code="b2"), "the benchmark's code differ from the bas"),
        (
            lambda r: r["environment"]["variables"].update(CUDA_LAUNCH_BLOCKING="1"),
            "the environment variables differ from the baseline's: CUDA_LAUNCH_BLOCKING 1, not "
            "unset",
        ),
        (
            lambda r: r["environment"]["packages"].update(torch="2.11.0"),
            "the versions of packages differ from the baseline's: torch 2.11.0, not 2.13.0",
        ),
    ],
)
def test_a_difference_is_named(change: Callable[[dict[str, object]], None], reason: str) -> None:
    runs = grids.one_batch_size()
    for run in runs:
        run.record["environment"]["code"] = "a1"
    change(next(run for run in runs if run.training_args.use_liger).record)
    [(cell, found)] = reasons(runs).items()
    assert cell == ("Liger", 16) and found.startswith(reason)


def test_packages_that_only_watch_a_run_may_differ() -> None:
    runs = grids.one_batch_size()
    runs[0].record["environment"]["packages"] |= {"wandb": "0.31.0", "flytekit": "1.16.31"}
    assert reasons(runs) == {}


@pytest.mark.parametrize(("bf16", "bound"), [(True, BF16_LOSS_BOUND), (False, FP32_LOSS_BOUND)])
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_losses_may_differ_by_what_rounding_explains(
    bf16: bool, bound: float, share: float
) -> None:
    runs = grids.grid(sizes=(16,), repeats=1, arms=("vanilla", "Liger"), bf16=bf16)
    assert loss_bound(runs[1].training_args) == bound
    runs[1].history["loss"] = runs[0].history["loss"] * (1 + share * bound)
    assert (("Liger", 16) in reasons(runs)) is (share > 1)


def test_losses_are_compared_at_the_steps_that_both_have() -> None:
    one, other = (grids.make_run("vanilla", 16, repeat, steps=4) for repeat in (1, 1))
    one.history = one.history[one.history["step"] != 1]
    other.history.loc[0, "loss"] *= 2
    assert loss_difference(one, other) == 0.0
    assert loss_difference(one, Run(one.training_args, OUT_OF_MEMORY)) is None
