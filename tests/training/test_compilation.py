"""torch.compile computes what it should, also from a warm cache and beside Liger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.isolated_compilation import (
    compile_what_attention_is_made_of,
    prepared_until_the_model_is_loaded,
    without_ligers_losses,
)
from support.tiny import TINY

from liger_benchmark.training.environment import visible_gpu
from liger_benchmark.training.isolated_process import run_isolated


def nothing(message: object) -> None:
    pass


def test_a_second_process_finds_no_garbage_in_the_cache(tmp_path: Path) -> None:
    """With AOTAutograd's cache on, such processes often crash or fail: PyTorch's issue 185630."""
    for _ in range(2):
        found, _ = run_isolated(
            compile_what_attention_is_made_of, str(tmp_path), on_message=nothing
        )
        assert found["difference"] < 1e-5
        assert found["cached"] is False


@pytest.mark.parametrize(
    ("torch_compile", "use_liger", "prepared"),
    [(False, False, []), (True, False, [False]), (True, True, [True])],
)
def test_a_compiled_condition_is_prepared_for_before_its_model_is_loaded(
    torch_compile: bool,
    use_liger: bool,
    prepared: list[bool],
    dataset_folder: Path,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    arguments = replace(TINY, torch_compile=torch_compile, use_liger=use_liger)
    calls, _ = run_isolated(
        prepared_until_the_model_is_loaded,
        *(arguments, dataset_folder, model_folder, tmp_path),
        on_message=nothing,
    )
    assert calls == prepared


@pytest.mark.skipif(visible_gpu() is not None, reason="triton is set up for a CPU here")
def test_ligers_losses_are_stepped_around() -> None:
    traced, _ = run_isolated(without_ligers_losses, on_message=nothing)
    assert traced == []
