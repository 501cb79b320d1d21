"""The page in a real browser: narrow and wide, light and dark.

Chromium shows a copy of the page to which two scripts are added: one that notes errors and blocked
requests from the start, one that measures the page at the end and leaves what it found in it.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from string import Template
from typing import Any

import pytest
from flytekit.deck.deck import get_deck_template
from support import grids

from liger_benchmark.analysis.tables import analyse, read_experiment
from liger_benchmark.report.page import render_decks, render_page
from liger_benchmark.run import Run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip

# A request of any kind is blocked by the policy, and noted.
WATCH = """
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<script>
window.problems = [];
window.onerror = function (message) { problems.push("error: " + message); };
console.error = function (message) { problems.push("console: " + message); };
document.addEventListener("securitypolicyviolation", function (event) {
  problems.push("request: " + event.blockedURI + " " + event.violatedDirective);
});
</script>
"""

MEASURE = """
<script>
window.addEventListener("load", function () {
  var found = {problems: window.problems, width: innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    requests: performance.getEntriesByType("resource").map(function (e) { return e.name; }),
    overflowing: [], overlapping: [], cut: [], faint: []};
  var all = Array.from(document.querySelectorAll("body, body *:not(script):not(style)"));
  var html = all.filter(function (e) { return !e.closest("svg"); });
  [document.documentElement].concat(html).forEach(function (e) {
    // An inline box has no width of its own.
    if (getComputedStyle(e).display === "inline") return;
    if (e.scrollWidth > e.clientWidth + 1)
      found.overflowing.push(e.tagName + "." + e.className + ": " + e.textContent.slice(0, 60) +
        " " + e.scrollWidth + ">" + e.clientWidth);
  });
  document.querySelectorAll("svg").forEach(function (svg) {
    var frame = svg.getBoundingClientRect();
    var texts = Array.from(svg.querySelectorAll("text")).map(function (t) {
      return {text: t.textContent, box: t.getBoundingClientRect()};
    });
    texts.forEach(function (a, i) {
      if (a.box.left < frame.left - 1 || a.box.right > frame.right + 1 ||
          a.box.top < frame.top - 1 || a.box.bottom > frame.bottom + 1) found.cut.push(a.text);
      texts.slice(i + 1).forEach(function (b) {
        var w = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        var h = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        // A line's box is higher than its letters.
        if (w > 0.5 && h > 3) found.overlapping.push(a.text + " | " + b.text);
      });
    });
    found.texts = (found.texts || 0) + texts.length;
  });
  var light = function (colour) {
    var c = colour.match(/[\\d.]+/g).slice(0, 3).map(function (v) {
      v = v / 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  };
  var contrast = function (one, other) {
    var a = light(one), b = light(other);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  var behind = function (e) {
    for (; e; e = e.parentElement) {
      var colour = getComputedStyle(e).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)" && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  html.forEach(function (e) {
    if (!Array.from(e.childNodes).some(function (n) { return n.nodeType === 3 && n.data.trim(); }))
      return;
    var ratio = contrast(getComputedStyle(e).color, behind(e));
    if (ratio < 4.5) found.faint.push(e.tagName + " " + ratio.toFixed(1) + ": " +
      e.textContent.slice(0, 40));
  });
  // In a figure text stands on the page, but for the numbers inside Liger's bars.
  var resolve = function (name) {
    var probe = document.querySelector(".lb").appendChild(document.createElement("i"));
    probe.style.color = "var(" + name + ")";
    var colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  if (contrast(resolve("--on-liger"), resolve("--liger")) < 4.5) found.faint.push("on the bars");
  document.querySelectorAll("svg text").forEach(function (t) {
    var fill = getComputedStyle(t).fill;
    if (contrast(fill, behind(t)) < 4.5 ? fill !== resolve("--on-liger") :
        fill !== getComputedStyle(t).color) found.faint.push("svg " + fill + ": " + t.textContent);
  });
  var table = Array.from(document.querySelectorAll("table.sortable")).pop();
  var column = function (name) {
    var heads = Array.from(table.tHead.rows[0].cells);
    return heads.findIndex(function (h) {
      return h.textContent.replace(/\\u00ad/g, "").startsWith(name); });
  };
  var read = function (i) {
    return Array.from(table.tBodies[0].rows).map(function (r) { return r.cells[i].textContent; });
  };
  var click = function (i) { table.tHead.rows[0].cells[i].querySelector("button").click(); };
  var sorted = {};
  ["Tokens/s", "Outcome"].forEach(function (name) {
    var i = column(name); click(i);
    sorted[name] = [read(i), table.tHead.rows[0].cells[i].getAttribute("aria-sort")];
    click(i);
    sorted[name].push(read(i), table.tHead.rows[0].cells[i].getAttribute("aria-sort"));
  });
  found.sorted = sorted;
  var out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.replaceChildren(out);
});
</script>
"""


@functools.cache
def page_of(name: str) -> str:
    return render_page(analyse(grids.ALL[name]()))


def measure(html: str, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    """Open `html` in a window `width` pixels wide and return what the scripts found."""
    path = folder / "page.html"
    html = html.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{MEASURE}</body>")
    path.write_text(html, encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900",
            *(["--force-dark-mode"] if dark else []), "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
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
def test_the_other_grids_fit_a_narrow_window_too(tmp_path: Path, name: str) -> None:
    assert_sound(measure(page_of(name), tmp_path, 800, False))


PUBLISHED = sorted(path.parent for path in (Path(__file__).parents[2] / "results").glob("*/runs"))


@functools.cache
def runs_of(folder: Path) -> list[Run]:
    return read_experiment([folder])


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_the_published_grids_fit_a_narrow_window_too(tmp_path: Path, folder: Path) -> None:
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


def test_a_click_on_a_heading_sorts_numbers_as_numbers_and_gaps_last(tmp_path: Path) -> None:
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
