"""Faults planted in the results of runs: each is caught by the check that is meant to.

The runs are made up, and one thing is wrong in them. `tests/test_planted_faults.py` plants faults
in real runs. A cell that is invalid has no speed-up, no saving and no place in headline or verdict.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support import grids
from support.made_up_faults import (
    Change,
    assert_invalid,
    at,
    of_liger,
    scale_gradients,
    turn_gradients,
)
from support.tables import row

from liger_benchmark.analysis.claims import INCOMPLETE, NOT_REPRODUCED, claim_of
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.page import render_page
from liger_benchmark.run import OUT_OF_MEMORY, Run

# Of one batch size each: the fault in Liger's runs, and the reason that makes the cell invalid.
OTHER_THAN_THE_BASELINE: dict[str, tuple[Change, str]] = {
    "losses times three": (
        lambda run: run.history.__setitem__("loss", run.history["loss"] * 3),
        "its losses differ from the baseline's by up to 200%, and rounding explains 0.2%",
    ),
    "NaN at one step": (
        lambda run: run.history.loc.__setitem__((20, "loss"), math.nan),
        "the loss is not a finite number at step 21",
    ),
    "infinite gradient norm": (
        lambda run: run.history.loc.__setitem__((4, "grad_norm"), math.inf),
        "the gradient norm is not a finite number at step 5",
    ),
    "gradients times 1.05": (
        lambda run: scale_gradients(run, 1.05),
        "its gradients at the first step differ from the baseline's by",
    ),
    "gradients of another direction": (
        lambda run: turn_gradients(run),
        "its gradients at the first step differ from the baseline's by",
    ),
    "no gradient of the LM head": (
        lambda run: run.record["gradients"].__setitem__("lm_head.weight", []),
        "its gradients at the first step differ from the baseline's by not finite in lm_head",
    ),
    "labels shifted by one": (
        lambda run: run.record["batches"].__setitem__("checksum", "labels-shifted"),
        "it trained on other batches than the baseline",
    ),
    "another seed's batches": (
        lambda run: run.record["batches"].__setitem__(
            "checksum", run.record["batches"]["checksum"].replace("42", "43")
        ),
        "it trained on other batches than the baseline",
    ),
    "another share of padding": (
        lambda run: run.record["batches"].__setitem__("padding_fraction", 0.3),
        "its batches have another share of padding than the baseline's",
    ),
    "other rows": (
        lambda run: run.record["dataset"].__setitem__("checksum", "other"),
        "it was given other rows than the baseline",
    ),
    "other start": (
        lambda run: run.record["weights"].__setitem__("checksum", "other"),
        "it started from other weights than the baseline",
    ),
    "a smaller model": (
        lambda run: run.record["weights"].__setitem__("n_parameters", 1_000_000),
        "its model has another number of parameters than the baseline's",
    ),
    "one norm of 65": (
        lambda run: run.record["liger"].__setitem__("rms_norm", 1),
        "Liger's rms_norm was active in 1 of 65 places",
    ),
    "no rope of 32": (
        lambda run: run.record["liger"].__setitem__("rope", 0),
        "Liger's rope was active in 0 of 32 places",
    ),
    "no kernel at all": (
        lambda run: run.record["liger"].update(
            rms_norm=0, swiglu=0, rope=0, fused_linear_cross_entropy=0
        ),
        "no part of Liger was active",
    ),
    "compiled unasked": (
        lambda run: run.record["proof"].__setitem__("graphs", 3),
        "torch_compile: false was asked for, and 3 graphs were compiled",
    ),
    "another optimizer": (
        lambda run: run.record["proof"].__setitem__("optimizer", "torch.optim.adamw.AdamW"),
        "optim: sgd means torch.optim.sgd.SGD, and the trainer uses torch.optim.adamw.AdamW",
    ),
    "checkpointing unasked": (
        lambda run: run.record["proof"]["checkpointing"].__setitem__("active", 32),
        "gradient_checkpointing: false was asked for, and it is active in 32 of 32 layers",
    ),
    "another attention": (
        lambda run: run.record["proof"].__setitem__("attention", {"sdpa": 31, "eager": 1}),
        "attn_implementation: sdpa was asked for, and 1 layers use eager",
    ),
    "an optimizer that does nothing": (
        lambda run: run.record["proof"].__setitem__("weights_changed", False),
        "the optimizer changed no weight",
    ),
    "another card": (
        lambda run: run.record["environment"]["gpu"].__setitem__("name", "NVIDIA H200"),
        "the GPU differs from the baseline's: NVIDIA H200, not NVIDIA H100 80GB HBM3",
    ),
    "another power limit": (
        lambda run: run.record["environment"]["gpu"].__setitem__("power_limit_W", 500.0),
        "the power limit differs from the baseline's: 500.0, not 700.0",
    ),
    "another driver": (
        lambda run: run.record["environment"]["gpu"].__setitem__("driver", "590.1"),
        "the driver differs from the baseline's: 590.1, not 575.57.08",
    ),
    "another torch": (
        lambda run: run.record["environment"]["packages"].__setitem__("torch", "2.11.0"),
        "the versions of packages differ from the baseline's: torch 2.11.0, not 2.13.0",
    ),
    "an allocator setting": (
        lambda run: run.record["environment"]["variables"].__setitem__(
            "PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"
        ),
        "the environment variables differ from the baseline's: PYTORCH_CUDA_ALLOC_CONF "
        "expandable_segments:True, not unset",
    ),
}


@pytest.mark.parametrize("repeats", [(1, 2, 3), (2,)], ids=["in all repeats", "in one repeat"])
@pytest.mark.parametrize("fault", OTHER_THAN_THE_BASELINE)
def test_a_fault_makes_the_cell_invalid_and_nothing_is_concluded_from_it(
    fault: str, repeats: tuple[int, ...]
) -> None:
    change, reason = OTHER_THAN_THE_BASELINE[fault]
    runs = grids.one_batch_size()
    for run in of_liger(runs):
        if run.training_args.run in repeats:
            change(run)
    assert_invalid(analyse(runs), "Liger", 16, reason)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("proof", "proof of what was live"),
        ("gradients", "gradients"),
        ("batches", "batches"),
        ("weights", "weights"),
        ("liger", "parts of Liger that were active"),
        ("environment", "environment"),
    ],
)
def test_a_run_that_recorded_less_than_the_baseline_is_not_taken_for_equal(
    part: str, words: str
) -> None:
    runs = grids.one_batch_size()
    for run in of_liger(runs):
        run.record.pop(part)
    reason = f"it recorded no {words}, and the baseline did"
    assert_invalid(analyse(runs), "Liger", 16, reason)


def test_a_run_with_fewer_steps_is_not_taken_for_equal() -> None:
    runs = grids.one_batch_size()
    for run in of_liger(runs):
        run.history = run.history.iloc[:20]
    assert_invalid(analyse(runs), "Liger", 16, "it has 20 steps, and the baseline has 40")


def test_liger_out_of_memory_where_vanilla_completes_is_no_reproduction() -> None:
    runs = [
        Run(run.training_args, OUT_OF_MEMORY, record={"out_of_memory": {"step": 1}})
        if run.training_args.use_liger and run.training_args.per_device_train_batch_size > 16
        else run
        for run in grids.complete()
    ]
    analysis = analyse(runs)
    claim = claim_of(analysis.claims, "out_of_memory")
    assert claim.judgement == NOT_REPRODUCED and 24 in claim.fails_at
    assert analysis.verdict == NOT_REPRODUCED


@pytest.mark.parametrize("fault", ["losses times three", "gradients times 1.05", "another card"])
def test_the_sizes_that_are_left_do_not_give_a_verdict(fault: str) -> None:
    change, reason = OTHER_THAN_THE_BASELINE[fault]
    runs = grids.complete()
    for run in of_liger(at(runs, 40)):
        change(run)
    analysis = analyse(runs)
    assert row(analysis.cells, arm="Liger", per_device_train_batch_size=40)["invalid"].startswith(
        reason
    )
    assert analysis.verdict == INCOMPLETE
    assert analysis.headline.startswith("Liger trains Phi-3 mini 33% faster")
    assert "at batch size 32, " in analysis.headline
    assert analysis.headline.endswith(" Liger is invalid at batch size 40.")


def test_the_page_shows_an_invalid_cells_reason_in_place_of_its_numbers() -> None:
    runs = grids.one_batch_size()
    for run in of_liger(runs):
        run.history["loss"] *= 3
    page = render_page(analyse(runs))
    assert "its losses differ from the baseline&#x27;s by up to 200%" in page
    assert "16,436" not in page and "+26.4" not in page


@pytest.mark.parametrize("fault", OTHER_THAN_THE_BASELINE)
def test_a_planted_fault_stands_in_the_page_about_validity(fault: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "validity.md").read_text(encoding="utf-8")
    assert f"[{fault}]`" in page.partition("### In results")[2].partition("\n## ")[0]
