"""The claims and the verdict against the rules, on fixed grids."""

from __future__ import annotations

import pandas as pd
import pytest
from support import grids

from liger_benchmark.analysis import claims
from liger_benchmark.analysis.caveats import Caveat
from liger_benchmark.analysis.claims import claim_of
from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.analysis.verdict import verdict_sentence
from liger_benchmark.run import OUT_OF_MEMORY, Run


def judged(speeds: tuple[tuple[float, float], ...], memory: tuple[float, float]) -> Analysis:
    return analyse(grids.two_arms(speeds, memory))


@pytest.mark.parametrize(
    ("speed", "memory", "verdict"),
    [
        (1.25, 0.90, claims.REPRODUCED),
        (1.40, 0.80, claims.EXCEEDED),
        (1.40, 0.90, claims.REPRODUCED),  # faster than claimed, memory as claimed
        (1.10, 0.90, claims.NOT_REPRODUCED),
        (1.25, 0.99, claims.NOT_REPRODUCED),
        (0.80, 1.10, claims.NOT_REPRODUCED),
    ],
)
def test_the_verdict_follows_from_the_published_ranges(
    speed: float, memory: float, verdict: str
) -> None:
    pairs = ((1000 * speed, 1000.0), (1001 * speed, 1001.0))
    assert judged(pairs, (1000 * memory, 1000.0)).verdict == verdict


def test_a_gain_whose_interval_includes_zero_is_undecided() -> None:
    # 25% on average, but from two repeats that lie far apart.
    analysis = judged(((1500.0, 1000.0), (1040.0, 1000.0)), (900.0, 1000.0))
    claim = claim_of(analysis.claims, "throughput")
    assert (claim.judgement, claim.undecided_at, claim.fails_at) == (claims.UNDECIDED, (16,), ())
    assert analysis.verdict == claims.UNDECIDED


def test_a_range_exceeded_at_one_batch_size_only_is_reproduced() -> None:
    assert claim_of(analyse(grids.complete()).claims, "throughput").judgement == claims.REPRODUCED


def test_one_batch_size_below_the_range_makes_the_claim_not_reproduced() -> None:
    slow = [
        grids.make_run(arm, 24, repeat, rate=rate, memory_mb=900.0)
        for repeat in (1, 2)
        for arm, rate in (("Liger", 1100.0), ("vanilla", 1000.0))
    ]
    fast = [
        grids.make_run(arm, 16, repeat, rate=rate, memory_mb=900.0)
        for repeat in (1, 2)
        for arm, rate in (("Liger", 1250.0), ("vanilla", 1000.0))
    ]
    claim = claim_of(analyse(fast + slow).claims, "throughput")
    assert claim.judgement == claims.NOT_REPRODUCED
    assert "at batch size 24" in claim.measured.split(";")[1]


def test_a_single_repeat_gives_no_verdict() -> None:
    analysis = analyse(grids.one_repeat())
    assert analysis.verdict == claims.NOT_ENOUGH_REPEATS
    assert {claim.judgement for claim in analysis.claims} == {claims.NOT_TESTED}
    assert all("not enough repeats" in claim.measured for claim in analysis.claims)
    assert analysis.comparison["speedup_low"].isna().all()


@pytest.mark.parametrize(
    "name", ["one_arm", "all_failed", "on_cpu", "wide_intervals", "smoke_model_on_gpu"]
)
def test_grids_that_compare_nothing_give_no_verdict(name: str) -> None:
    assert analyse(grids.ALL[name]()).verdict == claims.NOT_TESTED


def test_a_smoke_model_tests_no_claim_on_a_gpu() -> None:
    analysis = analyse(grids.smoke_model_on_gpu())
    assert analysis.hardware.trial
    assert {claim.judgement for claim in analysis.claims} == {claims.NOT_TESTED}
    assert analysis.caveats[0] == Caveat(
        "trial", "A smoke model, too small to say anything about the kernels."
    )


def test_runs_on_an_unrecorded_device_test_no_claim() -> None:
    analysis = analyse(grids.without_environment())
    assert {claim.judgement for claim in analysis.claims} == {claims.NOT_TESTED}
    assert analysis.verdict == claims.NOT_TESTED
    assert analysis.caveats[0].kind == "trial"
    assert "No run recorded the device" in analysis.caveats[0].text


def test_the_verdict_names_the_batch_sizes_where_gains_fall_short() -> None:
    def pair(size: int, speed: float, memory: float) -> list[Run]:
        return [
            grids.make_run(arm, size, repeat, rate=rate, memory_mb=used)
            for repeat in (1, 2)
            for arm, rate, used in (("Liger", speed, memory), ("vanilla", 1000.0, 1000.0))
        ]

    def sentence(runs: list[Run]) -> str:
        return verdict_sentence(analyse(runs).claims)

    short = "The published gains are not reproduced "
    assert sentence(pair(16, 1100, 900) + pair(24, 1250, 990) + pair(32, 1250, 900)) == (
        f"{short}everywhere: speed falls short at batch size 16, memory falls short at batch size "
        "24."
    )
    assert sentence(pair(16, 1250, 990) + pair(24, 1250, 900)) == (
        f"{short}everywhere: memory falls short at batch size 16."
    )
    assert sentence(pair(16, 1100, 990)) == (
        f"{short}at any batch size: speed falls short at batch size 16, memory falls short at "
        "batch size 16."
    )
    both_out = grids.complete()
    for run in both_out:
        if run.training_args.per_device_train_batch_size == 56:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    assert sentence(both_out) == (
        f"{short}everywhere: Liger too runs out of memory at batch size 56."
    )


def test_liger_out_of_memory_where_vanilla_is_too_is_not_reproduced() -> None:
    runs = grids.complete()
    for run in runs:
        if run.training_args.use_liger and run.training_args.per_device_train_batch_size == 56:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    analysis = analyse(runs)
    claim = claim_of(analysis.claims, "out_of_memory")
    assert claim.judgement == claims.NOT_REPRODUCED
    assert "Liger completes batch size 48" in claim.measured
    assert "Liger runs out of memory too at batch size 56" in claim.measured
    assert analysis.verdict == claims.NOT_REPRODUCED
    assert "both run out of memory at batch size 56" in analysis.headline


@pytest.mark.parametrize("baseline", ["Liger", "vanilla + torch_compile"])
def test_the_claims_are_about_liger_and_vanilla_whatever_the_baseline(baseline: str) -> None:
    runs = grids.many_bars()
    assert analyse(runs, baseline).claims == analyse(runs).claims
    two = [run for run in runs if run.training_args.arm in ("Liger", "vanilla")]
    assert analyse(runs).claims == analyse(two).claims


@pytest.mark.parametrize(
    ("name", "missing"), [("one_arm", "Liger"), ("no_vanilla", "vanilla and none called Liger")]
)
def test_without_liger_or_vanilla_nothing_is_tested(name: str, missing: str) -> None:
    analysis = analyse(grids.ALL[name]())
    assert analysis.verdict == claims.NOT_TESTED
    assert {claim.judgement for claim in analysis.claims} == {claims.NOT_TESTED}
    reason = f"this grid has no arm called {missing}"
    assert {claim.not_tested_because for claim in analysis.claims} == {reason}
    assert {claim.measured for claim in analysis.claims} == {f"nothing: {reason}"}
