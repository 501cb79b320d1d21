"""Messages of a conversation: which are answers, and how calls of tools are worded.

Datasets and chat templates differ: a message that calls tools has a content of null or of no text,
and its arguments are a mapping or JSON.
"""

from __future__ import annotations

import json
from typing import Any

from liger_benchmark.sources.row_files import repaired

Message = dict[str, Any]


# Why a row is left out, in words that follow the number of such rows.
NO_LIST = "whose messages are no list of mappings"
NO_ROLE = "with a message without a role"
NO_CONTENT = "with a message without content"
NO_TEXT = "with a content that is no text, such as an image"
FUNCTION_CALL = "with a function_call, which tool_calls have replaced"
# The types that a part of a content has which is a text.
_TEXT_PARTS = (None, "text", "input_text", "output_text")


def conversation(cell: Any) -> Any:
    """The list that a cell holds as JSON; any other cell as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        value = repaired(json.loads(cell))
    except ValueError:
        return cell
    return value if isinstance(value, list) else cell


def problem_of(cell: Any) -> str | None:
    """Why a cell is no conversation, one of the reasons above; None if it is one.

    A conversation is a list of {role, content}. The content is a text, or a list of parts that are
    texts; that of a message that calls tools may be null.
    """
    if not isinstance(cell, list):
        return NO_LIST
    return next(filter(None, map(_problem_of_message, cell)), None)


def _problem_of_message(message: Any) -> str | None:
    if not isinstance(message, dict):
        return NO_LIST
    if not isinstance(message.get("role"), str):
        return NO_ROLE
    content = message.get("content")
    if content is None and not _calls(message):
        return FUNCTION_CALL if message.get("function_call") else NO_CONTENT
    is_text = content is None or isinstance(content, str)
    is_texts = isinstance(content, list) and all(_text_of_part(p) is not None for p in content)
    return None if is_text or is_texts else NO_TEXT


def _text_of_part(part: Any) -> str | None:
    """The text of a part of a content, which is a text or `{type: text, text: …}`; else None."""
    if isinstance(part, dict):
        part = part.get("text") if part.get("type") in _TEXT_PARTS else None
    return part if isinstance(part, str) else None


def is_answer(message: Message) -> bool:
    """Whether a message is the assistant's, and holds a text or calls a tool."""
    return message["role"] == "assistant" and bool(text_of(message).strip() or _calls(message))


def worded(message: Message, as_json: bool, empty: str | None) -> Message:
    """The message with the arguments of its calls as JSON or as a mapping.

    Args:
        empty: takes the place of a content of null.
    """
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": _with_arguments(call["function"], as_json)}
        if isinstance(call, dict) and isinstance(call.get("function"), dict)
        else call
        for call in message["tool_calls"]
    ]
    content = empty if message["content"] is None else message["content"]
    return message | {"content": content, "tool_calls": calls}


def _with_arguments(function: dict[str, Any], as_json: bool) -> dict[str, Any]:
    arguments = function.get("arguments")
    if as_json and isinstance(arguments, dict):
        return function | {"arguments": json.dumps(arguments, ensure_ascii=False)}
    if not as_json and isinstance(arguments, str):
        try:
            return function | {"arguments": json.loads(arguments)}
        except ValueError:
            return function
    return function


def text_of(message: Message) -> str:
    """The text of a message; empty where it has none, as beside calls of tools.

    Parts are joined by line ends, as vLLM joins them for templates that take a text.
    """
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(_text_of_part(part) or "" for part in content)


def as_parts_or_text(message: Message, as_parts: bool) -> Message:
    """The message with its text as a list of one part, or as the text; a null stays one."""
    if message["content"] is None:
        return message
    text = text_of(message)
    return message | {"content": [{"type": "text", "text": text}] if as_parts else text}


def _calls(message: Message) -> list[Any]:
    """The calls of tools in a message, which may hold them as JSON."""
    return read_list(message.get("tool_calls")) or []


def tidy(message: Message) -> Message:
    """The message without keys of null, with its content and its calls of tools, if there are."""
    kept = {"content": None} | _without_nulls(message)
    kept.pop("tool_calls", None)
    calls = _calls(message)
    return kept | {"tool_calls": calls} if calls else kept


def read_list(value: Any) -> Any:
    """A list, or one as JSON, without keys of null; None if it is neither, or empty."""
    if isinstance(value, str):
        try:
            value = repaired(json.loads(value))
        except ValueError:
            return None
    return _without_nulls(value) if isinstance(value, list) and value else None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
