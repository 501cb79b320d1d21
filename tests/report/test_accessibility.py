"""Pages as a screen reader finds them: axe-core finds no violation of its rules."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from support import grids
from support.browser import look_at, needs_chromium

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.page import render_page
from liger_benchmark.run import Run

pytestmark = needs_chromium

RUN_AXE = """
addEventListener("load", function () {
  document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  axe.run(document).then(function (result) {
    var found = document.createElement("pre");
    found.id = "found";
    found.textContent = JSON.stringify({
      passed: result.passes.length,
      violations: result.violations.map(function (v) {
        return v.id + ": " + v.nodes.slice(0, 3).map(function (n) { return n.html; }).join(" | ");
      }),
    });
    document.body.replaceChildren(found);
  });
});
"""


def _axe() -> str:
    """axe-core's script, without its package's browser drivers."""
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("grid", "width", "dark"),
    [
        (grids.complete, 1400, False),
        (grids.complete, 1400, True),
        (grids.complete, 390, False),
        (grids.six_arms, 800, False),
        (grids.with_failures, 390, True),
        (grids.on_cpu, 800, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_axe_finds_nothing(
    grid: Callable[[], list[Run]], width: int, dark: bool, tmp_path: Path
) -> None:
    page = render_page(analyse(grid()))
    found = look_at(page, tmp_path, _axe() + RUN_AXE, width, dark=dark, in_frame=width == 800)
    assert found["violations"] == []
    assert found["passed"] > 10


def test_a_picture_without_a_text_is_found(tmp_path: Path) -> None:
    page = render_page(analyse(grids.on_cpu()))
    page = page.replace("</main>", '<img src="data:,"></main>')
    assert '<img src="data:,">' in page
    found = look_at(page, tmp_path, _axe() + RUN_AXE, 800)
    assert [violation.split(":")[0] for violation in found["violations"]] == ["image-alt"]
