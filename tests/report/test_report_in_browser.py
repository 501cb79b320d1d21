"""The page in a real browser: narrow and wide, light and dark.

Chromium shows a copy of the page to which two scripts are added: one that notes errors and blocked
requests from the start, one that measures the page at the end and leaves what it found in it.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from string import Template
from typing import Any

import pytest
from flytekit.deck.deck import get_deck_template
from support import grids
from support.browser import CHROMIUM, FLAGS, needs_chromium

from liger_benchmark.analysis.tables import analyse, read_experiment
from liger_benchmark.report.page import render_decks, render_page
from liger_benchmark.run import Run

pytestmark = needs_chromium

# A request of any kind is blocked by the policy, and noted.
POLICY = """
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
"""
WATCH = Path(__file__).with_name("browser_watch.js").read_text(encoding="utf-8")
MEASURE = Path(__file__).with_name("browser_measure.js").read_text(encoding="utf-8")


@functools.cache
def page_of(name: str) -> str:
    return render_page(analyse(grids.ALL[name]()))


def measure(html: str, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    """Open `html` in a window `width` pixels wide and return what the scripts found."""
    path = folder / "page.html"
    html = html.replace("<head>", f"<head>{POLICY}<script>{WATCH}</script>", 1)
    html = html.replace("</body>", f"<script>{MEASURE}</script></body>")
    path.write_text(html, encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900",
            *(["--force-dark-mode"] if dark else []), "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(unescape(found[1]))
    assert (result["width"], result["dark"]) == (width, dark)
    return result


def assert_sound(found: dict[str, Any]) -> None:
    assert found["problems"] == []
    assert found["requests"] == []
    assert found["overflowing"] == []
    assert found["cut"] == []
    assert found["overlapping"] == []
    assert found["faint"] == []


WIDE = ("complete", "six_arms", "many_bars")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [800, 1400])
@pytest.mark.parametrize("name", WIDE)
def test_nothing_overlaps_is_cut_faint_or_fetched(
    tmp_path: Path, name: str, width: int, dark: bool
) -> None:
    found = measure(page_of(name), tmp_path, width, dark)
    assert_sound(found)
    assert found["texts"] > 90


@pytest.mark.parametrize("name", [name for name in grids.ALL if name not in WIDE])
def test_the_other_grids_fit_a_narrow_window(tmp_path: Path, name: str) -> None:
    assert_sound(measure(page_of(name), tmp_path, 800, False))


PUBLISHED = sorted(path.parent for path in (Path(__file__).parents[2] / "results").glob("*/runs"))


@functools.cache
def runs_of(folder: Path) -> list[Run]:
    return read_experiment([folder])


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_the_published_grids_fit_a_narrow_window(tmp_path: Path, folder: Path) -> None:
    assert_sound(measure(render_page(analyse(runs_of(folder))), tmp_path, 800, False))


def in_flytes_page(decks: dict[str, str]) -> str:
    """The decks in flytekit's own page, all of them unfolded. Its one web font is left out."""
    template = get_deck_template().template
    template = re.sub(r'<link href="https://fonts[^>]*>', "", template)
    return Template(template).substitute(
        NAV_HTML="".join(f'<li onclick="handleLinkClick(this)">{name}</li>' for name in decks),
        BODY_HTML="".join(f'<div class="active">{html}</div>' for html in decks.values()),
    )


DECKS = ("complete", "uncertain", "six_arms", "many_bars", "no_vanilla")


@pytest.mark.parametrize(
    "runs",
    [
        *(grids.ALL[name] for name in DECKS),
        *(functools.partial(runs_of, path) for path in PUBLISHED),
    ],
    ids=[*DECKS, *(path.name for path in PUBLISHED)],
)
def test_the_decks_fit_flytes_own_page_in_a_narrow_window(
    tmp_path: Path, runs: Callable[[], list[Run]]
) -> None:
    found = measure(in_flytes_page(render_decks(analyse(runs()))), tmp_path, 800, False)
    assert_sound(found)
    assert found["texts"] > 50  # every deck is unfolded, so its figures were measured


def test_a_click_on_a_heading_sorts_by_number_with_missing_numbers_last(tmp_path: Path) -> None:
    found = measure(page_of("complete"), tmp_path, 1400, False)["sorted"]
    up, up_state, down, down_state = found["Tokens/s"]
    assert (up_state, down_state) == ("ascending", "descending")
    rates = [float(text.replace(",", "")) for text in up[:30]]
    assert rates == sorted(rates) and up[30:] == ["–"] * 6
    assert [float(text.replace(",", "")) for text in down[:30]] == rates[::-1]
    assert down[30:] == ["–"] * 6
    assert found["Outcome"][0] == sorted(found["Outcome"][0])


def test_a_deck_has_its_own_background_on_any_page(tmp_path: Path) -> None:
    """Flyte shows all fragments in one document, with a style of its own."""
    decks = render_decks(analyse(grids.one_batch_size()))
    body = "".join(f"<div>{html}</div>" for html in decks.values())
    page = (
        "<!doctype html><html><head><meta charset='utf-8'><style>ul{list-style:none}"
        f"body{{margin:0}}</style></head><body>{body}</body></html>"
    )
    assert_sound(measure(page, tmp_path, 1400, True))
