"""Liger's kernels in Triton's interpreter compute the same as the plain model."""

from __future__ import annotations

import pytest
from support.isolated_cpu import (
    bf16_is_refused,
    compare_with_plain_model,
    enable_after_triton,
    replacements_of_the_language,
)

from liger_benchmark.training.environment import visible_gpu
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated

pytestmark = pytest.mark.skipif(visible_gpu() is not None, reason="kernels are compiled here")


def nothing(message: object) -> None:
    pass


def test_loss_and_gradients_agree_with_the_plain_models() -> None:
    differences, _ = run_isolated(compare_with_plain_model, on_message=nothing)
    assert differences["loss"] < 5e-6
    assert differences["gradient"] < 5e-6
    assert differences["kernels_ran"] is True


def test_tritons_language_is_replaced_once_in_a_process() -> None:
    assert run_isolated(replacements_of_the_language, on_message=nothing)[0] == 1


def test_bf16_is_refused() -> None:
    with pytest.raises(ChildFailed, match="InvalidInput: .*set bf16: false"):
        run_isolated(bf16_is_refused, on_message=nothing)


def test_enabling_it_after_triton_was_imported_for_compilation_is_an_error() -> None:
    message, _ = run_isolated(enable_after_triton, on_message=nothing)
    assert "TRITON_INTERPRET=1" in message
