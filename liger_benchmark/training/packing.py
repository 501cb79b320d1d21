"""Rows of several documents, by TRL's best-fit-decreasing packing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import TrainingArguments

if TYPE_CHECKING:
    import datasets

# More documents than the tokens of all rows need, as a factor, at each try.
SURPLUS = 1.1
# Documents whose mean length tells how many the rows take.
SAMPLE = 64


def documents_needed(sample: datasets.Dataset, needed: int, arguments: TrainingArguments) -> int:
    """How many different documents `needed` rows take, estimated from some of them."""
    mean = sum(map(len, sample["input_ids"])) / len(sample)
    return math.ceil(SURPLUS * needed * arguments.max_seq_length / mean)


def pack(documents: datasets.Dataset, needed: int, arguments: TrainingArguments) -> Any:
    """Rows of `max_seq_length` tokens or a little less, of whole documents each.

    Args:
        documents: with `input_ids` and `labels`; they are repeated as often as it takes.
        needed: the number of rows to return.

    Returns:
        A dataset with the columns of `documents` and `seq_lengths`, the documents' lengths. The
        rows are shuffled by the seed, since best-fit sorts by length.
    """
    from trl.data_utils import pack_dataset

    n = documents_needed(documents, needed, arguments)
    while True:
        n = round(n * SURPLUS) + 1
        repeated = documents.select([i % len(documents) for i in range(n)])
        rows = pack_dataset(repeated, arguments.max_seq_length, arguments.packing_strategy)
        if len(rows) >= needed:
            return rows.shuffle(seed=arguments.seed).select(range(needed))
