"""Prepare the rows that a run trains on: split, tokenise, truncate and label, as in the blog.

A row is truncated to `max_seq_length` tokens from the left, which keeps its answer, and the loss is
computed on the answer only. Only the rows that the steps use are tokenised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.sources.fetch import has_tokenizer
from liger_benchmark.training.row_formats import encode, usable_rows
from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

TEST_FRACTION = 0.1
PAD_TO_MULTIPLE_OF = 16
# The label that PyTorch's cross-entropy ignores.
IGNORED = -100


def load_tokenizer(model_folder: Path) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer. Without a pad token it pads with the end-of-sequence token.

    Raises:
        InvalidInput: if the folder holds no tokenizer that transformers can load.
    """
    from transformers import AutoTokenizer

    if not has_tokenizer(model_folder):
        raise no_tokenizer(model_folder.name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"training_args.model_name: the folder {model_folder.name!r} holds no tokenizer that "
            f"can be loaded; add the model's tokenizer.json ({one_line(error)})"
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def no_tokenizer(model: str) -> InvalidInput:
    """The error for a model without a tokenizer."""
    return InvalidInput(
        f"training_args.model_name: {model!r} holds no tokenizer; add the model's tokenizer.json"
    )


def check_rows(dataset_folder: Path, grid: Sequence[TrainingArguments]) -> None:
    """Check the dataset's rows against the `dataset_format` of each condition, before training.

    Raises:
        InvalidInput: if the rows are not of that format, or fewer than two hold an answer.
    """
    import datasets

    rows = datasets.load_from_disk(str(dataset_folder), keep_in_memory=True)
    for dataset_format in dict.fromkeys(arguments.dataset_format for arguments in grid):
        usable_rows(rows, dataset_format, grid[0].dataset_name)


def prepare_datasets(
    dataset_folder: Path, tokenizer: PreTrainedTokenizerBase, arguments: TrainingArguments
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The tokenised training rows, and evaluation rows unless `eval_strategy` is "no".

    There are exactly as many training rows as the steps use; a smaller dataset is repeated. The
    split and the order depend on the seed.

    Returns:
        Datasets with the columns `input_ids`, at most `max_seq_length` token ids, and `labels`, the
        same ids with -100 in place of tokens outside of an answer.

    Raises:
        InvalidInput: as `usable_rows` and `tokenize`.
    """
    import datasets

    # In memory, because otherwise operations write cache files into the folder that runs share.
    rows = datasets.load_from_disk(str(dataset_folder), keep_in_memory=True)
    usable = usable_rows(rows, arguments.dataset_format, arguments.dataset_name)
    split = usable.train_test_split(test_size=TEST_FRACTION, seed=arguments.seed)
    needed = (
        arguments.max_steps
        * arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
    )
    available = split["train"]
    unique = tokenize(available.select(range(min(needed, len(available)))), tokenizer, arguments)
    train = unique.select([i % len(unique) for i in range(needed)])
    evaluation = (
        tokenize(split["test"], tokenizer, arguments) if arguments.eval_strategy != "no" else None
    )
    return train, evaluation


def tokenize(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, arguments: TrainingArguments
) -> datasets.Dataset:
    """Turn usable rows into `input_ids` and `labels`, truncated from the left.

    Raises:
        InvalidInput: if `encode` refuses the rows, or after truncation no token of an answer has a
            token before it.
    """
    import datasets

    encoded = encode(rows, tokenizer, arguments.dataset_format, arguments.dataset_name)
    keep = slice(-arguments.max_seq_length, None)
    input_ids, labels = [], []
    for ids, in_answer in encoded:
        marked = [
            token if answer else IGNORED for token, answer in zip(ids, in_answer, strict=True)
        ]
        input_ids.append(ids[keep])
        labels.append(marked[keep])
    if all(token == IGNORED for row in labels for token in row[1:]):
        raise InvalidInput(
            f"training_args.max_seq_length: {arguments.max_seq_length} leaves no token of an "
            "answer to learn; allow more"
        )
    return datasets.Dataset.from_dict({"input_ids": input_ids, "labels": labels})


def checksum(rows: datasets.Dataset) -> str:
    """A hash of the rows' token ids and labels, in their order."""
    digest = hashlib.sha256()
    for name in ("input_ids", "labels"):
        for row in rows[name][:]:
            digest.update(f"{name} {list(row)}".encode())
    return digest.hexdigest()[:16]
