"""Dataclass fields that check their values, and say in one line what is wrong with them."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Check = Callable[[Any], "str | None"]


class InvalidInput(ValueError):
    """An input that cannot be run. Its message is one line: the key, the value, what to do."""


def positive(value: float) -> str | None:
    """More than nothing."""
    return None if value > 0 else "must be greater than 0"


def at_least(minimum: float) -> Check:
    """`minimum` or more."""
    return lambda value: None if value >= minimum else f"must be {minimum} or more"


def one_of(choices: tuple[str, ...]) -> Check:
    """One of a few names; a near miss is told the nearest."""

    def check(value: str) -> str | None:
        if value in choices:
            return None
        return f"is not one of {', '.join(choices)}{did_you_mean(value, choices)}"

    return check


def fraction(value: float) -> str | None:
    """A share: from 0 up to, and not including, 1."""
    return None if 0 <= value < 1 else "must be 0 or more and less than 1"


def plain_name(value: str) -> str | None:
    """A name that fits on a line."""
    return None if value.isprintable() and len(value) <= 300 else "must be one line of text"


def setting(default: Any, check: Check | None = None) -> Any:
    """A dataclass field with its default and the check that its values have to pass.

    The default comes from a factory: for each plain one flytekit's schema builder makes a class,
    again in every task that takes these arguments, which took half of the workflow's import time.
    A tuple stands for a list, of which every instance gets its own.
    """
    return dataclasses.field(
        default_factory=lambda: list(default) if isinstance(default, tuple) else default,
        metadata={"check": check},
    )


def read_fields(cls: type, where: str, mapping: Any) -> dict[str, Any]:
    """The mapping `where` of a file as values for the dataclass `cls`.

    Raises:
        InvalidInput: if it is no mapping, or names a field that `cls` has not.
    """
    if not isinstance(mapping, Mapping):
        raise InvalidInput(f"{where}: {show(mapping)} is not a mapping; indent its keys below it")
    values = known_keys(cls, where, mapping)
    hints = _hints(cls)
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = [_number(item, _element_types(hints[key])) for item in value]
        else:
            values[key] = _number(value, _alternatives(hints[key]))
    return values


def known_keys(cls: type, where: str, mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """The mapping, if all its keys are fields of the dataclass `cls`.

    Raises:
        InvalidInput: naming the first key that is not, and the nearest that is.
    """
    known = [f.name for f in dataclasses.fields(cls)]
    for key, value in mapping.items():
        if key not in known:
            path = f"{where}.{_show_key(key)}" if where else _show_key(key)
            raise InvalidInput(
                f"{path}: unknown key (value {show(value)}){did_you_mean(str(key), known)}; "
                f"valid keys: {', '.join(known)}"
            )
    return dict(mapping)


def _number(value: Any, types: tuple[type, ...]) -> Any:
    """YAML 1.1, which PyYAML speaks, takes `6e-4` and `6.0e4` for text. They are numbers."""
    if float in types and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


def check_field(cls: type, where: str, name: str, value: Any) -> None:
    """Check a value's type and range against the field `name` of the dataclass `cls`.

    Raises:
        InvalidInput: naming `where`, the field, the value and what it should be.
    """
    key = f"{where}.{name}" if where else name
    hint = _hints(cls)[name]
    check = next(f for f in dataclasses.fields(cls) if f.name == name).metadata.get("check")
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise InvalidInput(f"{key}: {show(value)} is not a list; write [{show(value)}]")
        for item in value:
            _check_value(key, item, _element_types(hint), check)
        refuse_repeated(key, value)
        return
    _check_value(key, value, _alternatives(hint), check)


def refuse_repeated(key: str, values: list[Any]) -> None:
    """Refuse a list that holds a value twice.

    Raises:
        InvalidInput: naming the value.
    """
    for i, value in enumerate(values):
        if value in values[:i]:
            raise InvalidInput(f"{key}: {show(value)} is listed twice; list each value once")


def _check_value(key: str, value: Any, types: tuple[type, ...], check: Check | None) -> None:
    names = " or ".join(_TYPE_NAMES[t] for t in types)
    if value is None:
        if type(None) in types:
            return
        raise InvalidInput(f"{key}: null is not {names}")
    accepted = (*types, int) if float in types else types
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in types):
        raise InvalidInput(f"{key}: {show(value)} is not {names}{_cure(value, types)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{key}: {show(value)} is not a finite number")
    if isinstance(value, int) and abs(value) >= 2**31:
        raise InvalidInput(f"{key}: {show(value)} is too large; it must be below {2**31}")
    problem = check(value) if check else None
    if problem:
        raise InvalidInput(f"{key}: {show(value)} {problem}")


def _cure(value: Any, types: tuple[type, ...]) -> str:
    """What to write instead, for the slips that YAML invites."""
    if isinstance(value, bool) and str in types:
        return '; YAML reads a bare yes or no so: put the word in quotes, as in "no"'
    if isinstance(value, str) and str not in types:
        return "; write it without quotes"
    return ""


_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _alternatives(hint: Any) -> tuple[type, ...]:
    """The types that a value may have: `float` and `None` for `float | None`."""
    return typing.get_args(hint) or (hint,)


def _element_types(hint: Any) -> tuple[type, ...]:
    """The types that the elements of a list may have; none if the hint allows no list."""
    for alternative in (hint, *typing.get_args(hint)):
        if typing.get_origin(alternative) is list:
            return _alternatives(typing.get_args(alternative)[0])
    return ()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as the end of an error message; empty if none is near."""
    # The blog's own file says `dataset`, which is too short for a mere likeness to be found.
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6) or [
        k for k in known if word and k.startswith(word)
    ]
    return f"; did you mean {near[0]}?" if near else ""


SHOWN = 120


def one_line(text: object, limit: int | None = SHOWN) -> str:
    """The text without line breaks, cut to `limit` characters; None leaves its length."""
    line = " ".join(str(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def show(value: Any) -> str:
    """A value as a message shows it: as JSON would write it, on one line."""
    text = ""
    try:
        # Piece by piece: through YAML's aliases a value can be of any size.
        for piece in json.JSONEncoder(default=repr).iterencode(value):
            text += piece
            if len(text) > SHOWN:
                break
        return one_line(text)
    except (ValueError, TypeError, RecursionError):
        return one_line(ascii(type(value).__name__))


def _show_key(key: Any) -> str:
    return key if isinstance(key, str) and key.isidentifier() else show(key)
