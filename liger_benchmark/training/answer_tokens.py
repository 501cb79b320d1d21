"""Tokenise texts and mark the tokens that belong to an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Token ids of a row, and for each token whether it belongs to an answer. Both of the same length.
Encoded: TypeAlias = tuple[list[int], list[bool]]
# First character of an answer and the one after its last; None is the end of the text.
Span: TypeAlias = tuple[int, int | None]


def encode_texts(
    texts: list[str],
    answers: Iterable[list[Span]],
    tokenizer: PreTrainedTokenizerBase,
    add_special_tokens: bool = True,
) -> list[Encoded]:
    """Tokenise `texts`, whole.

    Args:
        answers: for each text the spans of its answers. A token that overlaps one is marked.
    """
    encoded = tokenizer(texts, return_offsets_mapping=True, add_special_tokens=add_special_tokens)
    rows = zip(encoded["input_ids"], encoded["offset_mapping"], answers, strict=True)
    # A special token that the tokenizer adds has the offsets (0, 0) and overlaps no span.
    return [
        (
            ids,
            [
                any(end > first and (last is None or start < last) for first, last in spans)
                for start, end in offsets
            ],
        )
        for ids, offsets, spans in rows
    ]
