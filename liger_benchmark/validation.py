"""Checks of dataclass fields, with error messages of one line."""

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


# Characters of a value or of another library's error that a message shows.
SHOWN = 120


class InvalidInput(ValueError):
    """An input that cannot be run. Its message is one line: the key, the value, what to do.

    Attributes:
        problem: the message without the part of the inputs file, such as `training_args`, in front
            of its key.
    """

    def __init__(self, problem: str, section: str = "") -> None:
        super().__init__(f"{section}.{problem}" if section else problem)
        self.problem = problem


def positive(value: float) -> str | None:
    """Check that a value is greater than 0."""
    return None if value > 0 else "must be greater than 0"


def at_least(minimum: float) -> Check:
    """A check that a value is `minimum` or more."""
    return lambda value: None if value >= minimum else f"must be {minimum} or more"


def one_of(choices: tuple[str, ...]) -> Check:
    """A check that a value is one of `choices`. Its message suggests the nearest of them."""

    def check(value: str) -> str | None:
        if value in choices:
            return None
        return f"is not one of {', '.join(choices)}{did_you_mean(value, choices)}"

    return check


def fraction(value: float) -> str | None:
    """Check that a value is 0 or more and less than 1."""
    return None if 0 <= value < 1 else "must be 0 or more and less than 1"


def plain_name(value: str) -> str | None:
    """Check that a value is printable, on one line and at most 300 characters long."""
    return None if value.isprintable() and len(value) <= 300 else "must be one line of text"


def setting(default: Any, check: Check | None = None) -> Any:
    """A dataclass field with its default and the check that its values have to pass.

    Args:
        default: the default value. A tuple stands for a list, and each instance gets its own list.
        check: returns what is wrong with a value, None if nothing is. For a list field it is given
            each element.
    """
    # A factory for each default: flytekit's schema builder makes a class for a plain default, again
    # in every task that takes these arguments. That took half of the workflow's import time.
    return dataclasses.field(
        default_factory=lambda: list(default) if isinstance(default, tuple) else default,
        metadata={"check": check},
    )


def read_fields(cls: type, where: str, mapping: Any) -> dict[str, Any]:
    """Read the mapping under the key `where` of a file as values for the dataclass `cls`.

    Raises:
        InvalidInput: if it is not a mapping, or has a key that is not a field of `cls`.
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
    """A copy of the mapping, whose keys all have to be fields of the dataclass `cls`.

    Raises:
        InvalidInput: naming the first key that is not a field, and the nearest field.
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
    """The value as a float if it is a number with an exponent and the field takes floats.

    PyYAML reads YAML 1.1, in which `6e-4` and `6.0e4` are text.
    """
    if float in types and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


def check_field(cls: type, where: str, name: str, value: Any) -> None:
    """Check a value's type and range against the field `name` of the dataclass `cls`.

    Raises:
        InvalidInput: naming `where` as the section, the field, the value and what it should be.
    """
    hint = _hints(cls)[name]
    check = _checks(cls)[name]
    if typing.get_origin(hint) is list:
        problem = _list_problem(value, _element_types(hint), check)
    elif typing.get_origin(hint) is dict:
        problem = _mapping_problem(value, check)
    else:
        problem = _value_problem(value, _alternatives(hint), check)
    if problem:
        raise InvalidInput(f"{name}: {problem}", where)


def refuse_repeated(key: str, values: list[Any]) -> None:
    """Refuse a list that holds a value twice.

    Raises:
        InvalidInput: naming `key` and the value.
    """
    problem = _repetition_problem(values)
    if problem:
        raise InvalidInput(f"{key}: {problem}")


def _list_problem(value: Any, types: tuple[type, ...], check: Check | None) -> str | None:
    if not isinstance(value, list):
        return f"{show(value)} is not a list; write [{show(value)}]"
    problems = (_value_problem(element, types, check) for element in value)
    return next(filter(None, problems), None) or _repetition_problem(value)


def _mapping_problem(value: Any, check: Check | None) -> str | None:
    """What is wrong with a mapping of texts to texts; None if nothing is."""
    if not isinstance(value, dict):
        return f"{show(value)} is not a mapping; write {{name: value}}"
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            return f"{show({str(key): item})} is not a text with a text for a name"
    problem = check(value) if check else None
    return f"{show(value)} {problem}" if problem else None


def _repetition_problem(values: list[Any]) -> str | None:
    for i, value in enumerate(values):
        if value in values[:i]:
            return f"{show(value)} is listed twice; list each value once"
    return None


def _value_problem(value: Any, types: tuple[type, ...], check: Check | None) -> str | None:
    names = " or ".join(_TYPE_NAMES[t] for t in types)
    if value is None:
        return None if type(None) in types else f"null is not {names}"
    accepted = (*types, int) if float in types else types
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in types):
        return f"{show(value)} is not {names}{_suggestion(value, types)}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{show(value)} is not a finite number"
    if isinstance(value, int) and abs(value) >= 2**31:
        return f"{show(value)} is too large; it must be below {2**31}"
    problem = check(value) if check else None
    return f"{show(value)} {problem}" if problem else None


def _suggestion(value: Any, types: tuple[type, ...]) -> str:
    """What to write instead, for mistakes that YAML's syntax makes likely; else empty."""
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


@functools.cache
def _checks(cls: type) -> dict[str, Check | None]:
    """By name the check of each field of a dataclass."""
    return {f.name: f.metadata.get("check") for f in dataclasses.fields(cls)}


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
    """The end of an error message that suggests the nearest known word; empty if none is near."""
    # The blog's own file says `dataset`, which is too short for `dataset_name` to count as near.
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6) or [
        k for k in known if word and k.startswith(word)
    ]
    return f"; did you mean {near[0]}?" if near else ""


def one_line(text: object, limit: int | None = SHOWN) -> str:
    """The text on one line, its white space collapsed, cut to `limit` characters unless None."""
    line = " ".join(str(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def show(value: Any) -> str:
    """A value as a message shows it: as JSON on one line, cut to `SHOWN` characters."""
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
