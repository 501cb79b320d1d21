"""The rows a run trains on: split, tokenised, cut and marked, as in the blog.

A row is cut to `max_seq_length` tokens from the left, so that its answer survives, and the loss is
taken on the answer only. Only as many rows as the steps will use are tokenised.
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
# The label on which PyTorch's cross-entropy takes no loss.
IGNORED = -100


def load_tokenizer(model_folder: Path) -> PreTrainedTokenizerBase:
    """The model's tokenizer; one without a pad token pads with its end-of-sequence token.

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
    """What is said of a model that comes without a tokenizer."""
    return InvalidInput(
        f"training_args.model_name: {model!r} holds no tokenizer; add the model's tokenizer.json"
    )


def check_rows(dataset_folder: Path, grid: Sequence[TrainingArguments]) -> None:
    """Refuse a dataset that is not in the form of `dataset_format`, once and not in each run.

    Raises:
        InvalidInput: if the rows are not in that form, or too few hold an answer.
    """
    import datasets

    rows = datasets.load_from_disk(str(dataset_folder), keep_in_memory=True)
    for dataset_format in dict.fromkeys(arguments.dataset_format for arguments in grid):
        usable_rows(rows, dataset_format, grid[0].dataset_name)


def prepare_datasets(
    dataset_folder: Path, tokenizer: PreTrainedTokenizerBase, arguments: TrainingArguments
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The tokenised training rows, and evaluation rows if `eval_strategy` asks for them.

    Columns: `input_ids`, at most `max_seq_length` token ids a row, and `labels`, the same with
    -100 wherever the token does not belong to the answer. There are exactly as many training
    rows as the steps use; a smaller dataset is gone through again. The seed decides the split and
    the order.

    Raises:
        InvalidInput: if the rows are not in the form of `dataset_format`.
    """
    import datasets

    # In memory, or every operation would leave a cache file in the folder that all runs share.
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
    """Turn rows into `input_ids` and `labels`, cut from the left.

    Raises:
        InvalidInput: if the rows do not fit `dataset_format`, or the cut leaves no token of an
            answer with one before it to predict it from.
    """
    import datasets

    encoded = encode(rows, tokenizer, arguments.dataset_format, arguments.dataset_name)
    keep = slice(-arguments.max_seq_length, None)
    input_ids, labels = [], []
    for ids, is_answer in encoded:
        marked = [
            token if answers else IGNORED for token, answers in zip(ids, is_answer, strict=True)
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
    """A hash of the token ids in order: equal if two runs were given the same rows."""
    digest = hashlib.sha256()
    for ids in rows["input_ids"][:]:
        digest.update(str(list(ids)).encode())
    return digest.hexdigest()[:16]
