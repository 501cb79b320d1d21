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
        answers: for each text the spans of its answers, in order. A token that overlaps one is
            marked.
    """
    if not tokenizer.is_fast:
        return [
            _encode_apart(text, spans, tokenizer, add_special_tokens)
            for text, spans in zip(texts, answers, strict=True)
        ]
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


def _encode_apart(
    text: str, spans: list[Span], tokenizer: PreTrainedTokenizerBase, add_special_tokens: bool
) -> Encoded:
    """Tokenise a text with a tokenizer that does not tell where its tokens lie in the text.

    What lies before, in and after an answer is tokenised apart, so that no token belongs to both.
    """
    ids: list[int] = []
    in_answer: list[bool] = []

    def add(part: str, is_answer: bool) -> None:
        tokens = tokenizer.encode(part, add_special_tokens=False) if part else []
        ids.extend(tokens)
        in_answer.extend([is_answer] * len(tokens))

    position = 0
    for first, last in spans:
        end = len(text) if last is None else last
        add(text[position:first], is_answer=False)
        add(text[max(first, position) : end], is_answer=True)
        position = end
    add(text[position:], is_answer=False)
    if add_special_tokens:
        whole = tokenizer.build_inputs_with_special_tokens(ids)
        n_before = next((i for i in range(len(whole)) if whole[i : i + len(ids)] == ids), 0)
        n_after = len(whole) - n_before - len(ids)
        ids, in_answer = whole, [False] * n_before + in_answer + [False] * n_after
    return ids, in_answer
