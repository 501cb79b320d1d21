"""The formats that a dataset's rows may have, and which part of a row is its answer.

* `text`: Alpaca's format. The answer is what follows `### Response:`. Alpaca's columns instruction,
  input and output are written as such a text.
* `prompt_completion`: two texts, or two lists of messages. The answer is the completion; a text's
  ends with the end-of-sequence token.
* `messages`: a conversation. Every turn of the assistant is an answer, and so is a call of a tool.
  ShareGPT's column conversations is read as messages.

Messages become text by the chat template of the model's tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import AUTO
from liger_benchmark.training.answer_tokens import Encoded, encode_texts
from liger_benchmark.training.chat_template import ChatEncoder, RefusedRow
from liger_benchmark.training.messages import is_answer, is_conversation
from liger_benchmark.training.row_columns import (
    RESPONSE_MARKER,
    fits,
    rename,
    suggest_mapping,
    with_own_columns,
)
from liger_benchmark.training.row_counts import EMPTY, NO_ANSWER, RowCounts
from liger_benchmark.validation import InvalidInput, show

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

# Holds the number that a usable row has in the dataset, counted from 1.
ROW_NUMBER = "_row_number"
TOOLS = "tools"
# Texts that are tokenised at once.
BATCH = 1000


@dataclass(frozen=True)
class RowFormat:
    """A format of a dataset's rows. The functions take the cells of `columns`, in that order.

    Attributes:
        columns: the required columns.
        answer: what a usable row holds, for error messages.
        has_answer: whether a valid row holds an answer; rows without one are left out.
        is_valid: whether a row's cells have the required types; one that has not is an error.
        valid: what those types are, for error messages.
    """

    columns: tuple[str, ...]
    answer: str
    has_answer: Callable[..., bool]
    is_valid: Callable[..., bool] = lambda *cells: True
    valid: str = ""


def _is_text_with_response(text: Any) -> bool:
    return isinstance(text, str) and bool(text.partition(RESPONSE_MARKER)[2].strip())


def _has_completion(prompt: Any, completion: Any) -> bool:
    if prompt is None or completion is None:
        return False
    if isinstance(completion, str):
        return bool(completion.strip())
    return any(is_answer(message) for message in completion)


def _is_prompt_and_completion(prompt: Any, completion: Any) -> bool:
    if prompt is None or completion is None:
        return True
    both = (prompt, completion)
    return all(isinstance(cell, str) for cell in both) or all(map(is_conversation, both))


FORMATS = {
    "text": RowFormat(
        ("text",), f"text holds '{RESPONSE_MARKER}' and a response", _is_text_with_response
    ),
    "prompt_completion": RowFormat(
        ("prompt", "completion"),
        "prompt is not null and whose completion holds an answer",
        _has_completion,
        _is_prompt_and_completion,
        "two texts or two lists of {role, content}, both of them texts",
    ),
    "messages": RowFormat(
        ("messages",),
        "messages hold an answer of the role 'assistant'",
        lambda cell: cell is not None and any(is_answer(message) for message in cell),
        lambda cell: cell is None or is_conversation(cell),
        "a list of {role, content}, both of them texts",
    ),
}


def format_of(rows: datasets.Dataset, arguments: TrainingArguments) -> str:
    """The format that the arguments name; for "auto", the one that the rows' columns have.

    Raises:
        InvalidInput: if the columns have no format, or several.
    """
    if arguments.dataset_format != AUTO:
        return arguments.dataset_format
    names = rename(rows, arguments.columns, arguments.dataset_name).column_names
    fitting = _fitting(names)
    if len(fitting) == 2 and "text" in fitting and not _holds_marker(rows, names):
        fitting.remove("text")  # a column of text beside them that is not Alpaca's
    if len(fitting) == 1:
        return fitting[0]
    key = f"training_args.dataset_format: {AUTO!r} cannot tell the format of"
    raise InvalidInput(
        f"{key} {arguments.dataset_name!r} by its columns {', '.join(names)}; "
        f"{_suggest_format(names)}"
    )


def usable_rows(
    rows: datasets.Dataset,
    dataset_format: str,
    name: str,
    columns: Mapping[str, str] | None = None,
    counts: RowCounts | None = None,
) -> datasets.Dataset:
    """The rows of the dataset `name` that hold an answer, with the columns of their format only.

    These are the required ones, `tools` if the dataset has it, and each row's number.

    Args:
        columns: names of columns to map, see `rename`.
        counts: is given the number of rows, and of those that are left out.

    Raises:
        InvalidInput: if the rows are not of that format, or fewer than two hold an answer.
    """
    counts = RowCounts() if counts is None else counts
    counts.read = len(rows)
    row_format = FORMATS[dataset_format]
    rows = with_own_columns(rename(rows, columns or {}, name), dataset_format)
    missing = [repr(column) for column in row_format.columns if column not in rows.column_names]
    if missing:
        needed = f"column{'s' * (len(missing) > 1)} {' and '.join(missing)}"
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has no {needed}, which dataset_format "
            f'"{dataset_format}" needs; it has {", ".join(rows.column_names)}; '
            f"{_suggest_format(rows.column_names)}"
        )
    chosen = rows.select_columns(
        [*row_format.columns, *(c for c in (TOOLS,) if c in rows.column_names)]
    )
    cells = zip(*(chosen[column][:] for column in row_format.columns), strict=True)
    usable = []
    for i, row in enumerate(cells):
        if not row_format.is_valid(*row):
            shown = (f"{c} {show(v)}" for c, v in zip(row_format.columns, row, strict=True))
            raise InvalidInput(
                f"training_args.dataset_name: {name!r} has in row {i + 1} {' and '.join(shown)}; "
                f'dataset_format "{dataset_format}" needs {row_format.valid}'
            )
        if row_format.has_answer(*row):
            usable.append(i)
        else:
            counts.left_out[NO_ANSWER if any(row) else EMPTY] += 1
    if len(usable) < 2:
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has {len(usable)} rows whose "
            f"{row_format.answer}; at least 2 are needed"
        )
    return chosen.select(usable).add_column(ROW_NUMBER, [i + 1 for i in usable])


def encode(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, dataset_format: str, name: str
) -> Iterator[Encoded | RefusedRow]:
    """Tokenise usable rows of the dataset `name`, without truncation, and mark the answers.

    Yields:
        For each row, in their order, its tokens; or why the chat template does not take it.

    Raises:
        InvalidInput: if the rows are messages, and the tokenizer has no chat template.
    """
    chat: ChatEncoder | None = None
    number = 0
    for batch in rows.iter(batch_size=BATCH):
        if dataset_format == "text":
            texts = batch["text"]
            answers = [text.index(RESPONSE_MARKER) + len(RESPONSE_MARKER) for text in texts]
            yield from encode_texts(texts, [[(start, None)] for start in answers], tokenizer)
            continue
        if dataset_format == "prompt_completion" and isinstance(batch["prompt"][0], str):
            yield from _encode_completions(batch["prompt"], batch["completion"], tokenizer)
            continue
        chat = chat or ChatEncoder(tokenizer, dataset_format, name)
        n = len(next(iter(batch.values())))
        for i in range(n):
            number += 1
            row = {column: cells[i] for column, cells in batch.items()}
            yield _encode_messages(chat, row, row.get(ROW_NUMBER, number))


def _encode_completions(
    prompts: list[str], completions: list[str], tokenizer: PreTrainedTokenizerBase
) -> list[Encoded]:
    end = tokenizer.eos_token or ""
    texts = [
        prompt + completion.removesuffix(end) + end
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    return encode_texts(texts, [[(len(prompt), None)] for prompt in prompts], tokenizer)


def _encode_messages(chat: ChatEncoder, row: dict[str, Any], number: int) -> Encoded | RefusedRow:
    try:
        if "messages" in row:
            return chat.encode(row["messages"], row.get(TOOLS), number)
        return chat.encode_completion(row["prompt"], row["completion"], row.get(TOOLS), number)
    except RefusedRow as refused:
        return refused


def _fitting(column_names: Sequence[str]) -> list[str]:
    return [name for name, f in FORMATS.items() if fits(column_names, name, f.columns)]


def _holds_marker(rows: datasets.Dataset, column_names: Sequence[str]) -> bool:
    texts = rows["text"] if "text" in rows.column_names else []
    return "text" not in column_names or any(_is_text_with_response(text) for text in texts)


def _suggest_format(column_names: Sequence[str]) -> str:
    """The end of an error message: which `dataset_format` these columns have, or would need."""
    fitting = [f'"{name}"' for name in _fitting(column_names)]
    if fitting:
        return f"dataset_format: {' or '.join(fitting)} would fit"
    if mapping := suggest_mapping(column_names):
        return mapping
    needed = "; ".join(f'"{name}" {" and ".join(f.columns)}' for name, f in FORMATS.items())
    return (
        "rename columns (or map them by training_args.columns) to those that a dataset_format "
        f"needs ({needed})"
    )
