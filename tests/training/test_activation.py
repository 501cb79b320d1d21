"""All parts of each kernel that was asked for have to run Liger's code, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from support.isolated_parts import liger_parts

from liger_benchmark.choices import DEFAULT_LIGER_KERNELS
from liger_benchmark.training.activation import (
    LEFT_TO_TRANSFORMERS,
    LigerMismatch,
    check_liger,
    expected_parts,
)
from liger_benchmark.training.isolated_process import run_isolated
from liger_benchmark.training.liger_kernels import liger_architectures

PRESENT = {"rms_norm": 65, "swiglu": 32, "rope": 32, "fused_linear_cross_entropy": 1}


def parts(**active: int) -> dict[str, dict[str, int]]:
    """A Llama's parts, all active but for the given numbers."""
    return {"active": PRESENT | active, "present": dict(PRESENT)}


def test_a_model_with_all_parts_active_matches() -> None:
    check_liger(parts(), DEFAULT_LIGER_KERNELS, "llama")
    check_liger(parts(swiglu=0, rope=0), ["rms_norm", "fused_linear_cross_entropy"], "llama")
    check_liger(parts(**dict.fromkeys(PRESENT, 0)), [], "llama")


def test_the_parts_that_are_expected_are_those_that_liger_has_kernels_for() -> None:
    assert expected_parts(parts(), DEFAULT_LIGER_KERNELS, "llama") == PRESENT
    assert expected_parts(parts(), ["rope"], "llama") == {"rope": 32}
    assert expected_parts(parts(), [], "llama") == {}
    granite = expected_parts(parts(), DEFAULT_LIGER_KERNELS, "granite")
    assert granite == {k: n for k, n in PRESENT.items() if k != "fused_linear_cross_entropy"}


@pytest.mark.parametrize(("part", "active"), [("rms_norm", 64), ("rms_norm", 1), ("swiglu", 31)])
def test_one_part_that_is_left_unpatched_is_an_error_with_its_count(part: str, active: int) -> None:
    expected = rf"^liger_kernels: {part} asked for, but not all .*: {part} in {active} of \d+$"
    for kernels in (DEFAULT_LIGER_KERNELS, [part, "rope", "fused_linear_cross_entropy"]):
        others = {p: 0 for p in PRESENT if p not in kernels}
        with pytest.raises(LigerMismatch, match=expected):
            check_liger(parts(**others, **{part: active}), kernels, "llama")


def test_one_part_too_many_is_an_error() -> None:
    with pytest.raises(LigerMismatch, match="is active in the live model: rms_norm; nobody asked"):
        check_liger(parts(**dict.fromkeys(PRESENT, 0) | {"rms_norm": 1}), [], "llama")
    with pytest.raises(LigerMismatch, match="is active in the live model: rope; nobody asked"):
        check_liger(parts(swiglu=0, rope=1), ["rms_norm", "fused_linear_cross_entropy"], "llama")


@pytest.mark.parametrize(
    ("model_type", "left_out"),
    [
        ("phi3", {}),
        ("gemma3_text", {}),
        ("mixtral", {}),
        ("granite", {"fused_linear_cross_entropy": {"GraniteForCausalLM": 1}}),
        ("llama4_text", {"swiglu": {"Llama4TextExperts": 4}}),
        (
            "qwen3_next",
            {"swiglu": {"Qwen3NextMLP": 4}, "rope": {"Qwen3NextAttention": 1}},
        ),
    ],
)
def test_ligers_patch_reaches_all_parts_that_the_check_requires(
    model_type: str, left_out: dict[str, Any]
) -> None:
    found, _ = run_isolated(liger_parts, model_type, on_message=lambda message: None)
    assert found["mismatch"] is None
    assert found["not_liger"] == left_out
    for kernel in found["kernels"]:
        assert found["active"][kernel] == found["present"][kernel] > 0


def test_the_exceptions_are_of_architectures_that_liger_knows() -> None:
    assert LEFT_TO_TRANSFORMERS.keys() <= liger_architectures().keys()
