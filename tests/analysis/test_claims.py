"""The verdict and the headline against the rules, on fixed grids."""

from __future__ import annotations

import pandas as pd
import pytest
from support import grids

from liger_benchmark.analysis import claims
from liger_benchmark.analysis.tables import Analysis, analyse
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


def test_a_gain_that_may_be_none_is_not_reproduced() -> None:
    # 25 % on average, but from two repeats that lie far apart.
    analysis = judged(((1500.0, 1000.0), (1040.0, 1000.0)), (900.0, 1000.0))
    assert analysis.claims[0].judgement == claims.NOT_REPRODUCED


def test_exceeding_at_one_batch_size_only_is_reproducing() -> None:
    assert analyse(grids.complete()).claims[0].judgement == claims.REPRODUCED


def test_one_batch_size_below_the_range_is_enough_not_to_reproduce() -> None:
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
    claim = analyse(fast + slow).claims[0]
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


def test_a_smoke_model_says_nothing_on_a_gpu_either() -> None:
    analysis = analyse(grids.smoke_model_on_gpu())
    assert not analysis.hardware.timings_count
    assert {claim.judgement for claim in analysis.claims} == {claims.NOT_TESTED}
    assert "A smoke model, too small to say anything about the kernels." in analysis.warnings


def test_runs_on_an_unrecorded_device_claim_nothing() -> None:
    analysis = analyse(grids.without_environment())
    assert {claim.judgement for claim in analysis.claims} == {claims.NOT_TESTED}
    assert analysis.verdict == claims.NOT_TESTED
    assert "No run recorded the device" in analysis.warnings[0]


def test_the_verdict_says_where_the_gains_fall_short() -> None:
    def pair(size: int, speed: float, memory: float) -> list[Run]:
        return [
            grids.make_run(arm, size, repeat, rate=rate, memory_mb=used)
            for repeat in (1, 2)
            for arm, rate, used in (("Liger", speed, memory), ("vanilla", 1000.0, 1000.0))
        ]

    def sentence(runs: list[Run]) -> str:
        return claims.verdict_sentence(analyse(runs).claims)

    short = "The published gains are not reproduced "
    assert sentence(pair(16, 1100, 900) + pair(24, 1250, 990) + pair(32, 1250, 900)) == (
        f"{short}everywhere: speed falls short at batch size 16, memory at batch size 24."
    )
    assert sentence(pair(16, 1250, 990) + pair(24, 1250, 900)) == (
        f"{short}everywhere: memory falls short at batch size 16."
    )
    assert sentence(pair(16, 1100, 990)) == (
        f"{short}at any batch size: speed falls short at batch size 16, memory at batch size 16."
    )
    both_out = grids.complete()
    for run in both_out:
        if run.training_args.per_device_train_batch_size == 56:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    assert sentence(both_out) == (
        f"{short}everywhere: Liger too runs out of memory at batch size 56."
    )


@pytest.mark.parametrize(("tight", "told"), [((40,), 32), ((16, 24, 32, 40), 40)])
def test_the_headline_keeps_to_a_batch_size_that_fits_with_room(
    tight: tuple[int, ...], told: int
) -> None:
    runs = grids.complete()
    for run in runs:
        args = run.training_args
        if args.per_device_train_batch_size in tight and not args.use_liger:
            run.history["step_peak_memory_reserved_MB"] = 39.0 * 1024
    assert f"peak memory at batch size {told}, and fits" in analyse(runs).headline


def test_running_out_of_memory_where_vanilla_does_is_not_reproducing() -> None:
    runs = grids.complete()
    for run in runs:
        if run.training_args.use_liger and run.training_args.per_device_train_batch_size == 56:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    analysis = analyse(runs)
    claim = analysis.claims[2]
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
    assert {claim.measured for claim in analysis.claims} == {
        f"nothing: this grid has no arm called {missing}"
    }


HEADLINES = {
    "complete": (
        "Liger trains Phi-3 mini 36 % faster (33–39 %) with 20 % less peak memory at batch size "
        "40, and fits batch sizes 48 and 56, where vanilla runs out of memory."
    ),
    "with_failures": (
        "Liger trains Phi-3 mini 30 % faster (26–33 %) with 16 % less peak memory at batch size "
        "24. 3 of 12 runs failed."
    ),
    "one_repeat": (
        "Liger trains Phi-3 mini 36 % faster with 20 % less peak memory at batch size 40 in a "
        "single repeat, too few for an interval, and fits batch sizes 48 and 56, where vanilla "
        "runs out of memory."
    ),
    "one_arm": (
        "Only vanilla was run, so there is nothing to compare: Phi-3 mini trains at 14,448 tokens "
        "per second with 37.9 GiB peak memory at batch size 40, and runs out of memory at batch "
        "sizes 48 and 56."
    ),
    "one_batch_size": (
        "Liger trains Phi-3 mini 26 % faster (23–30 %) with 13 % less peak memory at batch size 16."
    ),
    "all_failed": (
        "No run of Phi-3 mini completed: 4 ran out of memory and 4 failed, so there is nothing to "
        "compare."
    ),
    "on_cpu": (
        "A trial on a CPU, whose timings mean nothing: 8 of 8 runs of a tiny Phi-3 completed; "
        "largest difference between the arms' losses: 0.0002 %."
    ),
    "wide_intervals": (
        "A trial on a CPU, whose timings mean nothing: 4 of 4 runs of Phi-3 mini completed; "
        "largest difference between the arms' losses: 0.0002 %."
    ),
    "smoke_model_on_gpu": (
        "A trial with a smoke model, whose timings mean nothing: 8 of 8 runs of a tiny Phi-3 "
        "completed; largest difference between the arms' losses: 0.1 %."
    ),
    "uncertain": (
        "Liger trains Phi-3 mini at vanilla's speed, within the spread of the repeats (−35 to "
        "+94 %), with 9.9 % less peak memory at batch size 32."
    ),
    "six_arms": (
        "Fastest for Phi-3 mini at batch size 8: Liger + torch_compile, 35 % faster (27–44 %) than "
        "vanilla with 16 % less peak memory."
    ),
    "four_arms": (
        "Fastest for Phi-3 mini at batch size 32: Liger, 32 % faster (24–41 %) than vanilla with "
        "18 % less peak memory, and fits batch size 48, where vanilla runs out of memory. 1 of 24 "
        "runs failed."
    ),
    "many_bars": (
        "Fastest for Phi-3 mini at batch size 16: Liger + torch_compile, 40 % faster (31–49 %) "
        "than vanilla with 21 % less peak memory, and fits batch size 128, where vanilla runs out "
        "of memory. 6 of 54 runs failed."
    ),
    "long_names": (
        "Fastest for Phi-3 mini at batch size 32: Liger (rope, rms_norm, swiglu), 32 % faster "
        "(24–41 %) than vanilla with 18 % less peak memory, within the spread of Liger (rope, "
        "rms_norm, swiglu) + max_seq_length=2048 and 2 other arms."
    ),
    "no_vanilla": (
        "Fastest for Phi-3 mini at batch size 4: Liger + max_seq_length=512, the baseline; next is "
        "Liger + max_seq_length=2048, 20 % slower."
    ),
}


@pytest.mark.parametrize("name", grids.ALL)
def test_the_headline_says_what_the_grid_shows(name: str) -> None:
    assert analyse(grids.ALL[name]()).headline == HEADLINES[name]


@pytest.mark.parametrize(
    ("liger", "memory", "words"),
    [
        ((900.0, 901.0), (1100.0, 1000.0), "10 % slower (9–11 %) with 10 % more peak memory"),
        ((1000.0, 1000.0), (1000.0, 1000.0), "at vanilla's speed with the same peak memory"),
        (
            (1100.0, 950.0),
            (900.0, 1000.0),
            "at vanilla's speed, within the spread of the repeats (−60 to +159 %), with 10 %",
        ),
    ],
)
def test_the_headline_is_fair_to_vanilla(
    liger: tuple[float, float], memory: tuple[float, float], words: str
) -> None:
    analysis = judged(((liger[0], 1000.0), (liger[1], 1000.0)), memory)
    assert words in analysis.headline


def test_the_headline_says_where_only_vanilla_fits() -> None:
    runs = grids.grid(sizes=(16, 24))
    for run in runs:
        if run.training_args.use_liger and run.training_args.per_device_train_batch_size == 24:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    assert "it runs out of memory at batch size 24, where vanilla does not" in (
        analyse(runs).headline
    )


def many(rates: dict[str, tuple[float, ...]]) -> list[Run]:
    """Arms at batch size 16 with these tokens per second in each repeat."""
    return [
        grids.make_run(arm, 16, repeat, rate=rate, memory_mb=900.0, steps=4)
        for arm, of_arm in rates.items()
        for repeat, rate in enumerate(of_arm, start=1)
    ]


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        # Ahead in every repeat, though vanilla's spread makes the gains' intervals overlap.
        (
            {"vanilla": (100, 90), "A": (110, 99), "B": (121, 109)},
            "B, 21 % faster (20–22 %) than vanilla with the same peak memory.",
        ),
        (
            {"vanilla": (100, 100), "A": (120, 121), "B": (121, 120.5)},
            "B, 21 % faster (18–24 %) than vanilla with the same peak memory, within the spread of "
            "A.",
        ),
        (
            {"vanilla": (100, 100), "A": (99, 102), "B": (90, 91)},
            "A, 0.5 % faster (−17 to +21 %) than vanilla with the same peak memory, within the "
            "spread of vanilla and B.",
        ),
        (
            {"vanilla": (100, 100), "A": (99, 100), "B": (90, 91)},
            "vanilla, the baseline, within the spread of A.",
        ),
        (
            {"vanilla": (100, 100), "A": (95, 95), "B": (90, 91)},
            "vanilla, the baseline; next is A, 5.0 % slower.",
        ),
        (
            {"vanilla": (100,), "A": (95,), "B": (110,)},
            "B, 10 % faster than vanilla with the same peak memory in a single repeat, too few "
            "for an interval.",
        ),
    ],
)
def test_of_many_arms_the_headline_tells_the_fastest_and_what_cannot_be_told_apart(
    rates: dict[str, tuple[float, ...]], words: str
) -> None:
    assert analyse(many(rates)).headline == f"Fastest for Phi-3 mini at batch size 16: {words}"


def test_two_arms_that_are_not_the_blogs_have_a_fastest_too() -> None:
    runs = grids.grid(sizes=(16,), arms=("vanilla", "vanilla + torch_compile"), factor=1.0)
    assert analyse(runs).headline.startswith("Fastest for Phi-3 mini at batch size 16: vanilla, ")
    assert analyse(grids.complete(), "Liger").headline == (
        "Fastest for Phi-3 mini at batch size 40: Liger, the baseline; next is vanilla, 26 % "
        "slower (25–28 %)."
    )


def test_the_fastest_is_told_where_it_and_the_baseline_have_room() -> None:
    runs = grids.four_arms()
    for run in runs:
        args = run.training_args
        if args.per_device_train_batch_size == 32 and args.arm == "vanilla":
            run.history["step_peak_memory_reserved_MB"] = 39.0 * 1024
    assert "at batch size 16: Liger, " in analyse(runs).headline


def test_the_headline_names_who_alone_fits_where_the_baseline_does_not() -> None:
    runs = grids.many_bars()
    for run in runs:
        args = run.training_args
        if args.arm == "Liger + torch_compile" and args.per_device_train_batch_size == 128:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    assert analyse(runs).headline.endswith(
        "both run out of memory at batch size 128; Liger fits batch size 128, where vanilla runs "
        "out of memory. 5 of 54 runs failed."
    )


def test_a_baseline_that_completes_nothing_is_said_to_compare_nothing() -> None:
    runs = grids.six_arms()
    for run in runs:
        if run.training_args.arm == "vanilla":
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    assert analyse(runs).headline == (
        "No batch size of Phi-3 mini was completed by vanilla and another arm; at batch size 8 "
        "Liger + torch_compile trains at 16,997 tokens per second."
    )
