"""The built-in models and rows: the same bytes every time, and what they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.source_folders import digest, load

from liger_benchmark import catalog
from liger_benchmark.sources import builtin, fetch
from liger_benchmark.sources.fetch import fetch_dataset, fetch_model
from liger_benchmark.training.row_formats import RESPONSE_MARKER


@pytest.mark.parametrize("name", sorted(catalog.MODELS))
def test_a_built_in_model_is_the_same_bytes_every_time(name: str, tmp_path: Path) -> None:
    first = fetch_model(f"builtin:{name}", tmp_path / "first")
    second = fetch_model(f"builtin:{name}", tmp_path / "second")
    assert digest(first) == digest(second)
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= digest(first).keys()
    assert fetch.provenance(first, "")["origin"] == "random"
    assert not fetch.has_weights(first)


def test_the_built_in_instructions_are_the_same_every_time(tmp_path: Path) -> None:
    first = fetch_dataset("builtin:instructions", tmp_path / "first")
    second = fetch_dataset("builtin:instructions", tmp_path / "second")
    assert fetch.fingerprint(first / "data-00000-of-00001.arrow") == fetch.fingerprint(
        second / "data-00000-of-00001.arrow"
    )
    assert load(first) == load(second) == builtin.instructions()


def test_the_built_in_instructions_have_alpacas_columns_and_format() -> None:
    rows = builtin.instructions()
    assert len(rows) == builtin.N_INSTRUCTIONS
    for row in rows:
        assert list(row) == ["instruction", "input", "output", "text"]
        prompt, marker, response = row["text"].partition(RESPONSE_MARKER)
        assert marker
        assert response.strip() == row["output"]
        assert row["instruction"] in prompt


@pytest.mark.parametrize("name", sorted(catalog.MODELS))
def test_a_built_in_tokenizer_fits_its_models_vocabulary(name: str, tmp_path: Path) -> None:
    import transformers

    folder = fetch_model(f"builtin:{name}", tmp_path / name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    text = builtin.instructions()[0]["text"]
    assert len(tokenizer) <= config.vocab_size
    assert max(tokenizer(text)["input_ids"]) < config.vocab_size
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(tokenizer, token) == getattr(config, token)


def test_the_built_in_phi3_mini_is_the_published_architecture(tmp_path: Path) -> None:
    import torch
    import transformers

    folder = fetch_model("builtin:phi3-mini", tmp_path / "model")
    config = transformers.AutoConfig.from_pretrained(folder)
    published = {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
        "max_position_embeddings": 4096,
        "sliding_window": 2047,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }
    assert {key: getattr(config, key) for key in published} == published
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert type(model).__name__ == "Phi3ForCausalLM"
    assert sum(p.numel() for p in model.parameters()) == 3_821_079_552
