"""The HTML elements the report is made of. Text from inputs is escaped here."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from liger_benchmark.report.figures.drawing import accessible
from liger_benchmark.wording import MINUS, NO_VALUE, known

# A date, and a range such as 34–42%, with the bracket that holds it.
_UNBROKEN = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\(?{MINUS}?\b\d[\d.,]*{NO_VALUE}\d[\d.,]*\d*%?\)?"
)


@dataclass(frozen=True)
class Cell:
    """A table's cell: `text`, a smaller `detail` under it, the number it is sorted by.

    `markup` replaces the text where a cell is more than text; who gives it has escaped it. `title`
    is shown while the pointer is on the cell.
    """

    text: str = ""
    detail: str = ""
    value: float | None = None
    is_number: bool = False
    markup: str | None = None
    title: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column: its heading, and whether numbers stand in it."""

    heading: str
    is_number: bool = False


def escape(value: Any) -> str:
    """`value` as text that HTML shows as it is, in an attribute too."""
    return html.escape(str(value), quote=True)


def unbroken(value: Any) -> str:
    """`value` as HTML text in which no line ends within a date or a range of numbers.

    A browser breaks lines at their hyphens and dashes.
    """
    return _UNBROKEN.sub(r'<span class="unbroken">\g<0></span>', escape(value))


def number_cell(value: Any, write: Callable[[float], str], detail: str = "") -> Cell:
    """A cell with `write(value)`, or with a dash and no detail where there is no number."""
    if not known(value):
        return text_in_number_column(NO_VALUE)
    return Cell(write(value), detail, value, is_number=True)


def text_in_number_column(text: str) -> Cell:
    """A cell for what stands in a column of numbers in place of one; it is sorted last."""
    return Cell(text, is_number=True)


def integer_cell(value: int) -> Cell:
    """A cell for a batch size or the number of a repeat."""
    return Cell(str(value), value=value, is_number=True)


def arm_cell(arm: str) -> Cell:
    """A cell for an arm's name, whose longest words (`max_seq_length=2048`) may be broken."""
    words = (
        re.sub("([_=])", r"\1<wbr>", escape(word)) if len(word) > 15 else escape(word)
        for word in arm.split(" ")
    )
    return Cell(arm, markup=" ".join(words))


def paragraph(text: str, css_class: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(css_class)}>{unbroken(text)}</p>"


def items(texts: Iterable[str], css_class: str) -> str:
    """A list of plain texts; nothing at all if there is none."""
    inner = "".join(f"<li>{unbroken(text)}</li>" for text in texts)
    return f"<ul{_class(css_class)}>{inner}</ul>" if inner else ""


def heading(text: str, anchor: str) -> str:
    """A heading of a part of a section, which a link can lead to."""
    return f'<h3 id="{anchor}">{escape(text)}</h3>'


def figure(name: str, label: str, caption: str, *svgs: str) -> str:
    """A figure with its caption.

    Args:
        name: of the files that it is saved as.
        label: its name for a screen reader.
        svgs: one, or one for a wide window and one for a narrow window.
    """
    classes = ("wide", "narrow") if len(svgs) > 1 else ("only",)
    drawn = "".join(
        f'<div class="{size}">{accessible(svg, escape(label))}</div>'
        for size, svg in zip(classes, svgs, strict=True)
    )
    if len(svgs) == 1:
        drawn = _scroll(drawn, f"Figure: {name}")
    return (
        f'<figure data-name="{escape(name)}">{drawn}<figcaption>{escape(caption)}</figcaption>'
        "</figure>"
    )


def copy_button(text: str, label: str) -> str:
    """A button that copies `text`; hidden until the page's script has made it work."""
    return (
        f'<button type="button" class="copy" hidden data-copy="{escape(text)}">'
        f"{escape(label)}</button>"
    )


def code(text: str) -> str:
    """A block of code or of a file's text, with a button to copy it."""
    return f'<div class="code"><pre>{escape(text)}</pre>{copy_button(text, "Copy")}</div>'


def folded(summary: str, content: str) -> str:
    """`content` that is shown once its summary is clicked, and in print."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], css_class: str = ""
) -> str:
    """A table whose first column heads its rows; a class is "dense" or "words"."""
    head = "".join(
        f'<th scope="col"{_class("num" if column.is_number else "")}>{escape(column.heading)}</th>'
        for column in columns
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, range(len(columns))))}</tr>" for row in rows)
    return _scroll(
        f"<table{_class(css_class)}>"
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>",
        f"Table: {caption}",
    )


def _scroll(content: str, label: str) -> str:
    """What may be wider than a narrow window; it can be scrolled with the keyboard too."""
    name = escape(label)
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{name}">{content}</div>'


def download(name: str, media_type: str, text: str, label: str) -> str:
    """A link that holds the file `name` itself; only letters that need it are encoded."""
    # Everything printable but what would end the attribute, the data or its encoding.
    safe = '!$"()*+,-./:;=?@[]^_`{|}~ '
    data = quote(text, safe=safe).replace(" ", "%20")
    # In single quotes, since JSON is full of double ones.
    return (
        f"<a download=\"{escape(name)}\" href='data:{media_type};charset=utf-8,{data}'>"
        f"{escape(label)}</a>"
    )


def part_button(name: str, whole: str, first: int, last: int, label: str) -> str:
    """A button that saves lines of a file that is in the page, with that file's first line.

    It is hidden until the page's script has made it work. What the page holds twice, it holds once
    this way.

    Args:
        name: of the file that is saved.
        whole: the name that the file is downloaded by.
        first, last: its lines, counted from 0; the last is not among them.
    """
    return (
        f'<button type="button" class="part" hidden data-name="{escape(name)}" '
        f'data-whole="{escape(whole)}" data-lines="{first},{last}" '
        f'aria-label="Save {escape(name)}">{escape(label)}</button>'
    )


def link(url: Any, label: str) -> str:
    """A link to a page on the web; only its text for anything that is not http(s)."""
    if not (isinstance(url, str) and url.startswith(("https://", "http://"))):
        return ""
    return f'<a href="{escape(url)}" rel="noopener noreferrer">{escape(label)}</a>'


def _cell(cell: Cell, position: int) -> str:
    tag = 'th scope="row"' if position == 0 else "td"
    value = (
        "" if not cell.is_number else f' data-value="{"" if cell.value is None else cell.value}"'
    )
    inner = unbroken(cell.text) if cell.markup is None else cell.markup
    if cell.detail:
        inner += f"<small>{unbroken(cell.detail)}</small>"
    css_class = "num" if cell.is_number else "text"
    title = f' title="{escape(cell.title)}"' if cell.title else ""
    return f"<{tag}{_class(css_class)}{value}{title}>{inner}</{tag[:2]}>"


def _class(css_class: str) -> str:
    return f' class="{css_class}"' if css_class else ""
