"""The dtypes of weights and arithmetic, and optimisers that hold their state in 8 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.analysis.gradient_difference import gradient_difference
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import COMPLETED
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.gradients import gradient_fingerprint
from liger_benchmark.training.proof import mismatch
from liger_benchmark.training.triton_interpreter import check_without_gpu
from liger_benchmark.validation import InvalidInput


@pytest.mark.parametrize(
    ("settings", "dtype", "autocast"),
    [
        ({"bf16": True}, "bfloat16", "bf16"),
        ({"bf16": True, "weights_dtype": "fp32"}, "float32", "bf16"),
        ({"bf16": False}, "float32", "no"),
    ],
)
def test_weights_and_arithmetic_are_those_of_the_arm(
    settings: dict[str, Any],
    dtype: str,
    autocast: str,
    dataset_folder: Path,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    run = run_condition(replace(TINY, **settings), dataset_folder, model_folder, tmp_path)
    assert run.outcome == COMPLETED
    assert run.record["weights"]["dtype"] == run.record["proof"]["weights_dtype"] == dtype
    assert run.record["proof"]["autocast"] == autocast


def test_an_optimizer_in_8_bits_is_live(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    arguments = replace(TINY, optim="adamw_8bit")
    run = run_condition(arguments, dataset_folder, model_folder, tmp_path)
    assert run.record["proof"]["optimizer"] == "bitsandbytes.optim.adamw.AdamW"
    assert run.record["proof"]["weights_changed"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fp16": True}, "fp16: true and bf16: true exclude each other"),
        (
            {"sharding": "fsdp2", "weights_dtype": "fp32"},
            "sharding: fsdp2 has no autocast, which bf16 on fp32 weights needs",
        ),
        ({"sharding": "fsdp2", "fp16": True, "bf16": False}, "sharding: fsdp2 has no autocast"),
        ({"weights_dtype": "bf16", "bf16": False}, "weights_dtype: bf16 needs bf16: true"),
    ],
)
def test_dtypes_that_exclude_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        TrainingArguments(**settings)


@pytest.mark.parametrize(
    "settings", [{"fp16": True, "bf16": False}, {"attn_implementation": "flash_attention_2"}]
)
def test_what_needs_a_gpu_is_refused_without_one(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="needs a GPU and there is none"):
        check_without_gpu(replace(TINY, **settings))


def test_a_dtype_that_is_not_live_is_named() -> None:
    mixed = replace(TINY, bf16=True, weights_dtype="fp32")
    assert mixed.precision == "bf16 on fp32 weights"
    assert mismatch({"weights_dtype": "bfloat16"}, mixed) == (
        "bf16 on fp32 weights was asked for, and the live weights are bfloat16"
    )
    assert mismatch({"autocast": "no"}, mixed) == (
        "bf16 on fp32 weights was asked for, and autocast's dtype is no"
    )


def test_a_fingerprint_is_without_the_scale_of_the_loss() -> None:
    import torch

    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(64, 8))
    weight.grad = torch.randn(64, 8)
    plain = gradient_fingerprint([("w", weight)])
    weight.grad *= 1024.0
    scaled = gradient_fingerprint([("w", weight)], loss_scale=1024.0)
    difference = gradient_difference(scaled, plain, bf16=False)  # type: ignore[arg-type]
    assert not difference.above_bound
