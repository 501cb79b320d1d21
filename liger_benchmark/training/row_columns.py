"""From the columns that a dataset has to those that a format reads.

Columns are renamed as `training_args.columns` says. Alpaca's columns become its text, and
ShareGPT's conversations become messages, so that both need no format of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liger_benchmark.training.messages import conversation
from liger_benchmark.validation import InvalidInput, did_you_mean

if TYPE_CHECKING:
    import datasets

RESPONSE_MARKER = "### Response:"
# Alpaca's prompts, with an input and without. Source: tatsu-lab/stanford_alpaca, train.py.
_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
)
# The names that ShareGPT and its relatives give to roles.
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
# Columns that other datasets give to a prompt and its completion.
_PAIRS = (
    ("query", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("instruction", "response"),
    ("prompt", "response"),
    ("prompt", "output"),
    ("input", "output"),
    ("problem", "solution"),
)


def rename(rows: datasets.Dataset, columns: Mapping[str, str], name: str) -> datasets.Dataset:
    """The rows of the dataset `name` with the columns renamed.

    Args:
        columns: by the name that a format needs, the name that the dataset gives.

    Raises:
        InvalidInput: if the dataset has no such column.
    """
    for needed, given in columns.items():
        if given not in rows.column_names:
            raise InvalidInput(
                f"training_args.columns: {needed}: {given!r} is not a column of {name!r}"
                f"{did_you_mean(given, rows.column_names)}; it has {', '.join(rows.column_names)}"
            )
    kept = [given for given in columns.values()]
    others = [c for c in rows.column_names if c not in kept and c not in columns]
    chosen = rows.select_columns([*others, *kept])
    return chosen.rename_columns({given: needed for needed, given in columns.items()})


def with_own_columns(rows: datasets.Dataset, dataset_format: str) -> datasets.Dataset:
    """The rows with the format's own columns, made from Alpaca's or ShareGPT's if these are there.

    Rows that are neither are returned as they are.
    """
    has = {*rows.column_names}
    is_alpaca = dataset_format == "text" and {"instruction", "output"} <= has
    if is_alpaca and ("text" not in has or not any(map(_has_marker, rows["text"]))):
        return _replaced(rows, "text", alpaca_text)
    if dataset_format == "prompt_completion" and {"prompt", "completion"} <= has:
        return _with_numbers_as_text(rows)
    if dataset_format == "messages" and "messages" not in has and "conversations" in has:
        # As JSON, since turns may hold contents of several types.
        return _replaced(rows, "messages", lambda row: json.dumps(sharegpt_messages(row)))
    return rows


def fits(column_names: Sequence[str], dataset_format: str, own: Sequence[str]) -> bool:
    """Whether these columns are those of a format, or can be made into them."""
    has = {*column_names}
    made = {"text": {"instruction", "output"}, "messages": {"conversations"}}
    return {*own} <= has or made.get(dataset_format, {""}) <= has


def suggest_mapping(column_names: Sequence[str]) -> str:
    """What to set for columns of a known pair, for an error message; empty if there is none."""
    for prompt, completion in _PAIRS:
        if {prompt, completion} <= {*column_names}:
            return (
                'set dataset_format: "prompt_completion" and '
                f"columns: {{prompt: {prompt}, completion: {completion}}}"
            )
    return ""


def alpaca_text(row: Mapping[str, Any]) -> str | None:
    """A row of Alpaca's `instruction`, `input` and `output` as its text; None without an output."""
    instruction, output = row["instruction"], row["output"]
    if not isinstance(instruction, str) or not isinstance(output, str):
        return None
    given = row.get("input")
    template = _WITH_INPUT if isinstance(given, str) and given.strip() else _WITHOUT_INPUT
    # Not by str.format, which would read braces in the row's own texts.
    prompt = template.replace("{input}", given or "") if template is _WITH_INPUT else template
    head, _, tail = prompt.partition("{instruction}")
    return f"{head}{instruction}{tail}{output}"


def sharegpt_messages(row: Mapping[str, Any]) -> Any:
    """A row of ShareGPT's `conversations`, with its `system` if there is one, as messages.

    Turns may hold `from` and `value`, or `role` and `content`. A turn of another kind stays as it
    is, for the check of the format to name it.
    """
    turns = conversation(row["conversations"])
    if not isinstance(turns, list):
        return turns
    messages = [_message(turn) for turn in turns]
    system = row.get("system")
    has_system = any(isinstance(m, dict) and m.get("role") == "system" for m in messages)
    if isinstance(system, str) and system.strip() and messages and not has_system:
        return [{"role": "system", "content": system}, *messages]
    return messages


def _message(turn: Any) -> Any:
    if not isinstance(turn, dict) or turn.get("from") is None:
        return turn
    role = turn["from"]
    return {"role": _ROLES.get(str(role).lower(), role), "content": turn.get("value")}


def _with_numbers_as_text(rows: datasets.Dataset) -> datasets.Dataset:
    """The rows with completions that are numbers, as CSV makes them, as texts beside text prompts.

    The type of a column is that of all its cells.
    """
    prompt, completion = (
        str(getattr(rows.features[c], "dtype", "")) for c in ("prompt", "completion")
    )
    if "string" not in prompt or not completion.startswith(("int", "uint", "float", "bool")):
        return rows
    texts = [None if value is None else str(value) for value in rows["completion"]]
    return rows.remove_columns("completion").add_column("completion", texts)


def _has_marker(text: Any) -> bool:
    return isinstance(text, str) and RESPONSE_MARKER in text


def _replaced(
    rows: datasets.Dataset, column: str, make: Callable[[Mapping[str, Any]], Any]
) -> datasets.Dataset:
    import datasets

    made = datasets.Dataset.from_dict({column: [make(row) for row in rows]})
    others = [name for name in rows.column_names if name == "tools"]
    return datasets.concatenate_datasets([made, rows.select_columns(others)], axis=1)
