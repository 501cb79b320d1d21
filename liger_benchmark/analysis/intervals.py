"""The statistics of the report: intervals for few repeats, and the difference of two loss curves.

A grid has two or three repeats a cell, so intervals follow Student's t. A normal approximation
would make them less than half as wide as they should be (1.96 against 4.30 at three repeats).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate from `n` values and its 95% interval; `low` and `high` are None if `n` is 1."""

    mean: float
    low: float | None
    high: float | None
    n: int


def interval_columns(name: str, low: float | None, high: float | None) -> dict[str, float]:
    """An interval's ends as the columns `name_low` and `name_high` of a table; NaN for None."""
    missing = float("nan")
    return {
        f"{name}_low": missing if low is None else low,
        f"{name}_high": missing if high is None else high,
    }


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of `values` and the interval mean ± t(0.975, n − 1) · s / √n.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908). Equal values, as memory
    often has over repeats, have the interval [mean, mean].

    Raises:
        ValueError: if there is no value.
    """
    from scipy import stats

    n = len(values)
    if n == 0:
        raise ValueError("an interval needs at least one value")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, n)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Geometric mean of the pairs' ratios and its interval: a t interval on the mean log ratio.

    Repeats are interleaved, so repeat i of one arm is paired with repeat i of the other, and drift
    between repeats cancels. Source: Bland and Altman, "The use of transformation when
    comparing two means", BMJ 312:1153 (1996), in its paired form.

    Args:
        numerators, denominators: positive values, of equal length, paired by position.

    Raises:
        ValueError: if there is no pair, or the lengths differ.
    """
    logs = [math.log(a / b) for a, b in zip(numerators, denominators, strict=True)]
    of_logs = mean_interval(logs)
    if of_logs.low is None or of_logs.high is None:
        return Interval(math.exp(of_logs.mean), None, None, of_logs.n)
    return Interval(
        math.exp(of_logs.mean), math.exp(of_logs.low), math.exp(of_logs.high), of_logs.n
    )


def largest_relative_difference(losses: Sequence[float], reference: Sequence[float]) -> float:
    """max |a − b| / |b| over two loss curves of equal length; inf where a loss is not finite."""
    a, b = np.asarray(losses, dtype=float), np.asarray(reference, dtype=float)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    difference = np.abs(a - b)
    relative = np.divide(
        difference, np.abs(b), out=np.where(difference == 0, 0.0, math.inf), where=b != 0
    )
    return float(relative.max(initial=0.0))
