"""A page is small: nothing is in it twice, and no figure draws thousands of curves."""

from __future__ import annotations

import re

import pytest
from support import grids
from support.pages import Page, html_of

from liger_benchmark.report.figures.compact import compact
from liger_benchmark.report.record import ALL_STEPS

PATTERN = (
    '<svg><defs><pattern id="p" width="72" height="72"><rect width="73"/><path d="M 0 72.3 \n'
    'C 0.079561 72.3 0.155874 72.26839 0.212132 72.212132 \nz\n" style="fill: red; stroke: red; '
    'stroke-width: 0.8"/></pattern></defs></svg>'
)


# Of the 36 runs' page 250 KB are the numbers of its 1,200 steps, and 140 KB the records.
@pytest.mark.parametrize(("name", "kilobytes"), [("complete", 650), ("six_arms", 300)])
def test_a_page_is_no_larger_than_what_it_holds(name: str, kilobytes: int) -> None:
    html = html_of(name)
    assert len(html.encode()) < 1000 * kilobytes
    figures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert max(map(len, figures)) < 60_000


def test_dots_are_dashes_of_no_length_in_the_same_places() -> None:
    small = compact(PATTERN, "....")
    assert "C " not in small and "stroke: red" in small
    assert "M0 0H72.1M1.5 3H72.1M0 6H72.1M1.5 9H72.1" in small
    assert "stroke-dasharray: 0 3; stroke-linecap: round" in small
    lines = PATTERN.replace("\nC ", "\nL ")
    assert "L 0.08 72.3" in compact(lines, "....")


def test_coordinates_are_short_and_text_is_left_alone() -> None:
    drawn = (
        '<g id="a"/>\n <text x="1.23456" y="-0.00012" transform="rotate(-0 1 2)">1.23456</text>\n'
        '<path d="M 10.000001 2.5 \nL 3.14159 4 \n"/>'
    )
    assert compact(drawn, "....") == (
        '<text x="1.23" y="0">1.23456</text><path d="M 10 2.5 L 3.14 4"/>'
    )


def test_the_steps_of_a_run_are_lines_of_those_of_all() -> None:
    page = Page(html_of("complete"))
    first, *_, last = [run for run in grids.complete() if len(run.history)]
    for run in (first, last):
        lines = page.lines_of(f"{run.training_args.slug}.csv")
        assert len(lines) == len(run.history)
        assert all(line.startswith(f"{run.training_args.arm},") for line in lines)
        heading = page.downloads()[ALL_STEPS].splitlines()[0].split(",")
        losses = [float(line.split(",")[heading.index("loss")]) for line in lines]
        assert losses == pytest.approx(list(run.history["loss"]), rel=1e-8)
