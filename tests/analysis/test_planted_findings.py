"""Faults planted in made-up runs that once went unseen, under the numbers of docs/validity.md."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from support import grids
from support.made_up_faults import Change, assert_invalid, at, fail, of_liger, turn_gradients
from support.pages import Page
from support.runs import VANILLA_RATE
from support.tables import row

from liger_benchmark.analysis.claims import INCOMPLETE, UNDECIDED, claim_of
from liger_benchmark.analysis.loss_difference import BF16_LOSS_BOUND
from liger_benchmark.analysis.steadiness import unsteady_steps
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.columns import STEP_COMPILATIONS
from liger_benchmark.report.page import render_page

# --- 1: compilations inside the measured window


@pytest.mark.parametrize("counted", [True, False])
def test_a_step_of_482_ms_with_a_compilation_among_steps_of_169_ms_is_flagged(
    counted: bool,
) -> None:
    runs = grids.grid(sizes=(24,))
    for run in runs:
        run.history["step_seconds"] = 0.169
        run.history.loc[0, "step_seconds"] = 1.84
    liger = of_liger(runs)[0]
    liger.history.loc[14, "step_seconds"] = 0.482
    liger.history.loc[14, STEP_COMPILATIONS] = int(counted)
    [step] = unsteady_steps(liger)
    assert (step.step, step.seconds, step.compilations) == (15, 0.482, int(counted))
    [caveat] = analyse(runs).caveats
    what = (
        "compiled kernels, which takes time that no later step takes"
        if counted
        else "took over 1.5 times the median"
    )
    assert caveat.kind == "unsteady"
    assert caveat.text == (
        f"1 measured step in 1 run {what}; the longest: step 15 of phi3-mini bs=24 liger run=1, "
        "482 ms where the median is 169 ms."
    )
    mark = "1 step compiled" if counted else "1 slow step"
    page = Page(render_page(analyse(runs)))
    outcomes = [shown["Outcome"] for shown in page.table("Outcome")]
    assert outcomes.count(f"completed {mark}") == 1 and outcomes.count("completed") == 5
    titles = [attrs["title"] for tag, attrs in page.tags if tag == "td" and "title" in attrs]
    compiled = ", 1 compilation" if counted else ""
    assert titles == [f"step 15: 482 ms, median 169 ms{compiled}"]


# --- 2: losses prove nothing on random weights


def test_a_constant_loss_within_the_bound_is_caught_by_its_gradients() -> None:
    """At initialisation the loss is about ln(vocabulary), whatever the model computes."""
    runs = grids.one_batch_size()
    for run in runs:
        wobble = 1 + 0.8 * BF16_LOSS_BOUND * (run.history["step"] % 2)
        run.history["loss"] = 10.986 if run.training_args.use_liger else 10.986 * wobble
    assert analyse(runs).warnings == []
    for run in of_liger(runs):
        turn_gradients(run)
    analysis = analyse(runs)
    assert not analysis.comparison["loss_above_bound"].any()
    assert_invalid(analysis, "Liger", 16, "its gradients at the first step differ")


def test_losses_of_other_rows_within_the_bound_are_caught_by_the_batches() -> None:
    runs = grids.one_batch_size()
    for run in runs:
        run.history["loss"] = 10.986
    for run in of_liger(runs):
        run.history["loss"] *= 1 + 0.5 * BF16_LOSS_BOUND * (-1) ** run.history["step"]
        run.record["batches"]["checksum"] = "batches-of-other-rows"
    analysis = analyse(runs)
    assert not analysis.comparison["loss_above_bound"].any()
    assert_invalid(analysis, "Liger", 16, "it trained on other batches than the baseline")


# --- 3: invalid runs in verdict and headline


def test_nan_in_both_arms_reproduces_nothing() -> None:
    runs = grids.one_batch_size()
    for run in runs:
        run.history.loc[5:, "loss"] = math.nan
    analysis = analyse(runs)
    for arm in ("vanilla", "Liger"):
        assert_invalid(analysis, arm, 16, "the loss is not a finite number at step 6")
    assert analysis.verdict == INCOMPLETE
    assert analysis.headline.startswith("No batch size of Phi-3 mini was completed validly by both")


def test_an_invalid_baseline_takes_every_comparison_with_it() -> None:
    runs = grids.six_arms()
    for run in runs:
        if run.training_args.arm == "vanilla":
            run.record["proof"]["weights_changed"] = False
    analysis = analyse(runs)
    assert analysis.comparison["speedup_percent"].isna().all()
    assert "vanilla is invalid at batch size 8" in analysis.headline
    assert "faster" not in analysis.headline and analysis.verdict == INCOMPLETE


def test_an_invalid_arm_is_not_said_to_fit_where_the_baseline_does_not() -> None:
    runs = grids.complete()
    for run in of_liger(at(runs, 48, 56)):
        run.history["loss"] = math.nan
    analysis = analyse(runs)
    assert "fits" not in analysis.headline
    claim = claim_of(analysis.claims, "out_of_memory")
    assert (claim.judgement, claim.judged_at) == (INCOMPLETE, ())


# --- 4: survivors decide


def test_liger_that_crashes_at_all_but_one_size_gets_no_verdict() -> None:
    runs = grids.grid()
    fail(runs, of_liger(at(runs, 24, 32, 40, 48, 56)))
    analysis = analyse(runs)
    assert analysis.verdict == INCOMPLETE
    for kind in ("throughput", "memory"):
        claim = claim_of(analysis.claims, kind)  # type: ignore[arg-type]
        assert (claim.judgement, claim.judged_at) == (INCOMPLETE, (16,))
        assert claim.incomplete_at == (24, 32, 40, 48, 56)
    assert "Liger has no result at batch sizes 24, 32, 40, 48 and 56" in analysis.headline


def test_an_arm_that_crashed_at_the_largest_size_leaves_no_other_simply_fastest() -> None:
    runs = grids.grid(sizes=(8, 16), repeats=2, arms=grids.SIX_ARMS, steps=12)
    best = "Liger + torch_compile"
    assert analyse(runs).headline.startswith("Fastest for Phi-3 mini at batch size 16: " + best)
    fail(runs, (run for run in at(runs, 16) if run.training_args.arm == best))
    headline = analyse(runs).headline
    assert headline.startswith(
        "Fastest of 6 arms (1 without a result) for Phi-3 mini at batch size 16: Liger, "
    )
    assert headline.endswith(f" {best} has no result at batch size 16.")


@pytest.mark.parametrize("repeat", [1, 2])
def test_a_rival_with_one_repeat_is_not_told_apart(repeat: int) -> None:
    rates = {"vanilla": (100.0, 101.0), "A": (110.0, 111.0), "B": (120.0, 122.0)}
    runs = [
        grids.make_run(arm, 16, number, rate=rate, memory_mb=900.0, steps=4)
        for arm, of_arm in rates.items()
        for number, rate in enumerate(of_arm, start=1)
    ]
    assert "within the spread" not in analyse(runs).headline
    fail(
        runs,
        (r for r in runs if r.training_args.arm == "A" and r.training_args.run != repeat),
    )
    assert "within the spread of A" in analyse(runs).headline


def test_a_rival_without_a_common_repeat_is_not_told_apart() -> None:
    rates = {"vanilla": (100.0, 101.0), "A": (110.0, 111.0), "B": (120.0, 122.0)}
    runs = [
        grids.make_run(arm, 16, number, rate=rate, memory_mb=900.0, steps=4)
        for arm, of_arm in rates.items()
        for number, rate in enumerate(of_arm, start=1)
    ]
    lost = {"A": 1, "B": 2}
    fail(runs, (r for r in runs if lost.get(r.training_args.arm) == r.training_args.run))
    assert "within the spread of vanilla and A" in analyse(runs).headline


# --- 6: arms that are not what they are called


@pytest.mark.parametrize(
    ("settings", "proof", "reason"),
    [
        (
            {"torch_compile": True},
            {"graphs": 0},
            "torch_compile: true was asked for, and no graph was compiled",
        ),
        (
            {"gradient_checkpointing": True},
            {"checkpointing": {"active": 0, "present": 32}},
            "gradient_checkpointing: true was asked for, and it is active in 0 of 32 layers",
        ),
        (
            {"optim": "adamw_torch"},
            {"optimizer": "torch.optim.sgd.SGD"},
            "optim: adamw_torch means torch.optim.adamw.AdamW, and the trainer uses",
        ),
        (
            {"attn_implementation": "eager"},
            {"attention": {"sdpa": 32}},
            "attn_implementation: eager was asked for, and 32 layers use sdpa",
        ),
        (
            {"optim": "adamw_torch"},
            {"weights_changed": False},
            "the optimizer changed no weight",
        ),
    ],
)
def test_an_arm_that_does_not_do_what_its_name_says_is_invalid(
    settings: dict[str, Any], proof: dict[str, Any], reason: str
) -> None:
    """Here without Liger: it is not only Liger that has to be proved live."""
    arms: dict[str, dict[str, Any]] = {"vanilla": {}, "other": {**settings, "factor": 1.3}}
    runs = grids.grid(sizes=(16,), repeats=2, arms=arms, steps=4)
    assert "other, 30% faster" in analyse(runs).headline
    for run in runs:
        if run.training_args.arm == "other":
            run.record["proof"] |= proof
    assert_invalid(analyse(runs), "other", 16, reason)


# --- 9: order and place


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: run.record.update(session="other"), "in different sessions"),
        (lambda run: run.record.update(host="other"), "on different machines"),
        (
            lambda run: run.record["environment"]["gpu"].update(uuid="GPU-2"),
            "on different cards of one kind",
        ),
    ],
)
def test_pairs_of_two_sessions_hosts_or_cards_are_warned_of(change: Change, words: str) -> None:
    runs = grids.grid(sizes=(16, 24))
    for run in of_liger(at(runs, 24)):
        change(run)
    [caveat] = analyse(runs).caveats
    assert caveat.kind == "pairs"
    assert caveat.text == (
        f"Arms that are compared ran {words} at batch size 24: what changed between them is part "
        "of the difference."
    )


def test_records_without_a_session_are_said_to_have_none() -> None:
    runs = grids.grid(sizes=(16, 24))
    words = "not record their session: whether the arms that are compared ran one after the other"
    del runs[0].record["session"]
    [caveat] = analyse(runs).caveats
    assert (caveat.kind, caveat.text) == ("pairs", f"1 run did {words} is not known.")
    for run in runs[1:]:
        del run.record["session"]
    [caveat] = analyse(runs).caveats
    assert (caveat.kind, caveat.text) == ("pairs", f"These runs did {words} is not known.")
    assert analyse([run for run in runs if run.training_args.use_liger]).caveats == []


# --- 10: what is undecided


def test_a_gain_whose_interval_reaches_from_loss_to_gain_is_undecided_and_no_failure() -> None:
    """+9.6%, −45.8 to +121.7: two repeats, at 1.18 and at 1.02 times vanilla's speed."""
    mean, spread = math.log(1.096), math.log(2.217 / 1.096) / 12.706
    ratios = [math.exp(mean + sign * spread) for sign in (1, -1)]
    runs = grids.two_arms(tuple((VANILLA_RATE * ratio, VANILLA_RATE) for ratio in ratios))
    analysis = analyse(runs)
    compared = row(analysis.comparison, arm="Liger")
    assert compared["speedup_percent"] == pytest.approx(9.6)
    assert compared["speedup_low"] == pytest.approx(-45.8, abs=0.1)
    assert compared["speedup_high"] == pytest.approx(121.7, abs=0.1)
    claim = claim_of(analysis.claims, "throughput")
    assert (claim.judgement, claim.undecided_at, claim.fails_at) == (UNDECIDED, (16,), ())
    assert analysis.verdict == UNDECIDED
    shown = Page(render_page(analysis)).text
    assert "falls short" not in shown and "121.7" not in shown
    assert "undetermined" in claim.measured
    assert "at a speed that its repeats cannot tell from vanilla's" in analysis.headline


def test_an_interval_of_millions_of_percent_is_never_printed() -> None:
    runs = grids.two_arms(((30_000.0, 2_000.0), (2_100.0, 9_500.0)))
    analysis = analyse(runs)
    assert row(analysis.comparison, arm="Liger")["speedup_high"] > 1e6
    shown = Page(render_page(analysis)).text
    assert "undetermined" in shown
    assert not re.search(r"\d,\d{3}(,\d{3})*\.\d %", shown)
