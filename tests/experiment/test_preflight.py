"""What cannot succeed where it is to be run is refused before anything starts, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import type_command

from liger_benchmark.catalog import MODELS
from liger_benchmark.flyte import command_line

GPU = "NVIDIA H100 80GB HBM3"
LOCAL: tuple[str, ...] = ()
REMOTE = ("--remote",)
Prepare = Callable[..., str]


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Type a command with an inputs file, on a machine with a GPU or without; what it says."""

    def typed(text: str, options: tuple[str, ...] = LOCAL, gpu: str | None = None) -> str:
        path = tmp_path / "inputs.yaml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(command_line, "visible_gpu", lambda: gpu)
        ended = type_command(monkeypatch, "--inputs-file", str(path), options=options)
        if ended.exit_code == 0:
            return ""
        [message] = ended.lines
        assert message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    return typed


TINY = "model_name: 'builtin:phi3-tiny', dataset_name: 'builtin:instructions'"

# What a file says that a machine without a GPU cannot do.
NEEDS_GPU = [
    (f"training_args: {{{TINY}}}", "training_args.bf16: true needs a GPU"),
    (
        f"training_args: {{{TINY}, bf16: false, torch_compile: true}}",
        "training_args.torch_compile: true with use_liger needs a GPU",
    ),
    (
        f"training_args: {{{TINY}, bf16: false, gpu_memory_limit_gib: 39}}",
        "training_args.gpu_memory_limit_gib: 39 needs a GPU",
    ),
    (
        f"experiment_args: {{attn_implementation: [sdpa, flex_attention], use_liger: [false]}}\n"
        f"training_args: {{{TINY}}}",
        "training_args.attn_implementation: flex_attention needs a GPU",
    ),
]


@pytest.mark.parametrize(("text", "message"), NEEDS_GPU, ids=[m for _, m in NEEDS_GPU])
def test_what_needs_a_gpu_is_refused_without_one_and_only_then(
    prepare: Prepare, text: str, message: str
) -> None:
    assert prepare(text).startswith(message)
    assert prepare(text, gpu=GPU) == ""
    assert prepare(text, REMOTE) == ""


def test_a_model_without_liger_may_be_trained_in_bf16_on_a_cpu(prepare: Prepare) -> None:
    assert prepare(f"experiment_args: {{use_liger: [false]}}\ntraining_args: {{{TINY}}}") == ""


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("model_name: '../absent'", "training_args.model_name: '../absent' is not a folder"),
        ("model_name: /etc/passwd", "training_args.model_name: '/etc/passwd' is a file"),
        ("model_name: 'a/../b'", "training_args.model_name: 'a/../b' is neither a Hub id"),
        ("model_name: 'a/b/c'", "training_args.model_name: 'a/b/c' is neither a Hub id"),
        ("model_name: 'ünï/cödé'", "training_args.model_name: 'ünï/cödé' is neither a Hub id"),
        ("model_name: /etc", "training_args.model_name: '/etc' holds no config.json"),
        ("dataset_name: ./absent", "training_args.dataset_name: './absent' is not a folder"),
        ("dataset_name: 'a b'", "training_args.dataset_name: 'a b' is neither a Hub id"),
        ("dataset_name: '$(id)'", "training_args.dataset_name: '$(id)' is neither a Hub id"),
    ],
)
@pytest.mark.parametrize("command", [LOCAL, REMOTE], ids=["local", "remote"])
def test_a_model_or_dataset_name_that_cannot_be_found_is_refused(
    prepare: Prepare, names: str, message: str, command: tuple[str, ...]
) -> None:
    assert prepare(f"training_args: {{{names}}}", command, GPU).startswith(message)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MODELS["phi3-tiny"]))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_model_without_a_tokenizer_is_refused(prepare: Prepare, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    message = prepare(f"training_args: {{model_name: '{folder}'}}", gpu=GPU)
    assert message.startswith("training_args.model_name: ") and "holds no tokenizer" in message


@pytest.mark.parametrize("text", ['{"model_type": "lla', "[]", '{"model_type": ["llama"]}'])
def test_a_config_that_is_not_a_valid_mapping_is_refused(
    prepare: Prepare, folder: Path, text: str
) -> None:
    (folder / "config.json").write_text(text)
    message = prepare(f"training_args: {{model_name: '{folder}'}}", gpu=GPU)
    assert message.startswith("training_args.model_name: ") and "config.json" in message


def test_a_config_with_absurd_sizes_is_accepted_without_an_estimate(
    prepare: Prepare, folder: Path
) -> None:
    (folder / "config.json").write_text(json.dumps(MODELS["phi3-tiny"] | {"hidden_size": 10**400}))
    assert prepare(f"training_args: {{model_name: '{folder}'}}", gpu=GPU) == ""
    config = MODELS["phi3-tiny"] | {"num_attention_heads": 0, "head_dim": None}
    (folder / "config.json").write_text(json.dumps(config))
    assert prepare(f"training_args: {{model_name: '{folder}'}}", gpu=GPU) == ""


def test_an_attention_that_the_model_lacks_is_refused(prepare: Prepare, folder: Path) -> None:
    text = f"training_args: {{model_name: '{folder}'}}"
    (folder / "config.json").write_text(json.dumps({"model_type": "gemma2"}))
    assert prepare(text, gpu=GPU) == (
        "training_args.attn_implementation: transformers has no sdpa for 'gemma2'; set eager"
    )
    assert prepare(text.replace("}", ", attn_implementation: eager}"), gpu=GPU) == ""
    for known in ("gemma3_text", "llama", "qwen3", "mistral", "phi3"):
        (folder / "config.json").write_text(json.dumps({"model_type": known}))
        assert prepare(text, gpu=GPU) == ""


def test_a_local_folder_is_refused_for_a_run_on_a_cluster(prepare: Prepare, folder: Path) -> None:
    text = f"training_args: {{model_name: '{folder}'}}"
    assert prepare(text, gpu=GPU) == ""
    assert "is a folder on this machine, where a cluster cannot read it" in prepare(text, REMOTE)
    text = f"training_args: {{dataset_name: '{folder}'}}"
    assert prepare(text, REMOTE).startswith("training_args.dataset_name: ")


def test_a_model_that_liger_does_not_know_is_refused_if_liger_is_asked_for(
    prepare: Prepare, folder: Path
) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    text = f"training_args: {{model_name: '{folder}'}}"
    message = "training_args.model_name: Liger has no kernels for 'gpt2'; it has for "
    assert prepare(text, gpu=GPU).startswith(message)
    assert prepare(f"experiment_args: {{use_liger: [false]}}\n{text}", gpu=GPU) == ""


def test_a_kernel_that_the_model_lacks_is_refused_whichever_arm_asks_for_it(
    prepare: Prepare, folder: Path
) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "nemotron"}))
    kernels = "experiment_args: {liger_kernels: [[fused_linear_cross_entropy], [rope]]}\n"
    text = f"{kernels}training_args: {{model_name: '{folder}'}}"
    assert prepare(text, gpu=GPU) == (
        "training_args.liger_kernels: Liger has no rope for 'nemotron'; "
        "it has fused_linear_cross_entropy, cross_entropy"
    )


@pytest.mark.parametrize("arms", ["[true]", "[false]"])
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes"}},
            "training_args.model_name: its config.json has a quantization_config (bitsandbytes), ",
        ),
        (
            {"model_type": "qwen2_5_vl"},
            "training_args.model_name: 'qwen2_5_vl' is no causal language model in the installed ",
        ),
    ],
    ids=["quantised", "vision"],
)
def test_a_model_that_cannot_be_trained_is_refused_in_any_arm(
    prepare: Prepare, folder: Path, config: dict[str, object], message: str, arms: str
) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    text = f"experiment_args: {{use_liger: {arms}}}\ntraining_args: {{model_name: '{folder}'}}"
    assert prepare(text, gpu=GPU).startswith(message)


def test_a_tokenizer_that_needs_another_package_is_refused(prepare: Prepare, folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    message = prepare(f"training_args: {{model_name: '{folder}'}}", gpu=GPU)
    assert "only as tokenizer.model" in message and "install sentencepiece" in message


def test_a_file_of_rows_is_a_dataset_on_this_machine_only(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    names = f"model_name: 'builtin:phi3-mini', dataset_name: '{tmp_path}/rows.jsonl'"
    text = f"training_args: {{{names}}}"
    assert prepare(text, gpu=GPU) == ""
    assert "rows.jsonl' is a file on this machine, where a cluster cannot" in prepare(text, REMOTE)


@pytest.mark.parametrize("name", ["columns", "dataset_config", "dataset_split"])
def test_what_names_the_dataset_is_no_axis(prepare: Prepare, name: str) -> None:
    message = prepare(f"experiment_args: {{{name}: [a]}}\ntraining_args: {{{TINY}}}", gpu=GPU)
    assert message.startswith(f"experiment_args.{name}: cannot be an axis: an experiment is about")
