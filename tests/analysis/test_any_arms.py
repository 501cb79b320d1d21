"""Grids with any arms and any baseline: which arms are compared with which."""

from __future__ import annotations

import math

import pytest
from support import grids
from support.tables import row

from liger_benchmark.analysis.arms import SAME_MATHS, choose_baseline, natural_order
from liger_benchmark.analysis.tables import UnknownBaseline, analyse
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import AXES


def test_every_arm_is_compared_with_the_baseline_at_every_batch_size() -> None:
    analysis = analyse(grids.many_bars())
    assert (analysis.baseline, analysis.arms) == ("vanilla", list(grids.SIX_ARMS))
    compared = analysis.comparison
    assert list(zip(compared["per_device_train_batch_size"], compared["arm"], strict=True)) == [
        (size, arm) for size in (8, 16, 128) for arm in list(grids.SIX_ARMS)[1:]
    ]
    compiled = row(compared, arm="vanilla + torch_compile", per_device_train_batch_size=8)
    assert compiled["n_pairs"] == 3
    assert compiled["speedup_percent"] == pytest.approx(20.0)
    assert compiled["memory_saving_percent"] == pytest.approx(100 * (1 - 1 / 1.2))
    for arm, size in (("vanilla + torch_compile", 16), ("Liger", 128)):
        nothing = row(compared, arm=arm, per_device_train_batch_size=size)
        assert nothing["n_pairs"] == 0 and math.isnan(nothing["speedup_percent"])


def test_the_baseline_can_be_chosen_by_name() -> None:
    analysis = analyse(grids.complete(), "Liger")
    assert (analysis.baseline, analysis.arms) == ("Liger", ["Liger", "vanilla"])
    slower = row(analysis.comparison, per_device_train_batch_size=16)
    faster = row(analyse(grids.complete()).comparison, per_device_train_batch_size=16)
    assert slower["arm"] == "vanilla"
    assert (1 + slower["speedup_percent"] / 100) * (1 + faster["speedup_percent"] / 100) == (
        pytest.approx(1.0)
    )


def test_without_vanilla_the_first_arm_is_the_baseline() -> None:
    assert analyse(grids.no_vanilla()).baseline == "Liger + max_seq_length=512"


def test_without_vanilla_the_baseline_is_the_first_arm_without_liger() -> None:
    with_liger = {"Liger + seed=1": TrainingArguments(use_liger=True, seed=1)}
    without = {f"vanilla + seed={seed}": TrainingArguments(seed=seed) for seed in (1, 2)}
    assert choose_baseline(with_liger | without) == "vanilla + seed=1"
    assert choose_baseline(with_liger) == "Liger + seed=1"


def test_whether_an_arm_has_liger_is_read_from_its_arguments_and_not_from_its_name() -> None:
    arms = {
        "vanilla + rope": TrainingArguments(use_liger=True, liger_kernels=["rope"]),
        "plain": TrainingArguments(),
    }
    assert choose_baseline(arms) == "plain"


def test_an_unknown_baseline_is_refused_in_a_line_that_lists_the_arms() -> None:
    with pytest.raises(UnknownBaseline, match='no arm is called "liger".* Liger, vanilla$') as no:
        analyse(grids.one_batch_size(), "liger")
    assert isinstance(no.value, ValueError) and "\n" not in str(no.value)


def test_losses_are_compared_only_between_arms_that_compute_the_same() -> None:
    runs = grids.four_arms()
    for run in runs:
        if run.training_args.optim == "adamw_torch" and len(run.history):
            run.history["loss"] *= 0.5
    analysis = analyse(runs)
    assert not any("losses" in text for text in analysis.warnings)
    same = {arm: row["same_maths"] for arm, row in analysis.comparison.set_index("arm").iterrows()}
    assert same == {
        "Liger": True, "Liger + adamw_torch": False, "vanilla + adamw_torch": False,
    }  # fmt: skip
    others = analysis.comparison[~analysis.comparison["same_maths"]]
    assert others["loss_difference"].isna().all() and not others["loss_above_bound"].any()
    # Against an arm with its own optimiser it is compared.
    of_adamw = analyse(runs, "vanilla + adamw_torch").comparison.set_index("arm")
    assert of_adamw.loc["Liger + adamw_torch", "same_maths"].all()
    assert of_adamw.loc["Liger + adamw_torch", "loss_difference"].notna().any()


def test_arms_whose_losses_differ_are_invalid_and_named_together() -> None:
    runs = grids.six_arms()
    for run in runs:
        if run.training_args.torch_compile and not run.training_args.use_liger:
            run.history["loss"] *= 1.05
    reason = (
        "at batch size 8 are invalid, and left out of every comparison: their losses differ from "
        "the baseline's by up to 5%, and rounding explains 0.2%."
    )
    assert analyse(runs).warnings == [
        f"vanilla + torch_compile and vanilla + torch_compile + chunked_nll {reason}"
    ]


def test_every_setting_that_leaves_the_maths_alone_is_an_axis() -> None:
    assert set(AXES) >= SAME_MATHS


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("dataset", {"max_seq_length": 512}),
        ("dataset", {"seed": 7}),
        ("dataset", {"gradient_accumulation_steps": 2}),
        ("dataset", {"dataset_format": "messages"}),
        ("weights", {"seed": 7}),
        ("weights", {"bf16": False}),
    ],
)
def test_checksums_may_differ_between_arms_whose_settings_decide_rows_or_weights(
    part: str, change: dict[str, object]
) -> None:
    arms = {"vanilla": {}, "other": change, "compiled": {"torch_compile": True}}
    runs = grids.grid(sizes=(16,), repeats=2, arms=arms, steps=4)
    for run in runs:
        if run.training_args.arm == "other":
            run.record[part]["checksum"] = "another"
    assert analyse(runs).warnings == []
    for run in runs:
        if run.training_args.arm == "compiled":
            run.record[part]["checksum"] = "another"
    [warning] = analyse(runs).warnings
    assert warning.startswith("compiled at batch size 16 is invalid")


def test_an_arm_with_one_kernel_of_liger_is_valid_where_that_kernel_alone_is_active() -> None:
    arms = {"vanilla": {}, "Liger (rope)": {"use_liger": True, "liger_kernels": ["rope"]}}
    runs = grids.grid(sizes=(16,), repeats=2, arms=arms, steps=4)
    assert runs[1].record["liger"]["rms_norm"] == 0
    assert analyse(runs).warnings == []
    runs[1].record["liger"]["rope"] = 0
    [warning] = analyse(runs).warnings
    assert warning == (
        "Liger (rope) at batch size 16 is invalid, and left out of every comparison: no part of "
        "Liger was active."
    )


def test_energy_is_taken_from_the_last_row_and_averaged_over_repeats() -> None:
    runs = grids.two_arms(((120.0, 100.0), (120.0, 100.0)))
    assert analyse(runs).cells["energy_J_per_token"].isna().all()
    for run, energy in zip(runs, (0.02, 0.05, 0.04, 0.05), strict=True):
        run.history["avg_energy_J_per_token"] = [math.nan, 9.0, 9.0, energy]
    analysis = analyse(runs)
    assert list(analysis.runs_table["energy_J_per_token"]) == [0.02, 0.05, 0.04, 0.05]
    assert row(analysis.cells, arm="Liger")["energy_J_per_token"] == pytest.approx(0.03)


def test_arms_without_a_recorded_order_are_sorted_by_axis_with_defaults_first() -> None:
    arms = {
        "Liger + adamw_torch": {"use_liger": True, "optim": "adamw_torch"},
        "vanilla": {},
        "Liger + max_seq_length=2048": {"use_liger": True, "max_seq_length": 2048},
        "Liger": {},
        "Liger + max_seq_length=64": {"use_liger": True, "max_seq_length": 64},
        "vanilla + limit": {"gpu_memory_limit_gib": None},
    }
    runs = grids.grid(sizes=(16,), repeats=1, arms=arms, steps=4)
    ordered = sorted(runs, key=lambda run: natural_order(run.training_args))
    assert [run.training_args.arm for run in ordered] == [
        *("Liger", "Liger + max_seq_length=64", "Liger + max_seq_length=2048"),
        *("Liger + adamw_torch", "vanilla + limit", "vanilla"),
    ]
