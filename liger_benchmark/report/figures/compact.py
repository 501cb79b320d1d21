"""Make an SVG of matplotlib's smaller, without a change that can be seen."""

from __future__ import annotations

import re

# Attributes with coordinates in points. A hundredth of a point is less than a pixel of any screen.
_COORDINATES = re.compile(r' (?:d|x|y|transform)="[^"]*"')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_PATTERN = re.compile(r"(<pattern [^>]*>).*?(</pattern>)", re.DOTALL)
# matplotlib repeats a hatch in squares of an inch, with six rows of dots for each letter.
_TILE, _ROWS_A_LETTER = 72, 6
_DOT = 1.4  # points across: a radius of 0.3 and half of the hatch's line on either side


def compact(svg: str, dots: str) -> str:
    """`svg` with short coordinates, no empty groups and no white space between its elements.

    matplotlib draws each dot of a hatch by eight curves, in all 250 KB a pattern. Rows of dots are
    drawn by dashed lines instead: dashes of no length have round ends.

    Args:
        dots: the hatch of dots, such as `....`.
    """
    svg = _PATTERN.sub(lambda found: _with_dashes(found, dots), svg)
    svg = _COORDINATES.sub(lambda found: _shortened(found[0]), svg)
    svg = re.sub(r' transform="rotate\(-?0(?: [^)]*)?\)"', "", svg)
    svg = re.sub(r"<g( id=\"[^\"]*\")?/>", "", svg)
    return re.sub(r">\s+<", "><", svg).strip()


def _shortened(attribute: str) -> str:
    short = _LONG_NUMBER.sub(lambda found: f"{round(float(found[0]), 2) + 0.0:g}", attribute)
    return f" {' '.join(short.split())}".replace(' "', '"')


def _with_dashes(pattern: re.Match[str], dots: str) -> str:
    drawn = pattern[0]
    if "\nC " not in drawn:
        return drawn
    colour = re.findall(r"stroke: ([^;]+);", drawn)[0]
    gap = _TILE / (_ROWS_A_LETTER * len(dots))
    starts = [(gap / 2 * (row % 2), row * gap) for row in range(round(_TILE / gap) + 1)]
    rows = "".join(f"M{x:g} {y:g}H{_TILE + 0.1}" for x, y in starts)
    return (
        f'{pattern[1]}<path d="{rows}" style="fill: none; stroke: {colour}; '
        f'stroke-width: {_DOT}; stroke-dasharray: 0 {gap:g}; stroke-linecap: round"/>{pattern[2]}'
    )
