"""LoRA and QLoRA on tiny models: what is trained, that it is proved live, and faults under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.planted import run_planted
from support.tiny import SHORT, TINY

from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import VANILLA
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import arms_of
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.training import optional_packages
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.proof import mismatch
from liger_benchmark.validation import InvalidInput

pytest.importorskip("peft")
# Three steps: A is trained from the second on, and shows in the losses from the third.
LORA = replace(SHORT, peft="lora", lora_r=4, optim="adamw_torch", max_steps=3)
LIVE = {
    "adapted_layers": 8,
    "adapter_parameters": 1000,
    "other_parameters": 0,
    "layers_in_4bit": 0,
    "lora": [[4, 8.0, 0.0]],
}
# Elements of A (rank x in) and B (out x rank) in a layer of the tiny Phi-3, of hidden size 64.
QKV = 4 * (64 + 3 * 64)
ATTENTION_OUTPUT = 4 * (64 + 64)
GATE_AND_UP = 4 * (64 + 2 * 128)
DOWN = 4 * (128 + 64)


@pytest.fixture(scope="module")
def runs(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    conditions = {VANILLA: LORA, "Liger": replace(LORA, use_liger=True)}
    folder = tmp_path_factory.mktemp("output")
    return {
        name: run_condition(arguments, dataset_folder, model_folder, folder / name)
        for name, arguments in conditions.items()
    }


def test_only_the_adapters_are_trained(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert run.outcome == COMPLETED
        proof, weights = run.record["proof"], run.record["weights"]
        # Phi-3 has four linear layers in each of its two layers.
        assert proof["adapted_layers"] == 8
        assert proof["other_parameters"] == 0
        assert proof["lora"] == [[4, 32 / 4, 0.0]]
        adapters = 2 * (QKV + ATTENTION_OUTPUT + GATE_AND_UP + DOWN)
        assert proof["adapter_parameters"] == weights["n_trainable_parameters"] == adapters
        assert weights["n_parameters"] == 147776 + weights["n_trainable_parameters"]
        assert proof["weights_changed"]
        assert set(run.record["gradients"]) and all(
            ".lora_" in name for name in run.record["gradients"]
        )


def test_targets_scale_and_dropout_are_live(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = replace(
        LORA, lora_target_modules=["qkv_proj"], lora_alpha=2, lora_dropout=0.25, max_steps=2
    )
    proof = run_condition(arguments, dataset_folder, model_folder, tmp_path).record["proof"]
    assert proof["adapted_layers"] == 2
    assert proof["adapter_parameters"] == 2 * QKV
    assert proof["lora"] == [[4, 2 / 4, 0.25]]


def test_arms_with_adapters_agree_and_are_valid(runs: dict[str, Run]) -> None:
    assert invalid_reasons(list(runs.values()), VANILLA) == {}
    one, other = (run.record for run in runs.values())
    assert one["weights"]["checksum"] == other["weights"]["checksum"]


def test_at_the_first_step_b_alone_has_gradients(runs: dict[str, Run]) -> None:
    for name, numbers in runs[VANILLA].record["gradients"].items():
        assert (numbers[0] > 0) == (".lora_B." in name), name


@pytest.mark.parametrize(
    "fault", ["RoPE left out", "ReLU for SiLU", "one MLP left out", "loss times 1.05"]
)
def test_a_fault_in_the_base_model_is_caught_under_adapters(
    fault: str, runs: dict[str, Run], dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    run = run_planted(fault, LORA, dataset_folder, model_folder, tmp_path)
    reasons = invalid_reasons([run, runs[VANILLA]], VANILLA)
    assert "gradients at the first step differ" in reasons[fault, 1]


def test_weights_in_4_bits_are_trained_through_adapters(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    run = run_condition(replace(LORA, load_in_4bit=True), dataset_folder, model_folder, tmp_path)
    assert run.outcome == COMPLETED
    assert run.record["proof"]["layers_in_4bit"] == 8
    assert run.record["proof"]["weights_changed"]
    weights = run.record["weights"]
    assert weights["n_parameters"] == 147776 + weights["n_trainable_parameters"]


@pytest.mark.parametrize(
    ("settings", "facts", "problem"),
    [
        ({}, {"adapted_layers": 0}, "peft: lora was asked for, and no layer trains an adapter"),
        (
            {},
            {"other_parameters": 64},
            "peft: lora was asked for, and 64 other parameters are trained besides the adapters",
        ),
        (
            {},
            {"lora": [[4, 8.0, 0.0], [16, 2.0, 0.0]]},
            "lora_r: 4 was asked for, and an adapter's rank is 16",
        ),
        (
            {"lora_alpha": 2},
            {},
            "lora_alpha: 2 with lora_r: 4 is a scale of 0.5, and an adapter's is 8",
        ),
        (
            {"lora_dropout": 0.1},
            {},
            "lora_dropout: 0.1 was asked for, and an adapter's is 0",
        ),
        (
            {"peft": None},
            {},
            "peft: null was asked for, and 8 layers have adapters",
        ),
        (
            {"load_in_4bit": True},
            {},
            "load_in_4bit: true was asked for, and 0 layers hold their weights in 4 bits",
        ),
        (
            {},
            {"layers_in_4bit": 8},
            "load_in_4bit: false was asked for, and 8 layers hold their weights in 4 bits",
        ),
    ],
)
def test_a_contradiction_names_the_setting(
    settings: dict[str, Any], facts: dict[str, int], problem: str
) -> None:
    assert mismatch(LIVE | facts, replace(LORA, **settings)) == problem


def test_adapters_that_are_as_asked_for_contradict_nothing() -> None:
    assert mismatch(LIVE, LORA) is None
    third = replace(LORA, lora_r=3, lora_alpha=1, lora_dropout=0.1)
    assert mismatch(LIVE | {"lora": [[3, 1 / 3, 0.1]]}, third) is None
    of_an_old_record = {name: fact for name, fact in LIVE.items() if name != "lora"}
    assert mismatch(of_an_old_record, third) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"load_in_4bit": True}, "load_in_4bit: true needs adapters"),
        ({"peft": "lora", "lora_target_modules": []}, "leaves no layer to adapt"),
        (
            {"peft": "lora", "lora_target_modules": ["all-linear", "q_proj"]},
            "all-linear stands for all layers",
        ),
        ({"peft": "dora"}, "is not one of lora"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        TrainingArguments(**settings)


def test_settings_of_adapters_make_no_arms_without_adapters() -> None:
    arms = arms_of(
        ExperimentArguments(use_liger=[False], peft=[None, "lora"], lora_r=[8, 64]),
    )
    assert list(arms) == ["vanilla", "vanilla + lora + lora_r=8", "vanilla + lora + lora_r=64"]


@pytest.mark.parametrize(
    ("settings", "package"),
    [
        ({"peft": "lora"}, "peft"),
        ({"peft": "lora", "load_in_4bit": True}, "peft"),
        ({"optim": "paged_adamw_8bit"}, "bitsandbytes"),
        ({"optim": "galore_adamw"}, "galore-torch"),
        ({"attn_implementation": "flash_attention_2"}, "flash-attn"),
    ],
)
def test_a_missing_package_is_named_in_one_line(
    settings: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional_packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput) as refusal:
        optional_packages.check_packages(replace(TINY, **settings))
    assert f"needs the package {package}, which is not installed" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_settings_that_need_no_package_are_not_refused() -> None:
    optional_packages.check_packages(replace(TINY, optim="adamw_torch_fused"))
