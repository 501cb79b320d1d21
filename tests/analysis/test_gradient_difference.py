"""How far apart two fingerprints of gradients are, and what rounding explains."""

from __future__ import annotations

import copy
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import GRADIENTS

from liger_benchmark.analysis.gradient_difference import (
    BF16_NORM_BOUND,
    GradientDifference,
    gradient_difference,
)

Gradients = dict[str, list[float]]


def scaled(factor: float, gradients: Gradients = GRADIENTS) -> Gradients:
    return {name: [factor * value for value in values] for name, values in gradients.items()}


def against(one: Gradients, bf16: bool = True) -> GradientDifference:
    return gradient_difference(one, GRADIENTS, bf16)


@pytest.mark.parametrize("bf16", [True, False])
def test_equal_gradients_do_not_differ(bf16: bool) -> None:
    difference = against(copy.deepcopy(GRADIENTS), bf16)
    assert (difference.value, difference.above_bound) == (0.0, False)


def test_fingerprints_of_another_length_are_not_taken_for_equal() -> None:
    shorter = {name: values[:-1] for name, values in GRADIENTS.items()}
    assert against(shorter).above_bound


@pytest.mark.parametrize(
    ("bf16", "factor", "above"),
    [(True, 1.003, False), (True, 1.05, True), (False, 1 + 1e-6, False), (False, 1.003, True)],
)
def test_a_scaled_gradient_shows_in_its_norm(bf16: bool, factor: float, above: bool) -> None:
    difference = against(scaled(factor), bf16)
    if bf16:  # in fp32 both measures have one bound
        assert difference.measure == "norm"
        assert difference.value == pytest.approx(factor - 1, rel=1e-6)
    assert difference.above_bound is above


def test_a_gradient_of_the_same_norm_and_another_direction_is_above_the_bound() -> None:
    other = copy.deepcopy(GRADIENTS)
    name = "lm_head.weight"
    other[name][1:] = [-value for value in other[name][1:]]
    difference = against(other)
    assert difference.measure == "direction" and difference.value > 1
    assert (difference.above_bound, difference.parameter) == (True, name)


def test_one_layer_of_several_shows_in_its_kind() -> None:
    other = copy.deepcopy(GRADIENTS)
    other["model.layers.1.mlp.gate_up_proj.weight"] = [0.0] * 5
    difference = against(other)
    assert difference.above_bound
    assert difference.parameter == "model.layers.*.mlp.gate_up_proj.weight"


def test_measure_value_bound_and_parameter_are_of_the_same_difference() -> None:
    """One kind has another direction within its bound, another kind a norm above its own."""
    other = copy.deepcopy(GRADIENTS)
    other["lm_head.weight"] = [GRADIENTS["lm_head.weight"][0], *(
        0.8 * value for value in GRADIENTS["lm_head.weight"][1:]
    )]  # fmt: skip
    name = "model.norm.weight"
    other[name] = [1.05 * value for value in GRADIENTS[name]]
    difference = against(other)
    assert (difference.measure, difference.parameter) == ("norm", name)
    assert difference.value == pytest.approx(0.05)
    assert difference.bound == BF16_NORM_BOUND
    assert difference.times_bound == pytest.approx(2.5)


@pytest.mark.parametrize("without", ["one", "other"])
def test_a_parameter_without_a_gradient_in_one_run_alone_differs_without_limit(
    without: str,
) -> None:
    """A detached LM head, say."""
    detached = GRADIENTS | {"lm_head.weight": []}
    pair = (detached, GRADIENTS) if without == "one" else (GRADIENTS, detached)
    difference = gradient_difference(*pair, bf16=True)
    assert math.isinf(difference.value) and difference.above_bound
    assert difference.parameter == "lm_head.weight"
    assert not gradient_difference(detached, detached, bf16=True).above_bound


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_finite_number_is_above_the_bound(value: float) -> None:
    broken = GRADIENTS | {"model.norm.weight": [value, 0.1, 0.1, 0.1, 0.1]}
    assert against(broken).above_bound
    assert gradient_difference(GRADIENTS, broken, bf16=True).above_bound


def test_a_gradient_of_zero_agrees_with_nothing_but_zero() -> None:
    zero = {"weight": [0.0] * 5}
    assert not gradient_difference(zero, zero, bf16=True).above_bound
    assert gradient_difference({"weight": [1.0] * 5}, zero, bf16=True).above_bound


def test_two_empty_fingerprints_do_not_differ() -> None:
    assert not gradient_difference({}, {}, bf16=True).above_bound


@given(st.floats(0.5, 2.0), st.floats(1e-6, 1e6))
def test_the_difference_is_relative(factor: float, scale: float) -> None:
    once = against(scaled(factor))
    again = gradient_difference(scaled(factor * scale), scaled(scale), bf16=True)
    assert again.value == pytest.approx(once.value, rel=1e-6, abs=1e-9)
    assert once.above_bound == (abs(factor - 1) > BF16_NORM_BOUND)


def test_the_projections_estimate_the_difference_of_the_gradients() -> None:
    """Over many parameters of a kind; `training.gradients` gives the source."""
    numbers = random.Random(0)
    one: Gradients = {}
    other: Gradients = {}
    square_of_difference = square_of_other = 0.0
    for layer in range(200):
        g = [numbers.gauss(0, 1) for _ in range(8)]
        h = [value + 0.05 * numbers.gauss(0, 1) for value in g]
        signs = [[numbers.choice((-1, 1)) for _ in g] for _ in range(4)]
        for into, values in ((one, h), (other, g)):
            projections = [sum(map(float.__mul__, map(float, s), values)) for s in signs]
            into[f"layers.{layer}.weight"] = [math.hypot(*values), *projections]
        square_of_difference += sum((a - b) ** 2 for a, b in zip(h, g, strict=True))
        square_of_other += sum(value**2 for value in g)
    exact = math.sqrt(square_of_difference / square_of_other)
    difference = gradient_difference(one, other, bf16=True)
    assert difference.measure == "direction"
    assert difference.value == pytest.approx(exact, rel=0.1)
