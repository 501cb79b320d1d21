"""The formats that a dataset's rows may have, and which part of a row is its answer.

* `text`: Alpaca's format. The answer is what follows `### Response:`.
* `prompt_completion`: two texts, or two lists of messages. The answer is the completion; a text's
  ends with the end-of-sequence token.
* `messages`: a conversation. Every turn of the assistant is an answer.

Messages become text by the chat template of the model's tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from liger_benchmark.training.answer_tokens import Encoded, encode_texts
from liger_benchmark.training.chat_template import ChatEncoder, is_answer, is_conversation
from liger_benchmark.validation import InvalidInput, show

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

RESPONSE_MARKER = "### Response:"


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


def usable_rows(rows: datasets.Dataset, dataset_format: str, name: str) -> datasets.Dataset:
    """The rows of the dataset `name` that hold an answer, with the columns of their format only.

    Raises:
        InvalidInput: if the rows are not of that format, or fewer than two hold an answer.
    """
    row_format = FORMATS[dataset_format]
    missing = [repr(column) for column in row_format.columns if column not in rows.column_names]
    if missing:
        columns = f"column{'s' * (len(missing) > 1)} {' and '.join(missing)}"
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has no {columns}, which dataset_format "
            f'"{dataset_format}" needs; it has {", ".join(rows.column_names)}; '
            f"{_suggest_format(rows.column_names)}"
        )
    chosen = rows.select_columns(list(row_format.columns))
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
    if len(usable) < 2:
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has {len(usable)} rows whose "
            f"{row_format.answer}; at least 2 are needed"
        )
    return chosen.select(usable)


def encode(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, dataset_format: str, name: str
) -> list[Encoded]:
    """Tokenise usable rows of the dataset `name`, without truncation, and mark the answers.

    Raises:
        InvalidInput: if the rows are messages, and the tokenizer's chat template is missing,
            refuses them, or does not allow locating the answers.
    """
    if dataset_format == "text":
        texts = rows["text"][:]
        answers = [text.index(RESPONSE_MARKER) + len(RESPONSE_MARKER) for text in texts]
        return encode_texts(texts, [[(start, None)] for start in answers], tokenizer)
    if dataset_format == "messages":
        chat = ChatEncoder(tokenizer, dataset_format, name)
        return [chat.encode(messages) for messages in rows["messages"][:]]
    prompts, completions = rows["prompt"][:], rows["completion"][:]
    if isinstance(prompts[0], str):
        end = tokenizer.eos_token or ""
        texts = [
            prompt + completion.removesuffix(end) + end
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return encode_texts(texts, [[(len(prompt), None)] for prompt in prompts], tokenizer)
    chat = ChatEncoder(tokenizer, dataset_format, name)
    both = zip(prompts, completions, strict=True)
    return [chat.encode_completion(prompt, completion) for prompt, completion in both]


def _suggest_format(column_names: Sequence[str]) -> str:
    """The end of an error message: which `dataset_format` these columns have, or would need."""
    fitting = [f'"{name}"' for name, f in FORMATS.items() if {*f.columns} <= {*column_names}]
    if fitting:
        return f"dataset_format: {' or '.join(fitting)} would fit"
    needed = "; ".join(f'"{name}" {" and ".join(f.columns)}' for name, f in FORMATS.items())
    return f"rename columns to those that a dataset_format needs ({needed})"
