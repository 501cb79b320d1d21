"""Tables of what the runs' records hold: each key with its value, or all that the runs had."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liger_benchmark.report.markup import Cell, Column, folded, table


def key_table(title: str, values: Mapping[str, list[Any]]) -> str:
    """A folded table of recorded values, see `distinct_values`."""
    rows = [[Cell(key), Cell(_show_distinct(found))] for key, found in values.items()]
    return folded(
        title,
        table(
            f"{title}: one value, or all that the runs had", [Column("Key"), Column("Value")], rows
        ),
    )


def distinct_values(records: Any) -> dict[str, list[Any]]:
    """Each key of nested `records`, dotted, with its different values in order of appearance."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for key, value in _flat(record or {}):
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    return found


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _show_distinct(values: Sequence[Any], most: int = 6) -> str:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values) > most:
        return f"{min(numbers):g} to {max(numbers):g}"
    texts = [_show(value) for value in values[:most]]
    more = len(values) - most
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
