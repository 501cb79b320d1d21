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
from liger_benchmark.training.messages import conversation, is_answer, problem_of
from liger_benchmark.training.row_columns import (
    RESPONSE_MARKER,
    fits,
    rename,
    suggest_mapping,
    with_own_columns,
)
from liger_benchmark.training.row_counts import EMPTY, NO_ANSWER, RowCounts
from liger_benchmark.training.template_clock import DATE
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
        problem: why a row's cells have not the required types; None if they have. Such rows are
            left out, as long as most have.
        valid: what those types are, for error messages.
    """

    columns: tuple[str, ...]
    answer: str
    has_answer: Callable[..., bool]
    problem: Callable[..., str | None] = lambda *cells: None
    valid: str = ""


def _is_text_with_response(text: Any) -> bool:
    return isinstance(text, str) and bool(text.partition(RESPONSE_MARKER)[2].strip())


def _has_completion(prompt: Any, completion: Any) -> bool:
    if prompt is None or completion is None:
        return False
    if isinstance(completion, str):
        return bool(completion.strip())
    return any(is_answer(message) for message in completion)


def _problem_of_pair(prompt: Any, completion: Any) -> str | None:
    both = (prompt, completion)
    if None in both or all(isinstance(cell, str) for cell in both):
        return None
    return problem_of(prompt) or problem_of(completion)


FORMATS = {
    "text": RowFormat(
        ("text",), f"text holds '{RESPONSE_MARKER}' and a response", _is_text_with_response
    ),
    "prompt_completion": RowFormat(
        ("prompt", "completion"),
        "prompt is not null and whose completion holds an answer",
        _has_completion,
        _problem_of_pair,
        "two texts or two lists of {role, content}, both of them texts",
    ),
    "messages": RowFormat(
        ("messages",),
        "messages hold an answer of the role 'assistant'",
        lambda cell: cell is not None and any(is_answer(message) for message in cell),
        lambda cell: None if cell is None else problem_of(cell),
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
    usable: list[int] = []
    malformed: list[tuple[int, Sequence[Any]]] = []
    for i, row in enumerate(cells):
        row = tuple(map(conversation, row)) if dataset_format == "messages" else row
        if problem := row_format.problem(*row):
            malformed.append((i + 1, row))
            counts.left_out[problem] += 1
        elif row_format.has_answer(*row):
            usable.append(i)
        else:
            counts.left_out[NO_ANSWER if any(row) else EMPTY] += 1
    if len(malformed) > len(usable):
        others = f" ({len(malformed)} of {len(rows)} rows are so)" if len(malformed) > 1 else ""
        raise InvalidInput(f"{_malformed(name, dataset_format, *malformed[0])}{others}")
    if len(usable) < 2:
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has {len(usable)} rows whose "
            f"{row_format.answer}; at least 2 are needed"
        )
    return chosen.select(usable).add_column(ROW_NUMBER, [i + 1 for i in usable])


def _malformed(name: str, dataset_format: str, number: int, cells: Sequence[Any]) -> str:
    """What is wrong with a row, counted from 1, whose cells have not the format's types."""
    row_format = FORMATS[dataset_format]
    shown = (f"{c} {show(v)}" for c, v in zip(row_format.columns, cells, strict=True))
    return (
        f"training_args.dataset_name: {name!r} has in row {number} {' and '.join(shown)}; "
        f'dataset_format "{dataset_format}" needs {row_format.valid}'
    )


def encode(
    rows: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    dataset_format: str,
    name: str,
    counts: RowCounts | None = None,
) -> Iterator[Encoded | RefusedRow]:
    """Tokenise usable rows of the dataset `name`, without truncation, and mark the answers.

    Args:
        counts: is given the date that the chat template has written, if any.

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
            encoded = _encode_messages(chat, row, row.get(ROW_NUMBER, number))
            if counts is not None and chat.clock.was_read:
                counts.template_date = f"{DATE:%Y-%m-%d}"
            yield encoded


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
            return chat.encode(conversation(row["messages"]), row.get(TOOLS), number)
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
