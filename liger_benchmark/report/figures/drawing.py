"""What all figures share: SVG that takes its colours from the page, and the arms' styles.

Text and axes are drawn in the page's text colour (`currentColor`). The arms' colours are those of
the Okabe-Ito palette by default; the page sets lighter or darker ones for its background. Arms are
told apart without colour too: Liger's bars are filled, vanilla's outlined and all others hatched;
Liger's lines are solid, vanilla's broad and all others dashed.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from liger_benchmark.choices import (
    LIGER,
    VANILLA,
)
from liger_benchmark.report.figures.compact import compact

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

# Okabe and Ito, "Color Universal Design" (2008).
BLUE, VERMILLION, SKY, ORANGE = "#0072B2", "#D55E00", "#56B4E9", "#E69F00"
GREEN, YELLOW, PURPLE = "#009E73", "#F0E442", "#CC79A7"
GREY = "#999999"

# Drawn in these and replaced in the SVG: matplotlib has no word for "the page's text colour".
TEXT, FAINT, PAPER = "#010203", "#040506", "#0e0f10"
ON_LIGER = "#0d0e0f"
_VANILLA, _LIGER = "#070809", "#0a0b0c"
_OTHERS = ("#111213", "#141516", "#171819", "#1a1b1c", "#1d1e1f", "#202122")
# The page sets the arms' colours: lighter ones on a dark background.
_IN_PAGE = {
    TEXT: "currentColor",
    PAPER: "var(--bg,#fff)",
    ON_LIGER: "var(--on-liger,#fff)",
    _VANILLA: f"var(--vanilla,{VERMILLION})",
    _LIGER: f"var(--liger,{BLUE})",
    **{
        drawn: f"var(--arm-{i},{colour})"
        for i, (drawn, colour) in enumerate(
            zip(_OTHERS, (GREEN, PURPLE, GREY, SKY, ORANGE, YELLOW), strict=True), start=1
        )
    },
}
# As many as colours, and one less: it takes thirty arms until two look the same.
_DOTS = "...."
_HATCHES = ("////", _DOTS, "xxxx", "----", "\\\\\\\\")
_DASHES = ((5, 2), (1.2, 1.6), (7, 2, 1.5, 2), (3, 1.2), (7, 1.5, 1.2, 1.5, 1.2, 1.5))
# Before the group id of what has a tip; matplotlib escapes the id and writes it into the SVG.
_TIP = "tip:"
LIGHT = 0.22  # the opacity of the fill of every bar but Liger's

WIDTH = 7.6  # inches; 72 to the inch in an SVG, so that a figure is as wide as a small page
FONT_SIZE = 11


def wrapped(text: str, width: int) -> str:
    """`text` on lines of at most `width` letters; a word that is longer is broken at its _."""
    parted = re.sub(rf"\S{{{width + 1},}}", lambda word: word[0].replace("_", "_ "), text)
    lines = textwrap.wrap(parted, width, break_on_hyphens=False)
    return "\n".join(line.replace("_ ", "_") for line in lines) or text


def style_bar(bar: Rectangle, arms: Sequence[str], arm: str) -> list[Rectangle]:
    """Give a bar, or a legend's handle, the style of its arm.

    Returns the layers to lay over it: a hatch needs a layer of its own, because matplotlib's SVG
    takes no transparency from the ground under a hatch.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    colour, number = _colour(arms, arm)
    fill = to_rgba(colour, 1.0 if arm == LIGER else LIGHT)
    bar.set(facecolor=fill, edgecolor=colour, linewidth=1.6)
    if number is None:
        return []
    hatch = _HATCHES[number % len(_HATCHES)]
    return [
        Rectangle(
            bar.get_xy(), bar.get_width(), bar.get_height(), facecolor="none", edgecolor=colour,
            linewidth=0, hatch=hatch, zorder=bar.get_zorder(),
        )
    ]  # fmt: skip


def arm_colour(arms: Sequence[str], arm: str) -> str:
    """The colour an arm is drawn in."""
    return _colour(arms, arm)[0]


def line_handles(arms: Sequence[str]) -> list[Any]:
    """What stands for each arm's lines in a legend."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], **line_style(arms, arm)) for arm in arms]


def line_style(arms: Sequence[str], arm: str) -> dict[str, Any]:
    """How an arm's curves are drawn."""
    colour, number = _colour(arms, arm)
    style: dict[str, Any] = {"color": colour, "linewidth": 1.2, "solid_capstyle": "round"}
    if arm == VANILLA:
        style |= {"linewidth": 4.0, "alpha": 0.4}
    elif number is not None:
        style |= {"linewidth": 1.4, "linestyle": (0, _DASHES[number % len(_DASHES)])}
    return style


def set_tip(artists: Iterable[Artist], text: str) -> None:
    """Let each of `artists` show `text` while the pointer is on it."""
    for artist in artists:
        artist.set_gid(f"{_TIP}{text}")


def has_dark_bars(arm: str) -> bool:
    """Whether what stands on the arm's bars has to be light (and dark on a dark page)."""
    return arm == LIGER


def is_hatched(arm: str) -> bool:
    """Whether a pattern lies on the arm's bars."""
    return arm not in (VANILLA, LIGER)


def _colour(arms: Sequence[str], arm: str) -> tuple[str, int | None]:
    """An arm's colour and, if it is neither Liger nor vanilla, its number among the others."""
    if arm in (VANILLA, LIGER):
        return (_VANILLA if arm == VANILLA else _LIGER), None
    number = [other for other in arms if other not in (VANILLA, LIGER)].index(arm)
    return _OTHERS[number % len(_OTHERS)], number


def legend_rows(arms: Sequence[str]) -> int:
    """How many rows `arm_legend` takes."""
    columns = _legend_columns(arms)
    rows = -(-len(arms) // columns)
    return rows * max(wrapped(arm, _LEGEND_LETTERS).count("\n") + 1 for arm in arms)


def arm_legend(figure: Figure, arms: Sequence[str], handles: Sequence[Any]) -> None:
    """The arms' names above a figure, on as many rows as they need."""
    figure.legend(
        handles=list(handles), labels=[wrapped(arm, _LEGEND_LETTERS) for arm in arms],
        loc="outside upper left", ncols=_legend_columns(arms), frameon=False,
    )  # fmt: skip


_LEGEND_LETTERS = 50
# A letter of the figure's font is so wide on average, in inches, and a handle with its gaps.
_LETTER, _HANDLE = 0.62 * FONT_SIZE / 72, 0.75


def _legend_columns(arms: Sequence[str]) -> int:
    """As many columns as fit the figure's width; matplotlib fills them one after the other."""
    for columns in range(len(arms), 1, -1):
        rows = -(-len(arms) // columns)
        widths = [
            max(len(arm) for arm in arms[start : start + rows])
            for start in range(0, len(arms), rows)
        ]
        if sum(min(w, _LEGEND_LETTERS) * _LETTER + _HANDLE for w in widths) <= WIDTH:
            return -(-len(arms) // rows)  # no more than so many rows fill
    return 1


def plain(axes: Axes, grid_axis: str) -> None:
    """No frame and no ticks; faint lines across `grid_axis`."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis=grid_axis, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


@contextmanager
def new_figure(
    height: float, width: float = WIDTH
) -> Iterator[tuple[Figure, Callable[[str], str]]]:
    """A figure of `height` inches and the function that turns it into SVG under a name."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "font.size": FONT_SIZE,
        "font.family": "DejaVu Sans",
        "text.parse_math": False,  # a name may hold a $
        "svg.fonttype": "none",
        "svg.hashsalt": "liger-benchmark",
        "axes.labelsize": FONT_SIZE,
        "axes.unicode_minus": True,
        "figure.constrained_layout.use": True,
        "hatch.linewidth": 0.8,
        **{f"{part}.color": TEXT for part in ("text", "xtick", "ytick")},
        "axes.labelcolor": TEXT,
        "axes.edgecolor": TEXT,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height))
        figure.patch.set_alpha(0)

        def svg(name: str) -> str:
            for axes in figure.axes:
                axes.patch.set_alpha(0)
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None})
            return _inline(out.getvalue(), name)

        yield figure, svg


def _inline(svg: str, name: str) -> str:
    """Matplotlib's SVG file as a part of a page.

    The prologue and the metadata are removed, `name` is put before every id, the placeholder
    colours are replaced by the page's, and what has a tip gets it as its title.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(rf'<g id="{_TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', svg)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    for drawn, shown in _IN_PAGE.items():
        svg = svg.replace(drawn, shown)
    for attribute in ("fill", "stroke"):
        faint = f"{attribute}: currentColor; {attribute}-opacity: 0.15"
        svg = svg.replace(f"{attribute}: {FAINT}", faint)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    return compact(svg.strip(), _DOTS)


def accessible(svg: str, label: str) -> str:
    """`svg` as one image with `label` (escaped text) as its name for a screen reader."""
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
