"""The judgement of a claim at one batch size and over several, and the verdict on all claims."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import grids

from liger_benchmark.analysis import claims
from liger_benchmark.analysis.claims import (
    EXCEEDED,
    INCOMPLETE,
    NOT_ENOUGH_REPEATS,
    NOT_REPRODUCED,
    NOT_TESTED,
    OUT_OF_MEMORY,
    REPRODUCED,
    THROUGHPUT,
    UNDECIDED,
    Claim,
    claim_of,
)
from liger_benchmark.analysis.judgement import _judge_at
from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.analysis.verdict import overall_verdict, verdict_sentence
from liger_benchmark.run import FAILED, Run
from liger_benchmark.run import OUT_OF_MEMORY as RAN_OUT
from liger_benchmark.wording import WIDEST_INTERVAL

# From worst to best; undecided is worse than reproduced, since nothing is shown.
ORDER = (NOT_REPRODUCED, UNDECIDED, REPRODUCED, EXCEEDED)


def judge(value: float, low: float, high: float) -> str:
    """The throughput claim of +20 to +30% at one batch size."""
    row = {"speedup_percent": value, "speedup_low": low, "speedup_high": high}
    return _judge_at(THROUGHPUT, pd.Series(row))


@pytest.mark.parametrize(
    ("value", "low", "high", "judgement"),
    [
        (36.0, 33.0, 39.0, EXCEEDED),
        (31.0, 29.0, 33.0, REPRODUCED),
        (25.0, 22.0, 28.0, REPRODUCED),
        (20.0, 0.1, 44.0, REPRODUCED),
        (25.0, -1.0, 57.0, UNDECIDED),  # includes zero
        (17.0, 13.0, 21.0, UNDECIDED),  # reaches the range from below
        (60.0, 5.0, 140.0, UNDECIDED),  # too wide to say anything
        (9.6, -45.8, 121.7, UNDECIDED),  # what was printed as "falls short"
        (10.0, 5.0, 19.9, NOT_REPRODUCED),
        (-10.0, -12.0, -8.0, NOT_REPRODUCED),
        (10.0, 10.0, 10.0, NOT_REPRODUCED),
        (25.0, 25.0, 25.0, REPRODUCED),
    ],
)
def test_a_claim_at_one_batch_size(value: float, low: float, high: float, judgement: str) -> None:
    assert judge(value, low, high) == judgement


percent = st.floats(-100, 200)
# Not so close to the widest interval that rounding decides.
widths = st.tuples(st.floats(0, 300), st.floats(0, 300)).filter(
    lambda ends: abs(sum(ends) - WIDEST_INTERVAL) > 1e-6
)


@given(percent, widths, st.floats(0, 100))
def test_moving_an_interval_up_never_worsens_the_judgement(
    value: float, width: tuple[float, float], up: float
) -> None:
    below, above = width
    assume(below + above < WIDEST_INTERVAL)
    before = judge(value, value - below, value + above)
    after = judge(value + up, value + up - below, value + up + above)
    assert ORDER.index(after) >= ORDER.index(before)


# What a judgement may become where the interval is wider and the gain the same.
LESS_CERTAIN = {
    EXCEEDED: {EXCEEDED, REPRODUCED, UNDECIDED},
    REPRODUCED: {REPRODUCED, UNDECIDED},
    UNDECIDED: {UNDECIDED},
    NOT_REPRODUCED: {NOT_REPRODUCED, UNDECIDED},
}


@given(percent, widths, st.floats(0, 500))
def test_a_wider_interval_never_makes_a_claim_more_certain(
    value: float, width: tuple[float, float], more: float
) -> None:
    below, above = width
    narrow = judge(value, value - below, value + above)
    wide = judge(value, value - below - more, value + above + more)
    assert wide in LESS_CERTAIN[narrow]


@given(percent, widths)
def test_only_what_lies_below_the_range_as_a_whole_falls_short(
    value: float, width: tuple[float, float]
) -> None:
    below, above = width
    falls_short = judge(value, value - below, value + above) == NOT_REPRODUCED
    assert falls_short == (value + above < 20 and below + above < WIDEST_INTERVAL)


def judged(*cells: Run) -> Analysis:
    return analyse(list(cells))


def cell(size: int, outcome: str = "completed", arm: str = "Liger", n: int = 3) -> list[Run]:
    runs = [grids.make_run(arm, size, repeat) for repeat in range(1, n + 1)]
    if outcome == "completed":
        return runs
    return [Run(run.training_args, outcome, record=run.record) for run in runs]


def pair(size: int, liger: str = "completed", vanilla: str = "completed") -> list[Run]:
    return cell(size, liger) + cell(size, vanilla, "vanilla")


def judgements(analysis: Analysis) -> dict[str, str]:
    return {claim.kind: claim.judgement for claim in analysis.claims}


@pytest.mark.parametrize("liger", [FAILED, None])
def test_a_size_at_which_an_arm_failed_or_is_missing_makes_the_claims_incomplete(
    liger: str | None,
) -> None:
    runs = pair(16) + cell(24, "completed", "vanilla") + (cell(24, liger) if liger else [])
    analysis = judged(*runs)
    assert judgements(analysis)["throughput"] == judgements(analysis)["memory"] == INCOMPLETE
    assert claim_of(analysis.claims, "memory").incomplete_at == (24,)
    assert analysis.verdict == INCOMPLETE
    assert verdict_sentence(analysis.claims) == (
        "No verdict, since the grid is incomplete: an arm failed, is invalid or is missing at "
        "batch size 24."
    )


def test_a_size_at_which_both_arms_are_invalid_is_incomplete_too() -> None:
    runs = pair(16) + pair(24)
    for run in runs[6:]:
        run.history["loss"] = float("nan")
    assert analyse(runs).verdict == INCOMPLETE
    assert claim_of(analyse(runs[6:]).claims, "throughput").measured == (
        "nothing: an arm failed, is invalid or is missing at batch size 24"
    )


def test_repeats_that_are_not_common_to_both_arms_are_no_pairs() -> None:
    runs = pair(16) + pair(24)
    for i in (6, 11):  # Liger's first repeat and vanilla's third at batch size 24
        runs[i] = Run(runs[i].training_args, FAILED)
    assert claim_of(analyse(runs).claims, "throughput").incomplete_at == (24,)


def test_running_out_of_memory_is_a_result_and_leaves_nothing_incomplete() -> None:
    analysis = judged(*pair(16), *pair(24, vanilla=RAN_OUT))
    assert judgements(analysis) == dict.fromkeys(judgements(analysis), REPRODUCED)
    assert analysis.verdict == REPRODUCED


@pytest.mark.parametrize("problem", ["failed", "missing", "invalid"])
def test_where_vanilla_ran_out_of_memory_liger_without_a_result_is_incomplete(
    problem: str,
) -> None:
    at_32 = {"failed": cell(32, FAILED), "missing": [], "invalid": cell(32)}[problem]
    if problem == "invalid":
        at_32[1].history.loc[7, "loss"] = float("nan")
    runs = pair(16) + pair(24, vanilla=RAN_OUT) + at_32 + cell(32, RAN_OUT, "vanilla")
    analysis = judged(*runs)
    claim = claim_of(analysis.claims, "out_of_memory")
    assert (claim.judgement, claim.incomplete_at) == (INCOMPLETE, (32,))
    assert claim.measured.endswith("Liger completes batch size 24; Liger has no result at batch "
                                   "size 32")  # fmt: skip
    assert analysis.verdict == INCOMPLETE
    assert "fits batch size 24, where" in analysis.headline


def claim(kind: str, judgement: str, **details: object) -> Claim:
    published = {"throughput": THROUGHPUT, "memory": claims.MEMORY, "out_of_memory": OUT_OF_MEMORY}
    return published[kind].judged("", judgement, **details)


STATES = (NOT_REPRODUCED, INCOMPLETE, UNDECIDED, REPRODUCED, EXCEEDED, NOT_TESTED)


@pytest.mark.parametrize(
    ("speed", "memory", "out_of_memory", "verdict"),
    [
        (REPRODUCED, REPRODUCED, REPRODUCED, REPRODUCED),
        (EXCEEDED, REPRODUCED, REPRODUCED, REPRODUCED),
        (EXCEEDED, EXCEEDED, NOT_TESTED, EXCEEDED),
        (REPRODUCED, UNDECIDED, REPRODUCED, UNDECIDED),
        (REPRODUCED, UNDECIDED, INCOMPLETE, INCOMPLETE),
        (INCOMPLETE, NOT_REPRODUCED, REPRODUCED, NOT_REPRODUCED),
        (REPRODUCED, REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED),
        (REPRODUCED, NOT_TESTED, REPRODUCED, NOT_TESTED),
        (NOT_TESTED, NOT_TESTED, REPRODUCED, NOT_TESTED),
    ],
)
def test_the_verdict_is_the_worst_of_the_claims(
    speed: str, memory: str, out_of_memory: str, verdict: str
) -> None:
    of = {"throughput": speed, "memory": memory, "out_of_memory": out_of_memory}
    assert overall_verdict([claim(kind, judgement) for kind, judgement in of.items()]) == verdict


@given(st.sampled_from(STATES), st.sampled_from(STATES), st.sampled_from(STATES))
def test_gains_are_reproduced_only_if_nothing_speaks_against_it(
    speed: str, memory: str, out_of_memory: str
) -> None:
    of = {"throughput": speed, "memory": memory, "out_of_memory": out_of_memory}
    judged = [claim(kind, judgement) for kind, judgement in of.items()]
    if overall_verdict(judged) in (REPRODUCED, EXCEEDED):
        assert {speed, memory} <= {REPRODUCED, EXCEEDED}
        assert out_of_memory not in (NOT_REPRODUCED, INCOMPLETE, UNDECIDED)


def test_a_single_repeat_lacks_repeats_rather_than_results() -> None:
    judged = [claim(k, NOT_TESTED, lacks_repeats=True) for k in ("throughput", "memory")]
    assert overall_verdict([*judged, claim("out_of_memory", NOT_TESTED)]) == NOT_ENOUGH_REPEATS


def test_the_sentence_says_what_is_undecided_and_where() -> None:
    judged = [
        claim("throughput", UNDECIDED, judged_at=(16, 24), undecided_at=(16,)),
        claim("memory", REPRODUCED, judged_at=(16, 24)),
        claim("out_of_memory", NOT_TESTED),
    ]
    assert verdict_sentence(judged) == (
        "Whether the published gains are reproduced is undecided: speed is undecided at batch "
        "size 16."
    )
