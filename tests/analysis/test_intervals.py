"""Intervals and relative differences against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from liger_benchmark.analysis.intervals import (
    largest_relative_difference,
    mean_interval,
    ratio_interval,
)

# Two-sided 95% quantiles of Student's t, from a printed table.
T_1, T_2 = 12.706, 4.303


def test_a_mean_of_three_has_students_interval() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.high is not None and interval.low is not None
    assert interval.high - 2.0 == pytest.approx(T_2 * 1.0 / math.sqrt(3), rel=1e-4)
    assert 2.0 - interval.low == pytest.approx(T_2 * 1.0 / math.sqrt(3), rel=1e-4)


def test_a_mean_of_two_has_a_wide_interval() -> None:
    interval = mean_interval([9.0, 11.0])
    assert interval.high == pytest.approx(10 + T_1 * math.sqrt(2) / math.sqrt(2), rel=1e-4)


def test_one_value_has_no_interval_and_equal_values_have_one_of_no_width() -> None:
    assert (mean_interval([5.0]).low, mean_interval([5.0]).high) == (None, None)
    equal = mean_interval([5.0, 5.0, 5.0])
    assert (equal.low, equal.high) == (5.0, 5.0)


def test_a_ratio_is_paired_and_its_interval_is_on_the_logs() -> None:
    # Pairs with ratios e**0.1, e**0.2 and e**0.3: mean log 0.2, deviation 0.1.
    ratios = [math.exp(0.1), math.exp(0.2), math.exp(0.3)]
    base = [100.0, 200.0, 50.0]
    interval = ratio_interval([r * b for r, b in zip(ratios, base, strict=True)], base)
    half = T_2 * 0.1 / math.sqrt(3)
    assert interval.mean == pytest.approx(math.exp(0.2))
    assert interval.low == pytest.approx(math.exp(0.2 - half), rel=1e-4)
    assert interval.high == pytest.approx(math.exp(0.2 + half), rel=1e-4)


@pytest.mark.parametrize(
    ("losses", "reference", "expected"),
    [
        ([1.0, 2.2, 3.0], [1.0, 2.0, 3.0], 0.1),
        ([0.0], [0.0], 0.0),
        ([1.0], [0.0], math.inf),
        ([math.nan], [1.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_losses_are_compared_relative_to_the_reference(
    losses: list[float], reference: list[float], expected: float
) -> None:
    assert largest_relative_difference(losses, reference) == pytest.approx(expected)
