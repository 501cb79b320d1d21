"""The headline of fixed grids, word by word."""

from __future__ import annotations

import pandas as pd
import pytest
from support import grids

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.run import OUT_OF_MEMORY, Run


@pytest.mark.parametrize(("tight", "told"), [((40,), 32), ((16, 24, 32, 40), 40)])
def test_the_headline_takes_the_largest_batch_size_that_fits_with_room(
    tight: tuple[int, ...], told: int
) -> None:
    runs = grids.complete()
    for run in runs:
        args = run.training_args
        if args.per_device_train_batch_size in tight and not args.use_liger:
            run.record["memory"]["allocator_retries"] = 1
    assert f"peak memory at batch size {told}, and fits" in analyse(runs).headline


HEADLINES = {
    "complete": (
        "Liger trains Phi-3 mini 36% faster (33–39%) with 20% less peak memory at batch size "
        "40, and fits batch sizes 48 and 56, where vanilla runs out of memory."
    ),
    "with_failures": (
        "Liger trains Phi-3 mini 30% faster (26–33%) with 16% less peak memory at batch size "
        "24. 3 of 12 runs failed."
    ),
    "one_repeat": (
        "Liger trains Phi-3 mini 36% faster with 20% less peak memory at batch size 40 in a "
        "single repeat, too few for an interval, and fits batch sizes 48 and 56, where vanilla "
        "runs out of memory."
    ),
    "one_arm": (
        "Only vanilla was run, so there is nothing to compare: Phi-3 mini trains at 14,448 tokens "
        "per second with 37.9 GiB peak memory at batch size 40, and runs out of memory at batch "
        "sizes 48 and 56."
    ),
    "one_batch_size": (
        "Liger trains Phi-3 mini 26% faster (23–30%) with 13% less peak memory at batch size 16."
    ),
    "all_failed": (
        "No run of Phi-3 mini completed: 4 ran out of memory and 4 failed, so there is nothing to "
        "compare."
    ),
    "on_cpu": (
        "A trial on a CPU, whose timings mean nothing: 8 of 8 runs of a tiny Phi-3 completed; "
        "largest difference between the arms' losses: 0.0002%."
    ),
    "wide_intervals": (
        "A trial on a CPU, whose timings mean nothing: 4 of 4 runs of Phi-3 mini completed; "
        "largest difference between the arms' losses: 0.0002%."
    ),
    "smoke_model_on_gpu": (
        "A trial with a smoke model, whose timings mean nothing: 8 of 8 runs of a tiny Phi-3 "
        "completed; largest difference between the arms' losses: 0.1%."
    ),
    "uncertain": (
        "Liger trains Phi-3 mini at a speed that its repeats cannot tell from vanilla's, with "
        "9.9% less peak memory at batch size 32."
    ),
    "six_arms": (
        "Fastest for Phi-3 mini at batch size 8: Liger + torch_compile, 35% faster (27–44%) than "
        "vanilla with 16% less peak memory. Liger is 23% faster (15–31%) than vanilla with "
        "8.0% less peak memory."
    ),
    "four_arms": (
        "Fastest for Phi-3 mini at batch size 32: Liger, 32% faster (24–41%) than vanilla with "
        "18% less peak memory, and fits batch size 48, where vanilla runs out of memory. 1 of 24 "
        "runs failed."
    ),
    "many_bars": (
        "Fastest of 6 arms (1 without a result) for Phi-3 mini at batch size 16: "
        "Liger + torch_compile, 40% faster (31–49%) than vanilla with 21% less peak memory, and "
        "fits batch size 128, where vanilla "
        "runs out of memory. Liger is 26% faster (23–30%) than vanilla with 13% less peak "
        "memory. 6 of 54 runs failed. vanilla + torch_compile has no result at batch size 16."
    ),
    "long_names": (
        "Fastest for Phi-3 mini at batch size 64: Liger (rope, rms_norm, swiglu), 45% faster "
        "(36–54%) than vanilla with 23% less peak memory, within the spread of Liger (rope, "
        "rms_norm, swiglu) + max_seq_length=2048 and 2 other arms."
    ),
    "no_vanilla": (
        "Fastest for Phi-3 mini at batch size 4: Liger + max_seq_length=512, the baseline; next is "
        "Liger + max_seq_length=2048, 20% slower."
    ),
}


@pytest.mark.parametrize("name", grids.ALL)
def test_the_headline_says_what_the_grid_shows(name: str) -> None:
    assert analyse(grids.ALL[name]()).headline == HEADLINES[name]


@pytest.mark.parametrize(
    ("liger", "memory", "words"),
    [
        ((900.0, 901.0), (1100.0, 1000.0), "10% slower (9–11%) with 10% more peak memory"),
        ((1000.0, 1000.0), (1000.0, 1000.0), "at vanilla's speed with the same peak memory"),
        (
            (1020.0, 1000.0),
            (900.0, 1000.0),
            "at vanilla's speed, within the spread of the repeats (−11 to +15%), with 10% less",
        ),
        (
            (1100.0, 950.0),
            (900.0, 1000.0),
            "at a speed that its repeats cannot tell from vanilla's, with 10% less",
        ),
    ],
)
def test_the_headline_states_losses_of_speed_and_memory_too(
    liger: tuple[float, float], memory: tuple[float, float], words: str
) -> None:
    runs = grids.two_arms(((liger[0], 1000.0), (liger[1], 1000.0)), memory)
    assert words in analyse(runs).headline


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
            "B, 21% faster (20–22%) than vanilla with the same peak memory.",
        ),
        (
            {"vanilla": (100, 100), "A": (120, 121), "B": (121, 120.5)},
            "B, 21% faster (18–24%) than vanilla with the same peak memory, within the spread of "
            "A.",
        ),
        (
            {"vanilla": (100, 100), "A": (99, 102), "B": (90, 91)},
            "A, 0.5% faster (−17 to +21%) than vanilla with the same peak memory, within the "
            "spread of vanilla and B.",
        ),
        (
            {"vanilla": (100, 100), "A": (99, 100), "B": (90, 91)},
            "vanilla, the baseline, within the spread of A.",
        ),
        (
            {"vanilla": (100, 100), "A": (95, 95), "B": (90, 91)},
            "vanilla, the baseline; next is A, 5.0% slower.",
        ),
        (
            {"vanilla": (100,), "A": (95,), "B": (110,)},
            "B, 10% faster than vanilla with the same peak memory in a single repeat, too few "
            "for an interval.",
        ),
    ],
)
def test_the_headline_of_many_arms_names_the_fastest_and_the_indistinguishable(
    rates: dict[str, tuple[float, ...]], words: str
) -> None:
    assert analyse(many(rates)).headline == f"Fastest for Phi-3 mini at batch size 16: {words}"


def test_the_headline_of_two_other_arms_names_the_fastest() -> None:
    runs = grids.grid(sizes=(16,), arms=("vanilla", "vanilla + torch_compile"), factor=1.0)
    assert analyse(runs).headline.startswith("Fastest for Phi-3 mini at batch size 16: vanilla, ")
    assert analyse(grids.complete(), "Liger").headline == (
        "Fastest for Phi-3 mini at batch size 40: Liger, the baseline; next is vanilla, 26% "
        "slower (25–28%)."
    )


def test_the_fastest_arm_is_named_at_a_batch_size_where_it_and_the_baseline_fit_with_room() -> None:
    runs = grids.four_arms()
    for run in runs:
        args = run.training_args
        if args.per_device_train_batch_size == 32 and args.arm == "vanilla":
            run.record["memory"]["allocator_retries"] = 1
    assert "at batch size 16: Liger, " in analyse(runs).headline


def test_the_headline_names_the_only_arm_that_fits_the_largest_batch_size() -> None:
    runs = grids.many_bars()
    for run in runs:
        args = run.training_args
        if args.arm == "Liger + torch_compile" and args.per_device_train_batch_size == 128:
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    headline = analyse(runs).headline
    assert (
        "both run out of memory at batch size 128; Liger fits batch size 128, where vanilla runs "
        "out of memory. Liger is 26% faster"
    ) in headline
    assert headline.endswith(
        "5 of 54 runs failed. vanilla + torch_compile has no result at batch size 16."
    )


def test_the_headline_says_that_no_batch_size_was_completed_by_the_baseline() -> None:
    runs = grids.six_arms()
    for run in runs:
        if run.training_args.arm == "vanilla":
            run.outcome, run.history = OUT_OF_MEMORY, pd.DataFrame()
    assert analyse(runs).headline == (
        "No batch size of Phi-3 mini was completed by vanilla and another arm; at batch size 8 "
        "Liger + torch_compile trains at 16,997 tokens per second."
    )
