"""Arms beside Liger: they compute the same, and what runs is what their name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY

from liger_benchmark.arguments import DEFAULT_LIGER_KERNELS, InvalidInput, TrainingArguments
from liger_benchmark.isolation import ChildFailed
from liger_benchmark.model import check_liger, liger_switches
from liger_benchmark.runs import Run
from liger_benchmark.training import run_condition, sft_config

ARMS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "chunked": {"loss_type": "chunked_nll"},
    "eager": {"attn_implementation": "eager"},
    "checkpointing": {"gradient_checkpointing": True},
    "compiled": {"torch_compile": True},
    "rope": {"use_liger": True, "liger_kernels": ["rope"]},
    "rms_norm": {"use_liger": True, "liger_kernels": ["rms_norm"]},
    "swiglu": {"use_liger": True, "liger_kernels": ["swiglu"]},
    "cross_entropy": {"use_liger": True, "liger_kernels": ["cross_entropy"]},
    "chunked with Liger": {
        "use_liger": True,
        "liger_kernels": ["rms_norm"],
        "loss_type": "chunked_nll",
    },
}


@pytest.fixture(scope="module")
def runs(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    output = tmp_path_factory.mktemp("arms")
    return {
        name: run_condition(replace(TINY, **settings), dataset_folder, model_folder, output / name)
        for name, settings in ARMS.items()
    }


@pytest.mark.parametrize("name", [name for name in ARMS if name != "vanilla"])
def test_every_arm_computes_what_vanilla_computes(runs: dict[str, Run], name: str) -> None:
    arm, vanilla = runs[name].history, runs["vanilla"].history
    assert (arm["loss"] - vanilla["loss"]).abs().max() < 1e-4
    assert (arm["grad_norm"] - vanilla["grad_norm"]).abs().max() < 1e-3
    assert runs[name].record["weights"]["checksum"] == runs["vanilla"].record["weights"]["checksum"]


@pytest.mark.parametrize("name", ["rope", "rms_norm", "swiglu"])
def test_a_single_kernel_is_active_alone(runs: dict[str, Run], name: str) -> None:
    record = runs[name].record["liger"]
    active = {part for part, count in record.items() if part != "parts" and count}
    assert active == {name}


def test_the_attention_is_recorded(runs: dict[str, Run]) -> None:
    assert runs["eager"].record["weights"]["attn_implementation"] == "eager"
    assert runs["vanilla"].record["weights"]["attn_implementation"] == "sdpa"


def test_settings_reach_the_trainer(tmp_path: Path) -> None:
    arguments = replace(
        TINY, torch_compile=True, gradient_checkpointing=True, loss_type="chunked_nll"
    )
    config = sft_config(arguments, tmp_path)
    assert (config["torch_compile"], config["gradient_checkpointing"]) == (True, True)
    assert config["loss_type"] == "chunked_nll"


def test_kernels_go_by_the_architectures_own_names() -> None:
    assert liger_switches("phi3", ["swiglu"]) == {
        "rope": False,
        "rms_norm": False,
        "swiglu": True,
        "fused_linear_cross_entropy": False,
        "cross_entropy": False,
    }
    assert liger_switches("gemma2", ["swiglu"])["geglu"] is True


def test_a_kernel_that_an_architecture_lacks_is_an_error_that_lists_those_it_has() -> None:
    with pytest.raises(InvalidInput, match="no rope for 'nemotron'; it has fused") as error:
        liger_switches("nemotron", ["rope"])
    assert "\n" not in str(error.value)
    # Its default set is what there is of it.
    assert liger_switches("nemotron", list(DEFAULT_LIGER_KERNELS)) == {
        "fused_linear_cross_entropy": True,
        "cross_entropy": False,
    }


def test_a_model_in_which_other_kernels_run_than_asked_for_is_refused() -> None:
    parts = {"present": {"rope": 2, "rms_norm": 5}, "active": {"rope": 2, "rms_norm": 0}}
    check_liger(parts, ["rope"])
    with pytest.raises(RuntimeError, match="rms_norm asked for"):
        check_liger(parts, ["rope", "rms_norm"])
    with pytest.raises(RuntimeError, match="active in the live model: rope"):
        check_liger(parts, [])


def test_compiling_liger_without_a_gpu_is_one_line(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments: TrainingArguments = replace(TINY, use_liger=True, torch_compile=True)
    with pytest.raises(ChildFailed, match="torch_compile: true with use_liger needs a GPU"):
        run_condition(arguments, dataset_folder, model_folder, tmp_path)
