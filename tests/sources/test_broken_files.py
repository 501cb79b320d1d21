"""Files that are not what their names say are refused before any run, and named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.tiny import TINY

from liger_benchmark.sources.broken_files import check_weights
from liger_benchmark.sources.fetch import fetch_dataset, fetch_model
from liger_benchmark.training import dry_pass
from liger_benchmark.training.dataset import check_tokenizer_files
from liger_benchmark.validation import InvalidInput

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 12\n"
INDEX = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00000-of-00001.safetensors"}}


@pytest.fixture
def model(tmp_path: Path, model_folder: Path) -> Path:
    shutil.copytree(model_folder, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "data/train-0.parquet"])
def test_a_dataset_that_is_a_pointer_of_git_lfs_is_refused(
    name: str, tmp_path: Path, datasets_cache: None
) -> None:
    file = tmp_path / "rows" / name
    file.parent.mkdir(parents=True)
    file.write_text(POINTER)
    for source in (file, tmp_path / "rows"):
        with pytest.raises(InvalidInput, match=f"dataset_name: .* {file.name} is a pointer of Git"):
            fetch_dataset(str(source), tmp_path / "saved")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model-00001-of-00002.bin"])
def test_weights_that_are_pointers_are_refused(name: str, model: Path) -> None:
    (model / name).write_text(POINTER)
    with pytest.raises(InvalidInput, match=rf"^training_args.model_name: 'model': {name} is a poi"):
        check_weights(model)


def test_a_tokenizer_that_is_a_pointer_is_refused(model: Path) -> None:
    (model / "tokenizer.json").write_text(POINTER)
    with pytest.raises(InvalidInput, match="tokenizer.json is a pointer of Git LFS.*git lfs pull"):
        check_tokenizer_files(model, "model")


def test_a_missing_shard_is_named(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps(INDEX))
    with pytest.raises(InvalidInput, match="lacks model-00000-of-00001.safetensors, which"):
        check_weights(model)


def test_damaged_weights_and_weights_of_another_name_are_refused(model: Path) -> None:
    (model / "model-4bit.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(InvalidInput, match="holds model-4bit.safetensors, and transformers looks"):
        check_weights(model)
    (model / "model-4bit.safetensors").rename(model / "model.safetensors")
    check_weights(model)
    (model / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{")
    with pytest.raises(InvalidInput, match="model.safetensors cannot be read"):
        check_weights(model)


def test_the_dry_pass_looks_at_the_weights(model: Path, dataset_folder: Path) -> None:
    grid = [replace(TINY, use_liger=False)]
    (model / "model-q4.gguf").write_text("GGUF")
    lines = dry_pass.check_grid(grid, dataset_folder, model)
    assert lines[-1].startswith("warning: model-q4.gguf is not read; the model is initialised at")
    (model / "model.safetensors").write_text(POINTER)
    with pytest.raises(InvalidInput, match="model.safetensors is a pointer of Git LFS"):
        dry_pass.check_grid(grid, dataset_folder, model)


@pytest.mark.parametrize("with_config", [True, False])
def test_an_adapter_is_no_model(with_config: bool, model: Path, tmp_path: Path) -> None:
    """transformers would load the adapter on top of the weights."""
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "x/y"}')
    if not with_config:
        (model / "config.json").unlink()
    with pytest.raises(InvalidInput, match=r"holds an adapter .*; give the model that it was trai"):
        fetch_model(str(model), tmp_path / "fetched")


@pytest.mark.parametrize("inside", ["checkpoint-500", "snapshots/0a57"])
def test_a_folder_above_the_model_is_refused_with_the_right_one(
    inside: str, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "above" / inside)
    with pytest.raises(InvalidInput, match=f"holds no config.json; there is one in {inside}$"):
        fetch_model(str(tmp_path / "above"), tmp_path / "fetched")
