"""Fixtures for rows: the built-in tokenizer, and what the loss is taken on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.rows import LONG, Learnt

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.dataset import IGNORED, load_tokenizer, prepare_datasets


@pytest.fixture
def tokenizer(model_folder: Path) -> Any:
    return load_tokenizer(model_folder)


@pytest.fixture
def learnt(tokenizer: Any, tmp_path: Path) -> Learnt:
    """What the loss is taken on of the training rows, as texts."""

    def texts(rows: list[dict[str, Any]], arguments: TrainingArguments = LONG, **also: Any) -> Any:
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
        needed = replace(arguments, max_steps=len(rows))
        train, _ = prepare_datasets(tmp_path / "rows", tokenizer, needed, **also)
        labels = [[label for label in row if label != IGNORED] for row in train["labels"]]
        return [tokenizer.decode(row) for row in labels]

    return texts
