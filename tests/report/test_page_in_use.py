"""The page in use: folding, links, hover, copying, files of figures, print, a phone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from support import grids
from support.browser import look_at, needs_chromium, run_chromium
from support.pages import analysis_of, html_of

from liger_benchmark.report.page import render_decks

pytestmark = needs_chromium

USE = Path(__file__).with_name("browser_use.js").read_text(encoding="utf-8")


@functools.cache
def used(name: str, folder: Path, width: int = 1400, height: int = 900) -> dict[str, Any]:
    return look_at(html_of(name), folder, USE, width, height)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return used("complete", tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return used("many_bars", tmp_path_factory.mktemp("many"))


def test_long_tables_and_the_environment_are_folded_until_they_are_clicked(
    complete: dict[str, Any],
) -> None:
    folded = dict(complete["folded"])
    assert {"All 36 runs", "Seconds by phase of 36 runs", "Machine and packages"} <= set(folded)
    assert not any(folded.values())
    assert complete["unfolded"]


def test_the_contents_lead_to_their_headings_and_unfold_what_is_there(
    complete: dict[str, Any],
) -> None:
    titles = [title for title, _ in complete["anchors"]]
    assert titles == [
        "Throughput", "Peak reserved memory", "What to turn on",
        "Failed, out of memory or invalid", "The blog’s claims", "By batch size",
        "Training curves", "Where the time goes", "Runs", "Environment",
    ]  # fmt: skip
    assert all(there for _, there in complete["anchors"])
    assert complete["runs"] == ["#runs", True]


def test_every_bar_point_and_line_says_what_it_shows(
    complete: dict[str, Any], many: dict[str, Any]
) -> None:
    marks = {name: (n, under, shown) for name, n, under, shown, *_ in complete["hovered"]}
    assert set(marks) == {"answer", "throughput", "memory", "loss", "speed", "phases"}
    assert marks["answer"][0] == 2 * len(grids.SIZES)
    assert marks["answer"][1] == marks["answer"][2]
    assert marks["answer"][2] == (
        "batch size 16: speed-up +26.4%; 95% interval +23.3% to +29.6%; 3 pairs of repeats"
    )
    assert marks["throughput"][1] == marks["throughput"][2]
    assert marks["throughput"][2].startswith("vanilla, batch size 16: 13,003 tokens/s; 95%")
    assert marks["throughput"][2].endswith("; 3 repeats of 3 completed")
    assert all(n and shown for n, _, shown in marks.values())
    assert all(hidden for *_, hidden in complete["hovered"])
    bars = {name: shown for name, _, _, shown, *_ in many["hovered"]}
    assert bars["throughput"].startswith("Liger + torch_compile, batch size 8: ")
    assert bars["throughput"].endswith("; 2 repeats of 3 completed")


def test_the_headline_and_the_table_are_copied_as_markdown(complete: dict[str, Any]) -> None:
    assert complete["label"] == complete["labelAgain"] == "Copy as Markdown"
    text, said = complete["copied"]
    assert said == "Copied"
    assert text.startswith(f"**{analysis_of('complete').headline}**\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0].startswith("| Batch size | Arm | Tokens/s | Speed-up |")
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) == 2 + 2 * len(grids.SIZES)


def test_copying_falls_back_where_the_clipboard_is_not_allowed(complete: dict[str, Any]) -> None:
    text = complete["copied"][0]
    assert complete["copiedInFrame"] == [text, False]
    assert complete["copiedByHand"] == text


def test_a_figure_is_saved_as_svg_and_png_in_colours_of_its_own(complete: dict[str, Any]) -> None:
    assert complete["files"] == ["answer.svg", "answer.png"]
    svg = complete["svg"]
    assert "var(" not in svg and "currentColor" not in svg and "data-tip" not in svg
    assert "<title>batch size 16: speed-up" in svg and 'width="676.8"' in svg
    assert complete["png"].startswith("data:image/png;base64,iVBORw0K")  # a PNG's first bytes


def test_the_steps_of_one_run_are_saved_from_those_of_all(complete: dict[str, Any]) -> None:
    name, lines, hidden = complete["part"]
    assert not hidden and name.endswith(".csv")
    assert lines[0].startswith("arm,use_liger,") and lines[-1] == ""
    assert len(lines) == 1 + 40 + 1
    assert [line.split(",")[4] for line in lines[1:-1]] == [str(step + 1) for step in range(40)]


def test_print_unfolds_everything_and_folds_it_again(
    complete: dict[str, Any], tmp_path: Path
) -> None:
    assert complete["openInPrint"] and not complete["openAfterPrint"]
    sizes = []
    for name, html in (
        ("whole", html_of("complete")),
        ("without", html_of("complete").replace("<details", "<div hidden").replace(
            "</details>", "</div>")),
    ):  # fmt: skip
        page, pdf = tmp_path / f"{name}.html", tmp_path / f"{name}.pdf"
        page.write_text(html, encoding="utf-8")
        run_chromium(tmp_path, page, 1400, 900, f"--print-to-pdf={pdf}")
        sizes.append(pdf.read_bytes().count(b"/Type /Page\n"))
    assert sizes[0] >= sizes[1] + 2  # the runs, the phases and the environment


def test_controls_have_names_and_what_scrolls_can_be_reached(
    complete: dict[str, Any], many: dict[str, Any]
) -> None:
    for found in (complete, many):
        assert (found["unnamed"], found["unreachable"]) == (0, 0)


@pytest.mark.parametrize("name", ["complete", "many_bars"])
def test_the_first_figure_stands_on_the_first_screen(
    name: str, complete: dict[str, Any], many: dict[str, Any], tmp_path: Path
) -> None:
    page = complete if name == "complete" else many
    assert page["firstFigure"][1] <= 900
    deck = next(iter(render_decks(analysis_of(name)).values()))
    html = f'<!doctype html><html lang="en"><body style="margin:0">{deck}</body></html>'
    found = look_at(html, tmp_path, USE, 880, 620)  # below the console's tabs, 720 in all
    assert found["firstFigure"][1] <= 620
    assert found["wider"] == 0


@pytest.mark.parametrize("name", ["complete", "many_bars", "all_failed", "on_cpu"])
def test_a_phone_shows_the_page_without_scrolling_sideways(tmp_path: Path, name: str) -> None:
    found = used(name, tmp_path, 390, 844)
    assert (found["width"], found["wider"]) == (390, 0)
    assert (found["unnamed"], found["unreachable"]) == (0, 0)
    if name == "complete":
        assert found["firstFigure"][0] < 844
        assert "answer-narrow" in found["svg"]


def test_the_sandboxed_frame_of_the_console_runs_the_script(tmp_path: Path) -> None:
    deck = next(iter(render_decks(analysis_of("complete")).values()))
    html = f"<!doctype html><html><body>{deck}</body></html>"
    found = look_at(html, tmp_path, USE, 880, 720, in_frame=True)
    assert found["width"] == 880
    assert found["files"] == ["answer.svg", "answer.png"]
    assert found["copiedByHand"].startswith("**Liger trains")
