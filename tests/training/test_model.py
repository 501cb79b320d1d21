"""Llama, Qwen, Gemma and Mistral, as tiny random models, through the whole workflow."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark import catalog
from liger_benchmark.analysis.hardware import SMOKE_MODELS
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.experiment.preflight import check_model
from liger_benchmark.flyte import conditions, local_run
from liger_benchmark.run import COMPLETED, Run, read_run
from liger_benchmark.sources.fetch import fetch_model
from liger_benchmark.training import activation
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import ChildFailed, summary
from liger_benchmark.training.liger_kernels import liger_architectures
from liger_benchmark.training.model import n_active_parameters

PROJECT = Path(__file__).parents[2]
# How many norms a layer has, besides the one after the last layer.
NORMS = {"llama": 2, "mistral": 2, "qwen3": 4, "gemma3": 6}


@pytest.fixture(autouse=True)
def build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    return tmp_path / "build"


def runs_of(results: list[Any]) -> list[Run]:
    return [read_run(Path(result.record.path).parent) for result in results]


def check_arms(liger: Run, vanilla: Run, family: str) -> None:
    """Both start from the same and compute the same, and just one of them with Liger."""
    assert liger.training_args.use_liger and not vanilla.training_args.use_liger
    for column in ("loss", "grad_norm"):
        with_kernels, plain = liger.history[column], vanilla.history[column]
        assert ((with_kernels - plain).abs() / plain).max() < 1e-5
    for part in ("weights", "dataset"):
        assert liger.record[part]["checksum"] == vanilla.record[part]["checksum"]
    present = {
        "rms_norm": 2 * NORMS[family] + 1,
        "swiglu": 2,
        "rope": 2,
        "fused_linear_cross_entropy": 1,
    }
    for run, active in ((liger, present), (vanilla, dict.fromkeys(present, 0))):
        assert {part: run.record["liger"]["parts"][part] for part in present} == present
        assert {part: run.record["liger"][part] for part in present} == active


@pytest.mark.parametrize(
    ("family", "dataset", "dataset_format"),
    [
        ("mistral", "prompt-completion", "prompt_completion"),
        ("qwen3", "chat", "messages"),
        ("gemma3", "instructions", "text"),
    ],
)
def test_each_family_goes_through_the_workflow_and_computes_the_same_in_both_arms(
    family: str, dataset: str, dataset_format: str, build_folder: Path
) -> None:
    arguments = replace(
        TINY,
        model_name=f"builtin:{family}-tiny",
        dataset_name=f"builtin:{dataset}",
        dataset_format=dataset_format,
        max_steps=2,
        max_seq_length=16,
    )
    grid = ExperimentArguments(use_liger=[True, False], per_device_train_batch_size=[1])
    results, table = workflow.benchmarking_experiment(
        experiment_args=grid, training_args=arguments, n_runs=1
    )
    assert list(table["outcome"]) == [COMPLETED, COMPLETED]
    check_arms(*runs_of(results), family)
    [page] = build_folder.glob("results/*-*/report.html")
    text = page.read_text(encoding="utf-8")
    assert f"A trial on a CPU, whose timings mean nothing: 2 of 2 runs of {family}-tiny" in text


def test_the_example_for_another_model_goes_through_the_workflow(build_folder: Path) -> None:
    inputs = read_inputs_file(PROJECT / "examples" / "other_model.yaml")
    # As it is, but shorter: the interpreter is slow.
    results, table = workflow.benchmarking_experiment(
        experiment_args=inputs.experiment_args,
        training_args=replace(inputs.training_args, max_steps=2, max_seq_length=16),
        n_runs=1,
    )
    assert list(table["outcome"]) == [COMPLETED] * 4
    for batch_size in (1, 2):
        arms = {
            run.training_args.use_liger: run
            for run in runs_of(results)
            if run.training_args.per_device_train_batch_size == batch_size
        }
        check_arms(arms[True], arms[False], "llama")
    assert [*build_folder.glob("results/*-*/report.html")]


def test_every_tiny_model_is_a_smoke_model_of_an_architecture_that_liger_knows() -> None:
    tiny = {name: config for name, config in catalog.MODELS.items() if name.endswith("-tiny")}
    assert tuple(f"builtin:{name}" for name in tiny) == SMOKE_MODELS
    assert {config["model_type"] for config in tiny.values()} == {
        "phi3",
        "llama",
        "mistral",
        "qwen3",
        "gemma3_text",
    }
    for config in catalog.MODELS.values():
        assert config["model_type"] in liger_architectures()


def test_the_known_architectures_are_those_of_the_installed_liger_with_their_switches() -> None:
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    known = liger_architectures()
    assert known.keys() == MODEL_TYPE_TO_APPLY_LIGER_FN.keys()
    for model_type, function in MODEL_TYPE_TO_APPLY_LIGER_FN.items():
        parameters = inspect.signature(function).parameters.values()
        switches = {p.name: p.default for p in parameters if isinstance(p.default, bool)}
        assert known[model_type] == switches
    assert {"llama", "qwen3", "gemma3_text", "mistral", "phi3"} <= known.keys()


@pytest.fixture
def unknown_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny GPT-2, for which Liger has no kernels."""
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": 512,
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 64,
    }
    monkeypatch.setitem(catalog.MODELS, "gpt2-tiny", config)
    return fetch_model("builtin:gpt2-tiny", tmp_path / "gpt2")


def test_a_model_that_liger_does_not_know_is_an_error_that_lists_those_it_knows(
    unknown_model: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    arguments = replace(TINY, model_name="my/gpt2", use_liger=True)
    with pytest.raises(ChildFailed) as failure:
        run_condition(arguments, dataset_folder, unknown_model, tmp_path / "liger")
    line = summary(failure.value)
    assert "training_args.model_name: Liger has no kernels for 'gpt2'; it has for " in line
    assert ", gemma3_text, " in line and ", llama, " in line and "\n" not in line
    # Without Liger it can still be measured.
    vanilla = run_condition(TINY, dataset_folder, unknown_model, tmp_path / "vanilla")
    assert vanilla.outcome == COMPLETED


def test_it_is_found_before_anything_is_trained(
    unknown_model: Path, build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    monkeypatch.setattr(conditions, "run_condition", lambda *args, **_: trained.append(args))
    with pytest.raises(Exception, match=r"no kernels for 'gpt2'; it has for .*mistral"):
        workflow.benchmarking_experiment(
            experiment_args=ExperimentArguments(per_device_train_batch_size=[1]),
            training_args=replace(TINY, model_name=str(unknown_model)),
            n_runs=1,
        )
    assert not trained


def test_a_config_without_a_model_type_passes_the_check() -> None:
    check_model([replace(TINY, use_liger=True)], {"vocab_size": 512})


def tiny_model(model_type: str, **settings: Any) -> Any:
    """A model on the meta device with the given settings."""
    import torch
    import transformers

    sizes = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = transformers.AutoConfig.for_model(model_type, **{**sizes, **settings})
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


def test_an_input_embedding_counts_as_work_only_where_it_is_the_head_too() -> None:
    for tied in (True, False):
        model = tiny_model("llama", tie_word_embeddings=tied)
        everything = sum(p.numel() for p in model.parameters())
        embeddings = 512 * 64
        assert n_active_parameters(model) == everything - (0 if tied else embeddings)


def test_of_experts_count_as_many_as_work_for_a_token() -> None:
    model = tiny_model("mixtral", num_local_experts=8, num_experts_per_tok=2)
    of_experts = 2 * 8 * 3 * 64 * 96  # layers, experts, matrices of a gated MLP
    in_experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    assert in_experts == of_experts
    everything = sum(p.numel() for p in model.parameters())
    assert n_active_parameters(model) == everything - 512 * 64 - of_experts * 6 // 8


@pytest.mark.parametrize("model_type", ["qwen3_moe", "deepseek_v3", "gpt_oss", "olmoe"])
def test_experts_are_found_by_every_familys_own_names(model_type: str) -> None:
    sizes = {"head_dim": 16, "moe_intermediate_size": 32, "first_k_dense_replace": 1}
    model = tiny_model(model_type, **sizes)
    config = model.config
    experts = getattr(config, "num_experts", None) or config.num_local_experts
    in_experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    everything = sum(p.numel() for p in model.parameters())
    assert in_experts > 0
    idle = in_experts * (1 - config.num_experts_per_tok / experts)
    assert n_active_parameters(model) == pytest.approx(everything - 512 * 64 - idle, abs=1)


def test_ligers_own_classes_are_counted_by_their_names() -> None:
    import torch

    names = ["LigerRMSNormForGemma3", "LigerGEGLUMLPForGemma4", "LigerSwiGLUMLP", "Qwen3RMSNorm"]
    names.append("MixtralExperts")
    live = torch.nn.Sequential(*(type(name, (torch.nn.Identity,), {})() for name in names))
    live.config = SimpleNamespace(model_type="qwen3")  # type: ignore[assignment]
    present = activation.active_liger_parts(live)["present"]  # type: ignore[arg-type]
    assert (present["rms_norm"], present["swiglu"]) == (2, 3)
