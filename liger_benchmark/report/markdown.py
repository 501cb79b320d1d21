"""The headline and the main table as Markdown, for an issue, a chat or a README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liger_benchmark.report.markup import Cell, Column


def markdown_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> str:
    """A table in GitHub's Markdown; what stands small below a number follows it in brackets.

    It follows after a comma where it has brackets of its own.
    """
    head = _row(column.heading for column in columns)
    rule = _row("---:" if column.is_number else "---" for column in columns)
    return "\n".join([head, rule, *(_row(map(_text, row)) for row in rows)]) + "\n"


def _text(cell: Cell) -> str:
    detail = ", ".join(cell.detail.split("\n"))
    for word in ("to", "in"):  # a range, or a number of repeats, that stands on two lines
        detail = detail.replace(f" {word}, ", f" {word} ")
    if "(" in detail:
        return f"{cell.text}, {detail}"
    return f"{cell.text} ({detail})" if detail else cell.text


def _row(texts: Iterable[str]) -> str:
    shown = (
        text.replace("\N{SOFT HYPHEN}", "").replace("\\", "\\\\").replace("|", "\\|")
        for text in texts
    )
    return f"| {' | '.join(shown)} |"
