"""How long a grid will take is said before it starts, and what is not known is said too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.catalog import MODELS, PHI3_MINI
from liger_benchmark.experiment import estimate
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.flyte import command_line
from liger_benchmark.flyte.pod_memory import check_pod_memory
from liger_benchmark.validation import InvalidInput

PHI3_PARAMETERS = 3_821_079_552  # as transformers counts them, under results/
GRID = expand_grid(ExperimentArguments(), TrainingArguments(), 3)


def test_parameters_are_counted_to_a_thousandth() -> None:
    assert estimate.n_parameters(PHI3_MINI) == pytest.approx(PHI3_PARAMETERS, rel=1e-3)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_built_in_models_size_is_known(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**MODELS[name])
    with __import__("torch").device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert estimate.n_parameters(MODELS[name]) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    "model_type",
    ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v3", "gpt_oss", "phimoe", "glm4_moe"],
)
def test_the_experts_of_a_mixture_are_counted(model_type: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(model_type)
    with __import__("torch").device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert estimate.n_parameters(config.to_dict()) == pytest.approx(expected, rel=0.04)


# The config.json of mistralai/Mixtral-8x7B-v0.1: 46.7 billion parameters, 12.9 billion at work.
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}


def test_a_step_takes_the_experts_at_work_and_a_pod_has_to_hold_them_all() -> None:
    assert estimate.n_parameters(MIXTRAL) == pytest.approx(46.7e9, rel=0.01)
    assert estimate.n_parameters(MIXTRAL, at_work=True) == pytest.approx(12.9e9, rel=0.01)
    gpu = "NVIDIA H100 80GB HBM3"
    hours = estimate.gpu_hours(GRID, 12_900_000_000, gpu)
    assert (
        estimate.expected(GRID, MIXTRAL, gpu) == f"expected: about {hours:.1f} GPU hours on {gpu}"
    )
    with pytest.raises(InvalidInput, match=r"cannot hold the model's weights \(87\.0 GiB\)"):
        check_pod_memory(GRID, MIXTRAL)


def test_the_blogs_grid_takes_minutes_on_an_h100() -> None:
    # It took 9 minutes (results/phi3-mini-h100-39gib), an estimate within a factor of two.
    hours = estimate.gpu_hours(GRID, PHI3_PARAMETERS, "NVIDIA H100 80GB HBM3")
    assert hours is not None
    assert 4 / 60 < hours < 16 / 60
    on_flyte = estimate.gpu_hours(GRID, PHI3_PARAMETERS, "A100_80GB")
    assert on_flyte is not None
    assert on_flyte > hours


def test_accumulation_fp32_and_compilation_make_the_estimate_longer() -> None:
    def hours(**settings: object) -> float:
        grid = expand_grid(ExperimentArguments(), TrainingArguments(**settings), 1)  # type: ignore[arg-type]
        known = estimate.gpu_hours(grid, PHI3_PARAMETERS, "NVIDIA H100 80GB HBM3")
        assert known is not None
        return known

    steps = hours() - len(GRID) / 3 * estimate.SECONDS_A_RUN / 3600
    assert hours(gradient_accumulation_steps=3) - hours() == pytest.approx(2 * steps)
    assert hours(bf16=False) - hours() == pytest.approx(7 * steps)
    compiling = len(GRID) / 3 * 40 / 3600
    assert hours(torch_compile=True) - hours() == pytest.approx(compiling)


def test_the_estimate_says_what_is_not_known(tmp_path: Path) -> None:
    assert "about" in estimate.expected(GRID, PHI3_MINI, "NVIDIA H100 80GB HBM3")
    for config, gpu in ((PHI3_MINI, "Acme 9000"), ({"model_type": "mamba"}, "NVIDIA H100")):
        assert "unknown GPU hours" in estimate.expected(GRID, config, gpu)
    assert "no GPU" in estimate.expected(GRID, PHI3_MINI, None)
    assert estimate.config_at_hand("microsoft/Phi-3-mini-4k-instruct") is None
    (tmp_path / "config.json").write_text(json.dumps(PHI3_MINI))
    assert estimate.config_at_hand(str(tmp_path)) == PHI3_MINI


def test_size_and_hours_are_printed_when_the_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "inputs.yaml"
    path.write_text("training_args: {model_name: 'builtin:phi3-mini'}\n")
    monkeypatch.setattr(command_line, "visible_gpu", lambda: "NVIDIA H100 80GB HBM3")
    command_line.announce(read_inputs_file(path), command_line.visible_gpu())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "36 runs: 2 arms (Liger, vanilla) × 6 batch sizes × 3 repeats"
    assert lines[1].startswith("expected: about 0.")
    assert "torch" not in {name.partition(".")[0] for name in vars(sys.modules[estimate.__name__])}
