"""The rows a run trains on: split, tokenised, cut and marked, as in the blog.

Alpaca's `text` is cut to `max_seq_length` tokens from the left, so that the response survives, and
the loss is taken on the response only. Only as many rows as the steps will use are tokenised.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import InvalidInput, TrainingArguments
from liger_benchmark.checks import one_line

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

RESPONSE_MARKER = "### Response:"
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


def prepare_datasets(
    dataset_folder: Path, tokenizer: PreTrainedTokenizerBase, arguments: TrainingArguments
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The tokenised training rows, and evaluation rows if `eval_strategy` asks for them.

    Columns: `input_ids`, at most `max_seq_length` token ids a row, and `labels`, the same with
    -100 wherever the token does not belong to the response. There are exactly as many training
    rows as the steps use; a smaller dataset is gone through again. The seed decides the split and
    the order.

    Raises:
        InvalidInput: if the rows are not in Alpaca's form.
    """
    import datasets

    # In memory, or every operation would leave a cache file in the folder that all runs share.
    rows = datasets.load_from_disk(str(dataset_folder), keep_in_memory=True)
    texts = _usable_texts(rows, arguments.dataset_name)
    split = texts.train_test_split(test_size=TEST_FRACTION, seed=arguments.seed)
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
    """Turn `text` into `input_ids` and `labels`, cut from the left."""
    import datasets

    texts = rows["text"][:]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    keep = slice(-arguments.max_seq_length, None)
    input_ids, labels = [], []
    for text, ids, offsets in zip(
        texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        response_starts = text.index(RESPONSE_MARKER) + len(RESPONSE_MARKER)
        # A special token has the empty offset (0, 0) and is no part of the response.
        response = [
            token if end > response_starts else IGNORED
            for token, (_, end) in zip(ids, offsets, strict=True)
        ]
        input_ids.append(ids[keep])
        labels.append(response[keep])
    return datasets.Dataset.from_dict({"input_ids": input_ids, "labels": labels})


def checksum(rows: datasets.Dataset) -> str:
    """A hash of the token ids in order: equal if two runs were given the same rows."""
    digest = hashlib.sha256()
    for ids in rows["input_ids"][:]:
        digest.update(str(list(ids)).encode())
    return digest.hexdigest()[:16]


def _usable_texts(rows: Any, name: str) -> Any:
    if "text" not in rows.column_names:
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has no column 'text'; "
            f"it has {', '.join(rows.column_names)}; give it one in Alpaca's form"
        )
    texts = rows.select_columns(["text"])
    # A row without a response has nothing to take a loss on.
    usable = [
        i
        for i, text in enumerate(texts["text"][:])
        if isinstance(text, str) and text.partition(RESPONSE_MARKER)[2].strip()
    ]
    if len(usable) < 2:
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has {len(usable)} rows whose text holds "
            f"'{RESPONSE_MARKER}' and a response; at least 2 are needed"
        )
    return texts.select(usable)
