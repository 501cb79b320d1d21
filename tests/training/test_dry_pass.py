"""What would fail in every run, or make the arms two models, is found before the first one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.isolated_models import difference_of_arms
from support.tiny import TINY

from liger_benchmark.catalog import MODELS
from liger_benchmark.training import dry_pass, environment
from liger_benchmark.training.isolated_process import run_isolated
from liger_benchmark.training.meta_model import Shape, build, difference
from liger_benchmark.validation import InvalidInput

ARMS = [replace(TINY, use_liger=use_liger) for use_liger in (True, False)]
LLAMA = MODELS["llama-tiny"]


@pytest.fixture
def folder(tmp_path: Path, model_folder: Path) -> Path:
    """A model's folder, whose config.json a test writes."""
    shutil.copytree(model_folder, tmp_path / "model")
    return tmp_path / "model"


def write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_grid_that_fits_says_what_became_of_the_rows(
    dataset_folder: Path, model_folder: Path
) -> None:
    lines = dry_pass.check_grid(ARMS, dataset_folder, model_folder)
    assert lines == ["data: 512 rows read, 512 usable; of 6 used, 100% cut at 32 tokens"]


def test_the_kernel_that_makes_another_model_is_named(dataset_folder: Path, folder: Path) -> None:
    write(folder, LLAMA | {"mlp_bias": True})
    with pytest.raises(InvalidInput) as error:
        dry_pass.check_grid(ARMS, dataset_folder, folder)
    assert str(error.value) == (
        "training_args.liger_kernels: Liger's swiglu would make this another model, or cannot "
        "build it (it lacks model.layers.0.mlp.down_proj.bias and 5 more (139,584 parameters "
        "instead of 140,224)); leave it out: set liger_kernels: [rope, rms_norm, "
        "fused_linear_cross_entropy]"
    )
    without = [replace(each, liger_kernels=["rope", "rms_norm"]) for each in ARMS]
    assert dry_pass.check_grid(without, dataset_folder, folder)


def test_a_bias_of_the_head_that_a_loss_lacks_is_found_before_any_run(
    dataset_folder: Path, folder: Path
) -> None:
    """Phi-1's architecture has one."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    tokens = {"vocab_size": 512, "bos_token_id": 1, "eos_token_id": 2}
    write(folder, {"model_type": "phi", "num_attention_heads": 4, **sizes, **tokens})
    dry_pass.check_grid([TINY], dataset_folder, folder)
    with pytest.raises(InvalidInput, match="loss_type: cce lacks the bias"):
        dry_pass.check_grid([replace(TINY, loss_type="cce", bf16=True)], dataset_folder, folder)


def arms(folder: Path, kernels: tuple[str, ...] = ("swiglu",)) -> str | None:
    return run_isolated(difference_of_arms, folder, kernels, on_message=lambda message: None)[0]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA, None),
        (LLAMA | {"hidden_act": "gelu"}, "Activation function gelu not supported"),
        (
            MODELS["gemma3-tiny"] | {"hidden_activation": "silu"},
            "LigerGEGLUMLP in model.layers.0.mlp always computes GELUTanh instead of SiLU",
        ),
    ],
    ids=["llama", "gelu", "gemma with silu"],
)
def test_an_arm_that_would_compute_another_model_is_found(
    config: dict[str, Any], expected: str | None, folder: Path
) -> None:
    found = arms(write(folder, config))
    assert found == expected or (expected is not None and expected in str(found))


def test_parameters_are_compared_by_name_and_shape() -> None:
    vanilla = Shape("llama", {"a": (2, 3), "b": (3,)})
    assert difference(vanilla, Shape("llama", dict(vanilla.parameters))) is None
    lacking = difference(vanilla, Shape("llama", {"a": (2, 3)}))
    assert lacking == "it lacks b (6 parameters instead of 9)"
    more = difference(vanilla, Shape("llama", vanilla.parameters | {"c": (1,), "d": (1,)}))
    assert more == "it adds c and 1 more (11 parameters instead of 9)"
    other = difference(vanilla, Shape("llama", vanilla.parameters | {"a": (3, 2)}))
    assert other == "a is [3, 2] instead of [2, 3]"


def test_experts_that_need_a_gpu_are_refused_without_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LLAMA | {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}
    write(folder, config | {"num_local_experts": 2})
    vanilla = build(folder, None)
    experts = Shape("mixtral", vanilla.parameters, liger_modules={"mlp": "LigerExperts"})
    monkeypatch.setattr(dry_pass, "run_isolated", lambda *args, **_: (experts, {}))
    monkeypatch.setattr(environment, "visible_gpu", lambda: None)
    with pytest.raises(InvalidInput, match=r"experts .* need a GPU.*set liger_kernels: \[rope"):
        dry_pass.check_arm(ARMS[0], folder, vanilla)
    monkeypatch.setattr(environment, "visible_gpu", lambda: "NVIDIA H100")
    dry_pass.check_arm(ARMS[0], folder, vanilla)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            LLAMA | {"vocab_size": 300},
            r"gives the dataset's rows the token id \d+ and the mod",
        ),
        (LLAMA | {"num_attention_heads": 5}, "cannot be used: .*hidden size .* is not a multiple"),
        (LLAMA | {"model_type": "what"}, "cannot be used: ValueError: .* `what`"),
    ],
)
def test_a_model_or_tokenizer_that_does_not_fit_is_one_line(
    config: dict[str, Any], message: str, folder: Path, dataset_folder: Path
) -> None:
    with pytest.raises(InvalidInput, match=f"^training_args.model_name: .*{message}") as error:
        dry_pass.check_grid(ARMS, dataset_folder, write(folder, config))
    assert "\n" not in str(error.value)
