"""The recommended code: names that the pinned libraries have, and all that makes the arm."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import pytest

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.experiment.axes import AXES
from liger_benchmark.report.settings_as_code import limits_of_code, lines_of_code

LORA = {"peft": "lora"}
# For each axis a value that is not the default, with what it needs beside it in both arms.
OTHER: dict[str, tuple[Any, dict[str, Any]]] = {
    "use_liger": (True, {}),
    "liger_kernels": (["rope"], {"use_liger": True}),
    "torch_compile": (True, {}),
    "torch_compile_mode": ("max-autotune", {"torch_compile": True}),
    "loss_type": ("chunked_nll", {}),
    "liger_chunk_mem_const": (4, {"use_liger": True}),
    "liger_implementation": ("cutedsl", {"use_liger": True}),
    "use_hub_kernels": (True, {}),
    "attn_implementation": ("flex_attention", {}),
    "gradient_checkpointing": (True, {}),
    "peft": ("lora", {}),
    "lora_r": (64, LORA),
    "lora_alpha": (64, LORA),
    "lora_dropout": (0.1, LORA),
    "lora_target_modules": (["q_proj"], LORA),
    "load_in_4bit": (True, LORA),
    "optim": ("galore_adamw", {}),
    "max_seq_length": (2048, {}),
    "packing": (True, {"attn_implementation": "flex_attention"}),
    "packing_strategy": (
        "bfd_split",
        {"packing": True, "attn_implementation": "flex_attention"},
    ),
    "padding_free": (True, {"attn_implementation": "flash_attention_2"}),
    "gradient_accumulation_steps": (4, {}),
    "bf16": (False, {}),
    "fp16": (True, {"bf16": False}),
    "weights_dtype": ("fp32", {}),
    "autocast": (False, {}),
    "learning_rate": (1e-5, {}),
    "weight_decay": (0.0, {}),
    "max_grad_norm": (0.0, {}),
    "warmup_ratio": (0.2, {}),
    "lr_scheduler_type": ("linear", {}),
    "dataset_format": ("messages", {}),
    "max_steps": (80, {}),
    "n_warmup_steps": (5, {}),
    "num_train_epochs": (2.0, {}),
    "per_device_eval_batch_size": (8, {}),
    "eval_strategy": ("steps", {}),
    "save_strategy": ("steps", {}),
    "include_num_input_tokens_seen": (False, {}),
    "seed": (7, {}),
    "n_gpus": (2, {}),
    "sharding": ("fsdp2", {}),
    "reshard_after_forward": (False, {"sharding": "fsdp2"}),
    "gpu_memory_limit_gib": (39.0, {}),
    "environment": ("old", {"environments": {"old": "requirements.txt"}}),
}


def arms(axis: str) -> tuple[TrainingArguments, TrainingArguments]:
    """An arm with another value on the axis, and its baseline."""
    value, both = OTHER[axis]
    return TrainingArguments(**both | {axis: value}), TrainingArguments(**both)


def keywords(code: tuple[str, ...]) -> dict[str, list[str]]:
    """By the called function's name the keywords of its arguments."""
    calls = [node for text in code for node in ast.walk(ast.parse(text))]
    return {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id: [  # type: ignore[attr-defined]
            str(keyword.arg) for keyword in node.keywords
        ]
        for node in calls
        if isinstance(node, ast.Call)
    }


@pytest.mark.parametrize("axis", OTHER)
def test_every_argument_in_the_code_is_one_of_the_installed_libraries(axis: str) -> None:
    import peft
    import transformers
    import trl

    found = keywords(lines_of_code(*arms(axis)))
    for function, of in {
        "TrainingArguments": transformers.TrainingArguments,
        "SFTConfig": trl.SFTConfig,
        "LoraConfig": peft.LoraConfig,
    }.items():
        assert set(found.get(function, ())) <= {f.name for f in dataclasses.fields(of)}
    assert set(found.get("from_pretrained", ())) <= {
        *("attn_implementation", "dtype", "quantization_config", "use_kernels"),
    }


@pytest.mark.parametrize("axis", [a for a in AXES if a not in (BATCH_SIZE, "logging_steps")])
def test_every_setting_is_in_the_code_or_named_beside_it(axis: str) -> None:
    arm, baseline = arms(axis)
    code, limits = lines_of_code(arm, baseline), limits_of_code(arm, baseline)
    assert code or f"The code leaves out {axis}: " in limits
    assert not (code and axis in limits)


@pytest.mark.parametrize(
    ("settings", "baseline", "code"),
    [
        ({"warmup_ratio": 0.2}, {}, "SFTConfig(..., warmup_steps=0.2)"),
        ({"autocast": False}, {}, "SFTConfig(..., bf16=False)"),
        ({"weights_dtype": "fp32"}, {}, "from_pretrained(..., dtype=torch.float32)"),
        (
            {"packing": True, "attn_implementation": "flex_attention"},
            {},
            "SFTConfig(..., packing=True)",
        ),
        (
            {"sharding": "fsdp2", "gradient_checkpointing": True},
            {"gradient_checkpointing": True},
            "SFTConfig(..., bf16=False, gradient_checkpointing=False, fsdp=True, fsdp_config="
            "{'version': 2, 'reshard_after_forward': True, 'activation_checkpointing': True})",
        ),
        (
            LORA,
            {},
            "get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, "
            'target_modules="all-linear", task_type="CAUSAL_LM"))',
        ),
        (LORA | {"load_in_4bit": True}, LORA, "quantization_config=BitsAndBytesConfig(load_in_4"),
        ({"use_hub_kernels": True}, {}, "from_pretrained(..., use_kernels=True)"),
    ],
)
def test_what_the_code_says(settings: dict[str, Any], baseline: dict[str, Any], code: str) -> None:
    lines = lines_of_code(TrainingArguments(**settings), TrainingArguments(**baseline))
    assert any(code in line for line in lines)


def test_what_an_arm_gives_up_is_said_beside_the_code() -> None:
    plain = TrainingArguments()
    assert limits_of_code(plain, TrainingArguments(sharding="fsdp2")) == (
        "It is without fsdp and fsdp_config."
    )
    assert limits_of_code(plain, TrainingArguments(peft="lora")) == "It is without the adapters."


def test_a_default_of_ligers_kernels_is_named_where_the_baseline_has_others() -> None:
    liger = TrainingArguments(use_liger=True)
    some = TrainingArguments(use_liger=True, liger_kernels=["rope"])
    assert "liger_kernel_config={'rope': True, 'rms_norm': True" in lines_of_code(liger, some)[0]
    assert lines_of_code(liger, TrainingArguments())[0].endswith("(..., use_liger_kernel=True)")
