"""Gradients' fingerprints: equal for equal gradients, and telling how far apart others are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liger_benchmark.training import gradients
from liger_benchmark.training.gradients import N_PROJECTIONS, gradient_fingerprint


def parameters(**by_name: Any) -> list[tuple[str, Any]]:
    """Parameters whose gradients are the given tensors; None for a parameter without gradient."""
    import torch

    named = []
    for name, gradient in by_name.items():
        parameter = torch.nn.Parameter(torch.zeros(3 if gradient is None else gradient.shape))
        parameter.grad = gradient
        named.append((name, parameter))
    return named


def draw(*shape: int, seed: int = 0) -> Any:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def estimated_difference(a: list[float], b: list[float]) -> float:
    """|g - h| / |h| from the fingerprints of g and h."""
    squares = [(x - y) ** 2 for x, y in zip(a[1:], b[1:], strict=True)]
    return float((sum(squares) / len(squares)) ** 0.5 / b[0])


def test_it_holds_the_norm_and_the_projections_of_each_parameter() -> None:
    gradient = draw(40, 25)
    found = gradient_fingerprint(parameters(w=gradient))
    assert len(found["w"]) == 1 + N_PROJECTIONS
    assert found["w"][0] == pytest.approx(float(gradient.norm()), rel=1e-6)
    # A sum with random signs is of the order of the norm.
    assert all(abs(projection) < 5 * found["w"][0] for projection in found["w"][1:])
    assert len(set(found["w"][1:])) == N_PROJECTIONS


def test_equal_gradients_have_equal_fingerprints_and_stay_as_they_are() -> None:
    import torch

    gradient = draw(64, 64)
    before = gradient.clone()
    named = parameters(w=gradient)
    assert gradient_fingerprint(named) == gradient_fingerprint(named)
    assert gradient_fingerprint(named) == gradient_fingerprint(parameters(w=before))
    assert torch.equal(gradient, before)


@pytest.mark.parametrize("relative", [1e-3, 1e-2, 1.0])
def test_the_relative_difference_is_estimated_within_a_factor(relative: float) -> None:
    g = draw(300, 100)
    for seed in range(1, 21):
        noise = draw(300, 100, seed=seed)
        h = g + relative * float(g.norm() / noise.norm()) * noise
        a, b = (gradient_fingerprint(parameters(w=x))["w"] for x in (h, g))
        # Of four projections: 0.15 % of the estimates lie below a sixth, none above thrice.
        assert relative / 6 < estimated_difference(a, b) < 3 * relative


def test_a_difference_that_keeps_the_norm_is_seen() -> None:
    import torch

    g = draw(1000)
    shifted = torch.roll(g, 1)
    a, b = (gradient_fingerprint(parameters(w=x))["w"] for x in (shifted, g))
    assert a[0] == pytest.approx(b[0], rel=1e-6)
    assert estimated_difference(a, b) > 0.3


def test_a_parameter_without_gradient_has_no_numbers_and_a_frozen_one_is_left_out() -> None:
    named = parameters(used=draw(5), unused=None, frozen=None)
    named[2][1].requires_grad_(False)
    found = gradient_fingerprint(named)
    assert found.keys() == {"used", "unused"}
    assert found["unused"] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_none_which_a_record_can_hold(value: float) -> None:
    gradient = draw(10)
    gradient[3] = value
    found = gradient_fingerprint(parameters(w=gradient, other=draw(10)))
    assert found["w"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_signs_come_from_the_name_and_not_from_the_order_or_torchs_seed() -> None:
    import torch

    g = draw(500)
    both = gradient_fingerprint(parameters(a=g.clone(), b=g.clone()))
    torch.manual_seed(7)
    assert gradient_fingerprint(parameters(b=g.clone())) == {"b": both["b"]}
    assert both["a"][0] == both["b"][0] and both["a"][1:] != both["b"][1:]


def test_a_compiled_models_names_and_signs_are_those_of_the_model() -> None:
    g = draw(50)
    assert gradient_fingerprint([("_orig_mod.w", parameters(w=g)[0][1])]) == gradient_fingerprint(
        parameters(w=g)
    )


def test_gradients_larger_than_a_chunk_are_read_to_their_end_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(gradients, "CHUNK", 64)
    g = draw(1000)
    found = gradient_fingerprint(parameters(w=g.clone()))["w"]
    assert found[0] == pytest.approx(float(g.norm()), rel=1e-6)
    # Chunks have signs of their own: exchanged chunks are another gradient.
    exchanged = torch.cat([g[64:128], g[:64], g[128:]])
    assert gradient_fingerprint(parameters(w=exchanged))["w"][1:] != found[1:]
    last = g.clone()
    last[-1] += 10.0
    assert gradient_fingerprint(parameters(w=last))["w"] != found


def test_gradients_in_bf16_are_summed_in_higher_precision() -> None:
    import torch

    ones = torch.ones(2**18, dtype=torch.bfloat16)
    # bf16 itself would stop counting at 256.
    parameter = torch.nn.Parameter(torch.zeros(2**18, dtype=torch.bfloat16))
    parameter.grad = ones
    assert gradient_fingerprint([("w", parameter)])["w"][0] == 512.0
