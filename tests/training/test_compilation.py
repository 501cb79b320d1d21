"""torch.compile computes the right values, also from a warm cache and with Liger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.isolated_compilation import (
    compile_attention,
    prepare_calls_before_loading,
    traced_liger_losses,
)
from support.tiny import TINY

from liger_benchmark.training.environment import visible_gpu
from liger_benchmark.training.isolated_process import run_isolated


def nothing(message: object) -> None:
    pass


def test_a_second_process_reads_no_corrupt_cache_entry(tmp_path: Path) -> None:
    """With AOTAutograd's cache on, such processes often crash or fail: PyTorch's issue 185630."""
    for _ in range(2):
        found, _ = run_isolated(compile_attention, str(tmp_path), on_message=nothing)
        assert found["difference"] < 1e-5
        assert found["cached"] is False


@pytest.mark.parametrize(
    ("torch_compile", "use_liger", "prepared"),
    [(False, False, []), (True, False, [False]), (True, True, [True])],
)
def test_compilation_is_prepared_before_the_model_is_loaded(
    torch_compile: bool,
    use_liger: bool,
    prepared: list[bool],
    dataset_folder: Path,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    arguments = replace(TINY, torch_compile=torch_compile, use_liger=use_liger)
    calls, _ = run_isolated(
        prepare_calls_before_loading,
        *(arguments, dataset_folder, model_folder, tmp_path),
        on_message=nothing,
    )
    assert calls == prepared


@pytest.mark.skipif(visible_gpu() is not None, reason="triton is set up for a CPU here")
def test_ligers_losses_are_not_compiled() -> None:
    traced, _ = run_isolated(traced_liger_losses, on_message=nothing)
    assert traced == []
