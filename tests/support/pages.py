"""What the tests of the report look at: a page's tags, texts and tables, and the fixed pages."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser
from urllib.parse import unquote

from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.report.page import render_decks, render_page
from support import grids

HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """What the tests look at: tags with their attributes, headings, texts, tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.svg_texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "small" and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            return
        self.text += data
        if "svg" in self.open:
            if self.open[-1] == "text" and data.strip():
                self.svg_texts.append(data.strip())
        elif {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, heading: str) -> list[dict[str, str]]:
        """The table that has a column `heading`, as a dictionary a row."""
        found = next(rows for rows in self.tables if heading in rows[0])
        return [dict(zip(found[0], row, strict=True)) for row in found[1:]]

    def lines_of(self, name: str) -> list[str]:
        """The lines that the button of the file `name` saves, without the first."""
        [button] = [a for tag, a in self.tags if tag == "button" and a.get("data-name") == name]
        first, last = map(int, str(button["data-lines"]).split(","))
        return self.downloads()[str(button["data-whole"])].splitlines()[first:last]

    def downloads(self) -> dict[str, str]:
        links = [attrs for tag, attrs in self.tags if tag == "a" and "download" in attrs]
        return {str(a["download"]): unquote(str(a["href"]).split(",", 1)[1]) for a in links}


# Drawing the figures takes a second or two, and the grids are fixed.
@functools.cache
def analysis_of(name: str) -> Analysis:
    return analyse(grids.ALL[name]())


@functools.cache
def decks_of(name: str) -> dict[str, str]:
    return render_decks(analysis_of(name))


@functools.cache
def html_of(name: str) -> str:
    return render_page(analysis_of(name))
