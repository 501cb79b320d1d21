"""Packed and flattened batches: documents stay apart, nothing is padded, and the arms agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.isolated_documents import train_with_documents_that_meet
from support.tiny import TINY

from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import VANILLA
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.training import condition
from liger_benchmark.training.dataset import prepare_datasets
from liger_benchmark.training.documents import documents_in
from liger_benchmark.training.isolated_process import ChildFailed, summary
from liger_benchmark.training.packing import documents_needed
from liger_benchmark.training.proof import mismatch
from liger_benchmark.validation import InvalidInput

# Rows of `instructions` have 60 to 200 tokens.
PADDED = replace(TINY, max_seq_length=256, max_steps=2)
FREE = replace(PADDED, padding_free=True)
PACKED = replace(PADDED, packing=True)
Train = Callable[[TrainingArguments], Run]


@pytest.fixture(scope="module")
def train(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Train:
    def run(arguments: TrainingArguments) -> Run:
        folder = tmp_path_factory.mktemp("output")
        return condition.run_condition(arguments, dataset_folder, model_folder, folder)

    return run


@pytest.fixture(scope="module")
def padded(train: Train) -> Run:
    return train(PADDED)


def test_rows_laid_end_to_end_train_the_same_documents_without_padding(
    train: Train, padded: Run
) -> None:
    free = train(replace(FREE, arm_name="padding_free"))
    assert free.outcome == COMPLETED
    assert free.record["batches"]["checksum"] == padded.record["batches"]["checksum"]
    assert free.record["batches"]["padding_fraction"] < 0.1
    assert padded.record["batches"]["padding_fraction"] > 0.1
    assert free.record["proof"]["influence"]["others"] == 0
    assert free.record["proof"]["influence"]["own"] > 1e-4
    # The same losses and gradients, by the bounds of fp32.
    assert invalid_reasons([free, padded], VANILLA) == {}


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_documents_stay_apart(strategy: str, attention: str, train: Train) -> None:
    packed = train(replace(PACKED, packing_strategy=strategy, attn_implementation=attention))
    assert packed.outcome == COMPLETED
    influence = packed.record["proof"]["influence"]
    assert influence["documents"] > 2
    assert influence["others"] == 0 < influence["own"]
    # Every batch has its full size.
    assert set(packed.history["step_tokens"]) == {2 * 256}
    assert packed.record["batches"]["padding_fraction"] < 0.3
    assert packed.record["batches"]["documents"] > 4


def test_liger_and_vanilla_agree_on_packed_rows(train: Train) -> None:
    small = replace(PACKED, max_seq_length=128, per_device_train_batch_size=1)
    runs = [train(small), train(replace(small, use_liger=True))]
    assert invalid_reasons(runs, VANILLA) == {}


def test_documents_that_see_each_other_fail_the_run(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    with (
        mock.patch.object(condition, "train", train_with_documents_that_meet),
        pytest.raises(ChildFailed) as failure,
    ):
        condition.run_condition(PACKED, dataset_folder, model_folder, tmp_path)
    assert "packing: documents of a batch see each other" in (line := summary(failure.value))
    assert "\n" not in line


def test_packed_rows_are_whole_documents_and_nearly_full(
    dataset_folder: Path, model_folder: Path
) -> None:
    tokenizer = condition.load_tokenizer(model_folder)
    rows, _ = prepare_datasets(dataset_folder, tokenizer, PACKED)
    again, _ = prepare_datasets(dataset_folder, tokenizer, PACKED)
    assert len(rows) == 4
    assert rows["input_ids"][:] == again["input_ids"][:]
    for row in rows:
        assert sum(row["seq_lengths"]) == len(row["input_ids"]) == len(row["labels"]) <= 256
    whole, _ = prepare_datasets(dataset_folder, tokenizer, replace(PADDED, max_steps=200))
    assert {n for row in rows for n in row["seq_lengths"]} <= set(map(len, whole["input_ids"]))


def test_a_batch_is_the_same_documents_however_it_is_laid_out() -> None:
    import torch

    padded = {
        "input_ids": torch.tensor([[5, 6, 7], [8, 9, 0]]),
        "labels": torch.tensor([[5, 6, 7], [-100, 9, -100]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    }
    flat = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 9, 0, 0]]),
        "labels": torch.tensor([[-100, 6, 7, -100, 9, -100, -100]]),
        "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0, 0]]),
    }
    for batch in (padded, flat):
        ids, labels, lengths = documents_in(batch)
        assert ids.tolist() == [5, 6, 7, 8, 9]
        assert labels.tolist() == [-100, 6, 7, -100, 9]
        assert lengths == [3, 2]


def test_the_documents_that_rows_take_are_estimated_with_a_surplus() -> None:
    import datasets

    sample = datasets.Dataset.from_dict({"input_ids": [[1] * 10, [1] * 30]})
    assert documents_needed(sample, 4, replace(PACKED, max_seq_length=90)) == 20


@pytest.mark.parametrize(
    ("arguments", "facts", "problem"),
    [
        (
            PACKED,
            {"flattened": False},
            "packing: true was asked for, and the batches are padded",
        ),
        (
            PADDED,
            {"flattened": True},
            "padding_free: false was asked for, and the batches are one long row each",
        ),
        (
            FREE,
            {"influence": {"documents": 2, "others": 0.02, "own": 0.1}},
            "padding_free: documents of a batch see each other with attn_implementation: sdpa: "
            "changing the others changes a document's loss by 0.02",
        ),
    ],
)
def test_a_contradiction_names_the_setting(
    arguments: TrainingArguments, facts: dict[str, Any], problem: str
) -> None:
    assert mismatch(facts, arguments) == problem


def test_packing_with_padding_free_is_refused() -> None:
    with pytest.raises(InvalidInput, match="padding_free: true is what packing does already"):
        replace(PACKED, padding_free=True)
