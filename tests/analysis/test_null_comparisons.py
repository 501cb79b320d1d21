"""An arm against itself, under another name and with the noise of real runs, gains nothing."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pandas as pd
from support import grids
from support.tables import row

from liger_benchmark.analysis.claims import EXCEEDED, REPRODUCED, claim_of
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.columns import TOTAL_PEAK_ALLOCATED_MB
from liger_benchmark.run import Run

# Seconds of each measured step by arm and batch size, a list a repeat: results/phi3-mini-h100-39gib
# as it was in November 2026.
PUBLISHED = Path(__file__).parents[1] / "support" / "published_step_seconds.json"
# Peak reserved memory in MB of one arm at batch size 48, all that the runs in results/ had. The
# repeats of one grid mostly have the same; with another session, card or limit it is another.
RESERVED_MB = ((39_542, 39_936, 39_990), (29_374, 29_438), (30_340, 30_468))
SEEDS = range(20)


def null_grid(seed: int) -> list[Run]:
    """The two arms of a grid with the timing of one published arm at one batch size in both.

    Each of the six runs draws one of the three published repeats, and its steps from that
    repeat's, with replacement: the spread between runs and that within one are as published. It
    also draws one of the published peaks of reserved memory, give or take the allocator's blocks
    of 2 MB.
    """
    noise, of_memory = Random(seed), Random(f"memory {seed}")
    peaks = of_memory.choice(RESERVED_MB)
    name, repeats = noise.choice(list(json.loads(PUBLISHED.read_text()).items()))
    size = int(name.split()[1])
    runs = []
    for repeat in (1, 2, 3):
        for arm in ("Liger", "vanilla"):
            seconds = noise.choices(noise.choice(repeats), k=38)
            rate = 38 * size * 128 / sum(seconds)
            reserved = of_memory.choice(peaks) + 2.0 * round(of_memory.gauss(0, 5))
            run = grids.make_run(arm, size, repeat, rate=rate, memory_mb=reserved)
            run.history[TOTAL_PEAK_ALLOCATED_MB] = 0.9 * peaks[0]
            run.history["step_seconds"] = [2.0, 0.2, *seconds]
            runs.append(run)
    return runs


def test_an_arm_against_itself_gains_nothing() -> None:
    """20 null comparisons: none is invalid, none saves memory, none reproduces the blog's gains.

    The intervals are at 95%: of 20 comparisons of an arm with itself one is expected to lie
    beside zero by chance. The seeds are the first twenty integers;
    with them none does, for speed or for memory, so that no headline says faster or slower.
    """
    certain = []
    savings = set()
    for seed in SEEDS:
        analysis = analyse(null_grid(seed))
        assert (analysis.cells["invalid"] == "").all() and "invalid" not in analysis.headline
        assert {caveat.kind for caveat in analysis.caveats} <= {"unsteady"}
        assert " less " not in analysis.headline and " more " not in analysis.headline
        assert analysis.verdict not in (REPRODUCED, EXCEEDED)
        assert claim_of(analysis.claims, "throughput").judgement not in (REPRODUCED, EXCEEDED)
        compared = row(analysis.comparison, arm="Liger")
        includes_zero = compared["speedup_low"] <= 0 <= compared["speedup_high"]
        says_so = "faster" in analysis.headline or "slower" in analysis.headline
        assert says_so is not includes_zero
        certain += [seed] * says_so
        assert compared["memory_saving_low"] <= 0 <= compared["memory_saving_high"]
        assert claim_of(analysis.claims, "memory").judgement not in (REPRODUCED, EXCEEDED)
        savings.add(compared["memory_saving_percent"])
    assert certain == []
    # Memory could have been called less: it differs in every comparison.
    assert len(savings) == len(SEEDS) and 0.0 not in savings


def test_a_difference_that_the_allocators_blocks_make_is_not_called_less() -> None:
    """The same in all repeats: the interval has no width, and does not include zero."""
    for saved, words in (
        (0.4, "with the same peak memory to within 1% at"),
        (-0.9, "with the same peak memory to within 1% at"),
        (1.2, "with 1.2% less peak memory at"),
    ):
        memory = (39_990.0 * (1 - saved / 100), 39_990.0)
        runs = grids.two_arms(((14_000.0, 12_000.0), (14_100.0, 12_050.0)), memory)
        assert words in analyse(runs).headline


def test_an_arm_against_itself_under_other_names_is_within_its_spread() -> None:
    """Among several arms the fastest is named with those that cannot be told from it."""
    told_apart = []
    for seed in SEEDS:
        runs = null_grid(seed)
        for run in [run for run in runs if run.training_args.use_liger]:
            # The same arm as vanilla under another name.
            again = grids.make_run(
                "vanilla, again",
                run.training_args.per_device_train_batch_size,
                run.training_args.run,
            )
            run.training_args, run.record = again.training_args, again.record
            run.history["loss"] = again.history["loss"]
        analysis = analyse(runs)
        assert (analysis.cells["invalid"] == "").all()
        assert "tested" in analysis.verdict
        told_apart += [seed] * ("within the spread" not in analysis.headline)
    assert told_apart == []


def test_the_noise_of_the_null_comparisons_is_that_of_real_runs() -> None:
    published = json.loads(PUBLISHED.read_text())
    assert len(published) == 11
    for repeats in published.values():
        assert [len(seconds) for seconds in repeats] == [38] * 3
        assert (pd.Series(repeats[0]) > 0.05).all()
