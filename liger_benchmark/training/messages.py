"""Messages of a conversation: which are answers, and how calls of tools are worded.

Datasets and chat templates differ: a message that calls tools has a content of null or of no text,
and its arguments are a mapping or JSON.
"""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]


def is_conversation(cell: Any) -> bool:
    """Whether a cell is a list of {role, content}, both of them texts.

    The content of a message that calls tools may be null.
    """
    return isinstance(cell, list) and all(
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and (
            isinstance(message.get("content"), str)
            or (message.get("content") is None and bool(_calls(message)))
        )
        for message in cell
    )


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
    """The text of a message; empty where it has none, as beside calls of tools."""
    return message.get("content") or ""


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
            value = json.loads(value)
        except ValueError:
            return None
    return _without_nulls(value) if isinstance(value, list) and value else None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
