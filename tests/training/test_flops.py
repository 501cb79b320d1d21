"""FLOPs for MFU: weights trained and frozen, attention by pairs, recomputation and padding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.analysis.hardware import Hardware
from liger_benchmark.analysis.runs_table import table_of_runs
from liger_benchmark.run import Run
from liger_benchmark.training.adapters import add_adapters
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.flops import attended_pairs, flops_per_token, windows
from liger_benchmark.training.model import load_model, n_active_parameters


@pytest.fixture
def model(model_folder: Path) -> Any:
    return load_model(model_folder, use_liger=False, bf16=False, seed=1, device="cpu")


def test_all_weights_trained_take_six_flops_each_and_attention_twelve_a_pair(model: Any) -> None:
    found = flops_per_token(model, TINY, {100: 2, 10: 4}, n_tokens=240)
    pairs = 2 * 2 * 100 * 101 / 2 + 2 * 4 * 10 * 11 / 2  # in two layers, with a window of 2047
    attention = 12 * 64 * pairs / 240
    assert found["attention"] == pytest.approx(attention)
    assert found["model"] == pytest.approx(6 * n_active_parameters(model) + attention)
    assert found["hardware"] == found["model"]


def test_attention_over_a_full_sequence_is_half_of_palms(model: Any) -> None:
    length = 1000
    found = flops_per_token(model, TINY, {length: 1}, n_tokens=length)
    palm = 12 * 2 * 4 * 16 * length  # 12 · layers · heads · dimension · length
    assert found["attention"] == pytest.approx(palm / 2, rel=2e-3)


def test_checkpointing_and_padding_count_for_the_hardware_alone(model: Any) -> None:
    plain = flops_per_token(model, TINY, {32: 1}, n_tokens=32)
    again = flops_per_token(model, replace(TINY, gradient_checkpointing=True), {32: 1}, n_tokens=32)
    assert again["model"] == plain["model"]
    without_head = n_active_parameters(model) - 512 * 64
    extra = 2 * without_head + plain["attention"] / 3
    assert again["hardware"] == pytest.approx(plain["hardware"] + extra)
    padded = flops_per_token(model, TINY, {32: 1}, n_tokens=64)
    assert padded["model"] == plain["model"]
    assert padded["hardware"] > 1.9 * plain["hardware"]


def test_frozen_weights_take_four_flops(model: Any) -> None:
    pytest.importorskip("peft")
    frozen = n_active_parameters(model)
    arguments = replace(TINY, peft="lora", lora_r=2)
    adapted = add_adapters(model, arguments)
    adapters = n_active_parameters(adapted) - frozen
    found = flops_per_token(adapted, arguments, {32: 1}, n_tokens=32)
    assert found["model"] - found["attention"] == 4 * frozen + 6 * adapters


def test_pairs_are_causal_and_within_the_window() -> None:
    assert attended_pairs(4, None) == 1 + 2 + 3 + 4
    assert attended_pairs(4, 2) == 1 + 2 + 2 + 2
    assert attended_pairs(4, 9) == attended_pairs(4, 4) == 10


def test_each_layer_has_its_own_window() -> None:
    import transformers

    config = transformers.Gemma3TextConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    assert list(windows(transformers.AutoModelForCausalLM.from_config(config))) == [16, None]


def test_a_run_records_them_and_mfu_follows_from_real_tokens(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    run = run_condition(TINY, dataset_folder, model_folder, tmp_path)
    flops = run.record["flops"]
    assert 0 < flops["attention"] < flops["model"] <= flops["hardware"]
    rounded = Run(replace(TINY, bf16=True), run.outcome, run.history, run.record)
    gpu = Hardware("NVIDIA H100", 989.4)
    table = table_of_runs([rounded], gpu, "total_peak_resident_set_MB")
    real = run.history["avg_real_tokens_per_second"].iloc[-1]
    assert table.loc[0, "mfu"] == pytest.approx(flops["model"] * real / 989.4e12)
    assert table.loc[0, "hfu"] == pytest.approx(flops["hardware"] * real / 989.4e12)


def test_rates_are_those_of_real_tokens_where_an_arm_is_packed(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    run = run_condition(TINY, dataset_folder, model_folder, tmp_path)
    history = run.history.assign(
        avg_tokens_per_second=100.0,
        avg_real_tokens_per_second=50.0,
        avg_loop_tokens_per_second=90.0,
    )
    for packing, speed, loop in ((False, 100.0, 90.0), (True, 50.0, 45.0)):
        arguments = replace(TINY, packing=packing)
        table = table_of_runs(
            [Run(arguments, run.outcome, history, run.record)],
            Hardware("CPU", None),
            "total_peak_resident_set_MB",
        )
        assert table.loc[0, "avg_tokens_per_second"] == speed
        assert table.loc[0, "avg_loop_tokens_per_second"] == loop
        assert (table.loc[0, "padded_tokens_per_second"] == 100.0) == packing
