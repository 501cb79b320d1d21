"""Each setting takes effect: in the trainer's configuration, or where another test holds it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.trainer import sft_config

TESTS = Path(__file__).parents[1]
# Another valid value of each setting that the trainer is given, with the settings that it needs.
OTHER: dict[str, tuple[Any, dict[str, Any]]] = {
    "torch_compile": (True, {}),
    "torch_compile_mode": ("reduce-overhead", {"torch_compile": True}),
    "loss_type": ("trl", {}),
    "gradient_checkpointing": (True, {}),
    "max_seq_length": (64, {}),
    "packing": (True, {}),
    "packing_strategy": ("bfd_split", {"packing": True}),
    "padding_free": (True, {}),
    "bf16": (True, {}),
    "fp16": (True, {}),
    "autocast": (False, {"bf16": True}),
    "max_steps": (5, {}),
    "num_train_epochs": (2.0, {}),
    "optim": ("adamw_torch", {}),
    "per_device_train_batch_size": (3, {}),
    "per_device_eval_batch_size": (3, {}),
    "gradient_accumulation_steps": (2, {}),
    "eval_strategy": ("epoch", {}),
    "save_strategy": ("epoch", {}),
    "learning_rate": (1e-3, {}),
    "weight_decay": (0.01, {}),
    "max_grad_norm": (0.0, {}),
    "warmup_ratio": (0.5, {}),
    "lr_scheduler_type": ("linear", {}),
    "seed": (43, {}),
    "sharding": ("fsdp2", {}),
    "reshard_after_forward": (False, {"sharding": "fsdp2"}),
}
# The test that holds each of the others.
HELD_BY = {
    "model_name": "training/test_model.py",
    "dataset_name": "sources/test_fetch.py",
    "dataset_config": "sources/test_fetch.py",
    "dataset_split": "sources/test_fetch.py",
    "dataset_format": "training/test_row_formats.py",
    "columns": "training/test_row_columns.py",
    "use_liger": "training/test_condition.py",
    "liger_kernels": "training/test_model.py",
    "liger_chunk_mem_const": "test_planted_faults.py",
    "liger_implementation": "training/test_proof.py",
    "use_hub_kernels": "training/test_hub_kernels.py",
    "attn_implementation": "training/test_proof.py",
    "peft": "training/test_adapters.py",
    "lora_r": "training/test_adapters.py",
    "lora_alpha": "training/test_adapters.py",
    "lora_dropout": "training/test_adapters.py",
    "lora_target_modules": "training/test_adapters.py",
    "load_in_4bit": "training/test_adapters.py",
    "weights_dtype": "training/test_precision.py",
    "logging_steps": "test_arguments.py",
    "include_num_input_tokens_seen": "training/test_condition.py",
    "report_to": "flyte/test_wandb.py",
    "n_warmup_steps": "training/test_measurement.py",
    "n_gpus": "training/test_group_condition.py",
    "parallel_conditions": "flyte/test_parallel_conditions.py",
    "gpu_memory_limit_gib": "training/test_device.py",
    "require_idle_gpu": "training/test_device.py",
    "environment": "training/test_other_environment.py",
    "environments": "training/test_other_environment.py",
    "run": "experiment/test_grid.py",
    "arm_name": "experiment/test_grid.py",
}


def test_every_setting_is_the_trainers_or_is_held_by_another_test() -> None:
    fields = [field.name for field in dataclasses.fields(TrainingArguments)]
    assert sorted([*OTHER, *HELD_BY]) == sorted(fields)


@pytest.mark.parametrize("field", OTHER)
def test_another_value_of_a_setting_gives_the_trainer_another_configuration(field: str) -> None:
    value, needed = OTHER[field]
    plain = replace(TINY, **needed)
    assert getattr(plain, field) != value
    other = replace(plain, **{field: value})
    assert sft_config(other, Path("out")) != sft_config(plain, Path("out"))


@pytest.mark.parametrize("field", HELD_BY)
def test_a_setting_that_is_not_the_trainers_is_named_by_the_test_that_holds_it(field: str) -> None:
    source = (TESTS / HELD_BY[field]).read_text(encoding="utf-8")
    assert re.search(rf"\b{field}\b", source)


def test_lengths_and_the_schedule_reach_the_trainer_under_its_own_names() -> None:
    config = sft_config(replace(TINY, max_seq_length=64, warmup_ratio=0.5), Path("out"))
    assert (config["max_length"], config["warmup_steps"]) == (64, 0.5)


SAME_NAME = [field for field in OTHER if field in sft_config(TINY, Path("out"))]


@pytest.mark.parametrize("field", sorted({*SAME_NAME} - {"bf16", "loss_type"}))
def test_a_setting_reaches_the_trainer_with_its_value(field: str) -> None:
    value, needed = OTHER[field]
    config = sft_config(replace(TINY, **needed, **{field: value}), Path("out"))
    assert config[field] == value
