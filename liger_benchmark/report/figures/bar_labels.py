"""What is written at a bar: its number, or why there is no bar.

A number stands inside its bar if it fits there, else beyond its end. Positions are in the value
axis' own units; `top` is that axis' upper end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from liger_benchmark.report.figures.drawing import (
    FONT_SIZE,
    ON_LIGER,
    PAPER,
    TEXT,
    WIDTH,
    has_dark_bars,
    is_hatched,
)
from liger_benchmark.report.outcomes import completed_of, no_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

LABEL_SIZE, ROTATED_LABEL_SIZE = 10, 9
_AXES_WIDTH = 0.88  # of the figure's width
_BOLD_LETTER = 0.68  # the mean width of a bold letter, as a part of the font's size


@dataclass(frozen=True)
class Bar:
    """A bar that seaborn drew.

    Attributes:
        arm: its arm.
        cell: the row of `Analysis.cells` it shows; its `n_runs` is 0 if the cell was not run.
        patch: the bar; it has no length if the cell has no value.
        interval: the line that shows the 95% interval; without points if there is none.
        has_value: whether the cell has a value.
        horizontal: whether the bar is horizontal.
    """

    arm: str
    cell: pd.Series
    patch: Rectangle
    interval: Line2D
    has_value: bool
    horizontal: bool

    @property
    def centre(self) -> float:
        """Where the middle of the bar lies on the axis of the batch sizes."""
        x, y = self.patch.get_center()
        return float(y if self.horizontal else x)

    @property
    def value(self) -> float:
        """The mean, in the value axis' unit."""
        return float(self.patch.get_width() if self.horizontal else self.patch.get_height())

    @property
    def ends(self) -> tuple[float, float]:
        """The interval's ends; the mean twice if there is no interval."""
        data = pd.Series(
            self.interval.get_xdata() if self.horizontal else self.interval.get_ydata()
        )
        return (self.value, self.value) if data.isna().all() else (data.min(), data.max())


def label_bar(
    axes: Axes, bar: Bar, top: float, write: Callable[[float], str], rotated: bool = False
) -> None:
    """Write a bar's number, with `2 of 3` where not all runs completed, or why there is no bar.

    Args:
        top: the upper end of the value axis, which begins at 0.
        write: the number as text.
        rotated: whether the text is turned by 90°, for a narrow vertical bar.
    """
    along = bar.horizontal or rotated  # the text runs in the bar's direction, on one line
    if not bar.has_value:
        _write_outcome(axes, bar, top, rotated)
        return
    label = (" " if along else "\n").join(filter(None, (write(bar.value), completed_of(bar.cell))))
    if along:
        _label_along(axes, bar, top, label)
    else:
        _label_across(axes, bar, top, label)


def _write_outcome(axes: Axes, bar: Bar, top: float, rotated: bool) -> None:
    word = no_number(bar.cell)
    style: dict[str, Any] = {"color": TEXT, "fontweight": "bold"}
    if bar.horizontal:
        axes.text(0.01 * top, bar.centre, word, ha="left", va="center", **style)
        return
    if rotated or not _fits(axes, bar, word):
        style |= {"rotation": 90, "fontsize": ROTATED_LABEL_SIZE}
    else:
        word = word.replace(", ", ",\n")
    axes.text(bar.centre, 0.03 * top, word, ha="center", va="bottom", **style)


def _fits(axes: Axes, bar: Bar, word: str) -> bool:
    """Whether a bold word is no wider than its vertical bar, on paper."""
    left, right = axes.get_xlim()
    bar_points = bar.patch.get_width() / (right - left) * _AXES_WIDTH * WIDTH * 72
    return len(max(word.split(", "), key=len)) * _BOLD_LETTER * FONT_SIZE <= bar_points


def _label_across(axes: Axes, bar: Bar, top: float, label: str) -> None:
    """A number across a vertical bar: inside it below the interval's lower end, or above the bar.

    An interval as long as the bar would cross it there: that one is cut off above the number.
    """
    low, high = bar.ends
    inside = bar.value > 0.2 * top
    foot = 0.11 * top  # the least height at which a number's upper edge stands
    if inside:
        _cut_interval(axes, bar, foot + 0.03 * top)
    at = max(low - 0.03 * top, foot) if inside else min(high, 0.85 * top) + 0.02 * top
    axes.text(
        bar.centre, at, label, ha="center", va="top" if inside else "bottom",
        **_text_style(bar.arm, inside, LABEL_SIZE),
    )  # fmt: skip


def _label_along(axes: Axes, bar: Bar, top: float, label: str) -> None:
    """A number along its bar: inside at its foot, or beyond the bar and its interval."""
    letter = 0.02 if bar.horizontal else 0.03  # wide, as a part of the value axis
    length = (0.03 + letter * len(label)) * top
    inside = bar.value > length
    if inside:
        _cut_interval(axes, bar, length)
    at = (0 if inside else min(bar.ends[1], top - length)) + 0.012 * top
    if bar.horizontal:
        place: dict[str, Any] = {"x": at, "y": bar.centre, "ha": "left", "va": "center"}
        size = LABEL_SIZE
    else:
        place = {"x": bar.centre, "y": at, "ha": "center", "va": "bottom", "rotation": 90}
        size = ROTATED_LABEL_SIZE
    axes.text(s=label, **place, **_text_style(bar.arm, inside, size))


def _cut_interval(axes: Axes, bar: Bar, start: float) -> None:
    """Show no part of the interval's line below `start`, where the number stands."""
    from matplotlib.transforms import Bbox, TransformedBbox

    (left, right), (bottom, upper) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    if bar.horizontal:
        left = start
    else:
        bottom = start
    shown = Bbox.from_extents(left, bottom, right, upper)
    bar.interval.set_clip_box(TransformedBbox(shown, axes.transData))


def _text_style(arm: str, inside: bool, size: float) -> dict[str, Any]:
    """Light on Liger's bars; on a patch of paper where a hatch would cross the letters."""
    if has_dark_bars(arm):
        return {"fontsize": size, "color": ON_LIGER if inside else TEXT}
    patch = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    on_hatch = {"bbox": patch} if inside and is_hatched(arm) else {}
    return {"fontsize": size, "color": TEXT, **on_hatch}
