"""Faults planted in the results of runs: each is caught by the check that is meant to.

The runs are made up, and one thing is wrong in them. `tests/test_planted_faults.py` plants faults
in real runs. A cell that is invalid has no speed-up, no saving and no place in headline or verdict.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from support import grids
from support.pages import Page
from support.runs import VANILLA_RATE
from support.tables import row
from support.tiny import TINY

from liger_benchmark import store
from liger_benchmark.analysis.claims import (
    EXCEEDED,
    INCOMPLETE,
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    claim_of,
)
from liger_benchmark.analysis.loss_difference import BF16_LOSS_BOUND
from liger_benchmark.analysis.steadiness import unsteady_steps
from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.columns import STEP_COMPILATIONS, TOTAL_PEAK_ALLOCATED_MB
from liger_benchmark.report.page import render_page
from liger_benchmark.run import FAILED, OUT_OF_MEMORY, Run

Change = Callable[[Run], None]


def of_liger(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.training_args.use_liger]


def at(runs: Iterable[Run], *sizes: int) -> list[Run]:
    return [run for run in runs if run.training_args.per_device_train_batch_size in sizes]


def fail(runs: list[Run], which: Iterable[Run]) -> None:
    """Make runs of a grid failures."""
    failing = list(map(id, which))
    runs[:] = [
        Run(run.training_args, FAILED, record={"error": {"type": "RuntimeError"}})
        if id(run) in failing
        else run
        for run in runs
    ]


def assert_invalid(analysis: Analysis, arm: str, size: int, reason: str) -> None:
    """The cell is invalid for that reason, and nothing is concluded from what it measured."""
    cell = row(analysis.cells, arm=arm, per_device_train_batch_size=size)
    assert cell["invalid"].startswith(reason), cell["invalid"]
    assert math.isnan(cell["tokens_per_second"]) and math.isnan(cell["peak_memory_MB"])
    for table in (analysis.comparison, analysis.published):
        compared = table[table[BATCH_SIZE] == size]
        if arm != analysis.baseline:
            compared = compared[compared["arm"] == arm]
        assert (compared["n_pairs"] == 0).all()
        gains = [name for name in compared if name.endswith(("_percent", "_low", "_high"))]
        assert compared[gains].isna().all(axis=None)
    for claim in analysis.claims:
        assert size not in claim.judged_at
    assert analysis.verdict not in (REPRODUCED, EXCEEDED)
    named = rf"\b{re.escape(arm)}( and [^.]+)? (is|are) invalid at batch size"
    assert re.search(named, analysis.headline)
    assert "faster" not in analysis.headline and " less " not in analysis.headline
    named = rf"(\S.* and )?{re.escape(arm)}( and .+)? at batch size {size} (is|are) invalid"
    assert any(c.kind == "invalid" and re.match(named, c.text) for c in analysis.caveats)


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


def scale_gradients(run: Run, factor: float) -> None:
    run.record["gradients"] = {
        name: [factor * value for value in values]
        for name, values in run.record["gradients"].items()
    }


def turn_gradients(run: Run) -> None:
    """Another direction and the same norms, as where RoPE is left out."""
    run.record["gradients"] = {
        name: [norm, *(-value for value in projections)]
        for name, (norm, *projections) in run.record["gradients"].items()
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


# --- 5: kept results


def test_a_kept_run_is_not_found_in_other_circumstances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment variables, driver, power limit, card, cuDNN, cuBLAS and torch."""
    card = {"name": "NVIDIA H100", "uuid": "GPU-1", "driver": "575.57", "power_limit_W": 700.0}
    packages = {"torch": "2.13.0", "nvidia-cudnn-cu13": "9.20", "nvidia-cublas": "13.1"}
    monkeypatch.setattr(store, "visible_devices", lambda: ["0"])
    monkeypatch.setattr(store, "gpu", lambda device: card)
    monkeypatch.setattr(store, "package_versions", lambda: packages)

    def key() -> Path:
        return store.run_folder(tmp_path, TINY, tmp_path, tmp_path)

    usual = key()
    assert key() == usual
    for name, value in {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCHDYNAMO_DISABLE": "1",
        "CUDA_LAUNCH_BLOCKING": "1",
        "NVIDIA_TF32_OVERRIDE": "0",
        "TRITON_DISABLE_LINE_INFO": "1",
        "LIGER_SOMETHING": "1",
        "OMP_NUM_THREADS": "3",
    }.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert key() != usual, name
    for known, name, value in (
        (card, "driver", "590.1"),
        (card, "power_limit_W", 500.0),
        (card, "uuid", "GPU-2"),
        (card, "name", "NVIDIA H200"),
        (packages, "nvidia-cudnn-cu13", "9.21"),
        (packages, "nvidia-cublas", "13.2"),
        (packages, "torch", "2.11.0"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(known, name, value)  # type: ignore[arg-type]
            assert key() != usual, name
    assert key() == usual


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


@pytest.mark.parametrize("fault", OTHER_THAN_THE_BASELINE)
def test_a_planted_fault_stands_in_the_page_about_validity(fault: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "validity.md").read_text(encoding="utf-8")
    assert f"[{fault}]`" in page.partition("### In results")[2].partition("\n## ")[0]
