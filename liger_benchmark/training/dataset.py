"""Prepare the rows that a run trains on: split, tokenise, truncate and label, as in the blog.

A row is truncated to `max_seq_length` tokens from the left, which keeps its answer, and the loss is
computed on the answer only. Only the rows that the steps use are tokenised.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.sources.broken_files import refuse_pointers
from liger_benchmark.sources.fetch import has_tokenizer
from liger_benchmark.training.chat_template import RefusedRow
from liger_benchmark.training.packing import SAMPLE, documents_needed, pack
from liger_benchmark.training.row_counts import NOTHING_LEFT, RowCounts
from liger_benchmark.training.row_formats import encode, format_of, usable_rows
from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

TEST_FRACTION = 0.1
PAD_TO_MULTIPLE_OF = 16
# The label that PyTorch's cross-entropy ignores.
IGNORED = -100
# Rows that a chat template may refuse in a row, from the start, before it is given up.
MANY_REFUSED = 100


def load_tokenizer(model_folder: Path) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer, with a token to pad with.

    Without a pad token it pads with the end-of-sequence token, or, if there is none, with the
    first of its vocabulary: padding is masked, so that any token will do. So it is where the pad
    token lies beyond the model's embedding.

    Raises:
        InvalidInput: if the folder holds no tokenizer that transformers can load.
    """
    from transformers import AutoTokenizer

    check_tokenizer_files(model_folder, model_folder.name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_folder, trust_remote_code=False)
    except (ImportError, KeyError, OSError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"training_args.model_name: the folder {model_folder.name!r} holds no tokenizer that "
            f"can be loaded; add the model's tokenizer.json ({one_line(error)})"
        ) from None
    if tokenizer.pad_token is None or not _is_embedded(tokenizer.pad_token_id, model_folder):
        end = tokenizer.eos_token
        known = end is not None and _is_embedded(tokenizer.eos_token_id, model_folder)
        tokenizer.pad_token = end if known else tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _is_embedded(token_id: int, model_folder: Path) -> bool:
    """Whether a token's id is below the `vocab_size` of the model's config.json, if that says."""
    try:
        config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    text = config.get("text_config") or config
    size = text.get("vocab_size") if isinstance(text, dict) else None
    return not isinstance(size, int) or token_id < size


def check_tokenizer_files(model_folder: Path, model: str) -> None:
    """Refuse the folder of a model without a tokenizer, or with one that needs another package.

    Args:
        model: the model's name, for the message.

    Raises:
        InvalidInput: naming what to add.
    """
    if not has_tokenizer(model_folder):
        raise no_tokenizer(model)
    named = [model_folder / name for name in ("tokenizer.json", "tokenizer.model")]
    refuse_pointers(filter(Path.is_file, named), f"training_args.model_name: {model!r}")
    files = {path.name for path in model_folder.iterdir()}
    has_own = {"tokenizer.json"} & files or {"vocab.json", "vocab.txt"} & files
    sentencepiece = sorted(name for name in files if name.endswith(".model"))
    if sentencepiece and not has_own and importlib.util.find_spec("sentencepiece") is None:
        raise InvalidInput(
            f"training_args.model_name: {model!r} holds its tokenizer only as {sentencepiece[0]}, "
            "which takes the package sentencepiece to read; add the model's tokenizer.json, or "
            "install sentencepiece"
        )


def no_tokenizer(model: str) -> InvalidInput:
    """The error for a model without a tokenizer."""
    return InvalidInput(
        f"training_args.model_name: {model!r} holds no tokenizer; add the model's tokenizer.json"
    )


def rows_needed(arguments: TrainingArguments) -> int:
    """The training rows that the steps of a condition use, on all its GPUs."""
    return (
        arguments.max_steps
        * arguments.n_gpus
        * arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
    )


def prepare_datasets(
    dataset_folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    arguments: TrainingArguments,
    counts: RowCounts | None = None,
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """The tokenised training rows, and evaluation rows unless `eval_strategy` is "no".

    There are exactly as many training rows as the steps use, each of several documents if they are
    packed; a smaller dataset is repeated. The split and the order depend on the seed.

    Args:
        counts: is given what became of the dataset's rows.

    Returns:
        Datasets with the columns `input_ids`, at most `max_seq_length` token ids, and `labels`, the
        same ids with -100 in place of tokens outside of an answer. Packed training rows hold
        several documents, whose lengths are in `seq_lengths`.

    Raises:
        InvalidInput: as `format_of`, `usable_rows` and `tokenize`.
    """
    import datasets

    counts = RowCounts() if counts is None else counts
    # In memory, because otherwise operations write cache files into the folder that runs share.
    rows = datasets.load_from_disk(str(dataset_folder), keep_in_memory=True)
    arguments = dataclasses.replace(arguments, dataset_format=format_of(rows, arguments))
    usable = usable_rows(
        rows, arguments.dataset_format, arguments.dataset_name, arguments.columns, counts
    )
    split = usable.train_test_split(test_size=TEST_FRACTION, seed=arguments.seed)
    needed = rows_needed(arguments)
    n_documents = needed
    if arguments.packing:
        sample = tokenize(split["train"], tokenizer, arguments, SAMPLE)
        n_documents = documents_needed(sample, needed, arguments)
    unique = tokenize(split["train"], tokenizer, arguments, n_documents, counts)
    if arguments.packing:
        train = pack(unique, needed, arguments)
    else:
        train = unique.select([i % len(unique) for i in range(needed)])
    evaluation = (
        tokenize(split["test"], tokenizer, arguments) if arguments.eval_strategy != "no" else None
    )
    return train, evaluation


def tokenize(
    rows: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    arguments: TrainingArguments,
    needed: int | None = None,
    counts: RowCounts | None = None,
) -> datasets.Dataset:
    """Turn usable rows into `input_ids` and `labels`, truncated from the left.

    Rows that the chat template does not take are left out, as long as it takes as many others.

    Args:
        needed: how many rows to return at most; the first that can be used are.
        counts: is given the rows that are left out, used and cut.

    Raises:
        InvalidInput: if `encode` refuses the rows, the chat template refuses more rows than it
            takes, or after truncation no token of an answer has a token before it.
    """
    import datasets

    counts = RowCounts() if counts is None else counts
    needed = len(rows) if needed is None else needed
    encoded = encode(
        rows.select(range(min(needed, len(rows)))) if _never_refused(rows, arguments) else rows,
        tokenizer,
        arguments.dataset_format,
        arguments.dataset_name,
        counts,
    )
    # Packing by splitting loses no token.
    is_split = arguments.packing and arguments.packing_strategy == "bfd_split"
    keep = slice(None) if is_split else slice(-arguments.max_seq_length, None)
    input_ids: list[list[int]] = []
    labels: list[list[int]] = []
    refused: list[RefusedRow] = []
    for row in encoded:
        if isinstance(row, RefusedRow):
            refused.append(row)
            counts.left_out[row.reason] += 1
            if len(refused) >= max(MANY_REFUSED, len(input_ids)):
                break
            continue
        ids, in_answer = row
        marked = [
            token if answer else IGNORED for token, answer in zip(ids, in_answer, strict=True)
        ]
        if all(label == IGNORED for label in marked[keep][1:]):
            # In a batch of its own such a row has no loss: it would be NaN.
            counts.left_out[NOTHING_LEFT] += 1
            continue
        counts.cut += len(ids[keep]) < len(ids)
        input_ids.append(ids[keep])
        labels.append(marked[keep])
        if len(input_ids) == needed:
            break
    counts.used += len(input_ids)
    _refuse_if_too_few(len(input_ids), refused, arguments)
    return datasets.Dataset.from_dict({"input_ids": input_ids, "labels": labels})


def _refuse_if_too_few(
    n_used: int, refused: list[RefusedRow], arguments: TrainingArguments
) -> None:
    if len(refused) > n_used or (refused and not n_used):
        n = len(refused) + n_used
        others = f" ({len(refused)} of the {n} rows tried)" if len(refused) > 1 else ""
        raise InvalidInput(f"{refused[0]}{others}")
    if not n_used:
        raise InvalidInput(
            f"training_args.max_seq_length: {arguments.max_seq_length} leaves no token of an "
            "answer to learn; allow more"
        )


def _never_refused(rows: datasets.Dataset, arguments: TrainingArguments) -> bool:
    """Whether no chat template has a say, so that no more rows are tokenised than are needed."""
    if arguments.dataset_format == "text":
        return True
    return arguments.dataset_format == "prompt_completion" and isinstance(rows[0]["prompt"], str)


def check_token_ids(rows: Iterable[datasets.Dataset | None], n_embeddings: int) -> None:
    """Refuse rows with a token that the model does not embed.

    A tokenizer may know more tokens than the model embeds, as long as no row uses them.

    Raises:
        InvalidInput: naming the largest id.
    """
    largest = max(max(ids) for part in rows if part for ids in part["input_ids"] if ids)
    if largest >= n_embeddings:
        raise InvalidInput(
            f"training_args.model_name: the tokenizer gives the dataset's rows the token id "
            f"{largest} and the model embeds {n_embeddings} tokens; take both from the same model"
        )


def checksum(rows: datasets.Dataset) -> str:
    """A hash of the rows in their order: token ids, labels, and lengths of packed documents."""
    digest = hashlib.sha256()
    for name in (n for n in ("input_ids", "labels", "seq_lengths") if n in rows.column_names):
        for row in rows[name][:]:
            digest.update(f"{name} {list(row)}".encode())
    return digest.hexdigest()[:16]
