"""The answer as a picture: speed-up and memory saving with their 95% intervals, a line at zero.

A row is a batch size, or an arm where there are more than two. The picture is drawn twice: with its
two halves side by side, and for a narrow window one above the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from liger_benchmark.report.figures.drawing import (
    FAINT,
    FONT_SIZE,
    PAPER,
    TEXT,
    arm_colour,
    new_figure,
    plain,
    set_tip,
    wrapped,
)
from liger_benchmark.wording import WIDEST_INTERVAL, all_the_same, known, plural, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE, _NARROW = 9.4, 4.4  # inches
_LONGEST_NAME = {_WIDE: 34, _NARROW: 20}  # letters on a line
_ROW, _LINE = 0.28, 0.17  # inches: a row, and each further line of its name
_ROOM = 0.34  # right of all values, as a part of their span: for a number beside the last


@dataclass(frozen=True)
class Gain:
    """A gain over the baseline in percent; NaN where nothing was compared or has no interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AnswerRow:
    """A row of the picture.

    Attributes:
        name: what stands beside it.
        arm: the arm it is about, for its colour.
        gains: the speed-up and the memory saving.
        n_pairs: the pairs of repeats behind them.
        words: what stands in place of numbers; empty where there are some.
        emphasised: whether it is the row that the headline is about.
        is_baseline: whether it is the baseline's own row.
    """

    name: str
    arm: str
    gains: tuple[Gain, Gain]
    n_pairs: int
    words: str = ""
    emphasised: bool = False
    is_baseline: bool = False


def answer_figures(
    rows: Sequence[AnswerRow],
    arms: Sequence[str],
    titles: tuple[str, str],
    published: tuple[tuple[float, float], tuple[float, float]] | None,
    name: str = "answer",
) -> tuple[str, str]:
    """The picture as SVG, for a wide and for a narrow window.

    Args:
        rows: from top to bottom.
        arms: all arms of the grid, in the order that gives them their colours.
        titles: of the two halves.
        published: the ranges to shade, in percent; None for none.
        name: goes into the SVG's ids.
    """
    wide = _draw(rows, arms, titles, published, name, _WIDE)
    return wide, _draw(rows, arms, titles, published, f"{name}-narrow", _NARROW)


def _draw(
    rows: Sequence[AnswerRow],
    arms: Sequence[str],
    titles: tuple[str, str],
    published: tuple[tuple[float, float], tuple[float, float]] | None,
    name: str,
    width: float,
) -> str:
    names = [wrapped(row.name, _LONGEST_NAME[width]) for row in rows]
    bands = _bands([_ROW + _LINE * text.count("\n") for text in names])
    half = 0.72 + bands[-1][1]
    side_by_side = width == _WIDE
    with new_figure(half if side_by_side else 2 * half, width) as (figure, svg):
        shape = (1, 2) if side_by_side else (2, 1)
        halves = list(figure.subplots(*shape, squeeze=False).flat)
        for i, axes in enumerate(halves):
            _draw_half(axes, rows, bands, arms, i, published[i] if published else None)
            axes.set_title(titles[i], loc="left", fontsize=FONT_SIZE)
            labels = names if i == 0 or not side_by_side else [""] * len(rows)
            axes.set_yticks([sum(band) / 2 for band in bands], labels, linespacing=1.1)
            for label, row in zip(axes.get_yticklabels(), rows, strict=True):
                label.set_fontweight("bold" if row.emphasised else "normal")
        return svg(name)


def _bands(heights: Sequence[float]) -> list[tuple[float, float]]:
    """The upper and lower end of each row, in inches below the plot's upper edge."""
    ends = [0.0, *accumulate(heights)]
    return list(pairwise(ends))


def _draw_half(
    axes: Axes,
    rows: Sequence[AnswerRow],
    bands: Sequence[tuple[float, float]],
    arms: Sequence[str],
    which: int,
    published: tuple[float, float] | None,
) -> None:
    left, right = _limits([row.gains[which] for row in rows], published)
    axes.set_xlim(left, right)
    axes.set_ylim(bands[-1][1], 0)
    if published is not None:
        axes.axvspan(*published, color=FAINT, linewidth=0)
    axes.axvline(0, color=TEXT, linewidth=1.2)
    for row, band in zip(rows, bands, strict=True):
        _draw_row(axes, row, arms, which, band)
    plain(axes, "x")
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: "0" if not value else f"{signed(value, 0)}%")


def _draw_row(
    axes: Axes, row: AnswerRow, arms: Sequence[str], which: int, band: tuple[float, float]
) -> None:
    from matplotlib.patches import Rectangle

    gain = row.gains[which]
    left, right = axes.get_xlim()
    top, bottom = band
    at = (top + bottom) / 2
    under_pointer = Rectangle(
        (left, top), right - left, bottom - top, facecolor="none", edgecolor="none"
    )
    set_tip([under_pointer], _tip(row, which))
    axes.add_patch(under_pointer)
    weight = "bold" if row.emphasised else "normal"
    beside: dict[str, Any] = {"va": "center", "ha": "left", "color": TEXT, "fontweight": weight}
    if not known(gain.value):
        if row.is_baseline:
            axes.plot([0], [at], marker="D", markersize=6, color=arm_colour(arms, row.arm))
        text = row.words if which == 0 or not row.is_baseline else ""
        axes.annotate(
            text, (0, at), xytext=(8, 0), textcoords="offset points", annotation_clip=False,
            fontstyle="italic", **beside,
        )  # fmt: skip
        return
    colour = arm_colour(arms, row.arm)
    end = gain.value
    if known(gain.low) and not all_the_same(gain.low, gain.high):
        end = max(gain.value, min(gain.high, right - _ROOM / (1 + _ROOM) * (right - left)))
        axes.plot([gain.low, gain.high], [at, at], color=colour, linewidth=2.2)
    axes.plot(
        [gain.value], [at], marker="o", markersize=8 if row.emphasised else 6.5,
        markerfacecolor=colour if row.emphasised else PAPER, markeredgecolor=colour,
        markeredgewidth=2, clip_on=False,
    )  # fmt: skip
    # The line at zero would run through it, or an interval that leaves the picture.
    if gain.value < 0 or (known(gain.high) and gain.high > end):
        beside["bbox"] = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
    axes.annotate(
        f"{signed(gain.value)}%", (end, at), xytext=(8, 0), textcoords="offset points", **beside
    )  # fmt: skip


def _limits(gains: Sequence[Gain], published: tuple[float, float] | None) -> tuple[float, float]:
    """The ends of the value axis: all of it but intervals that say nothing, and room for text."""
    half = WIDEST_INTERVAL / 2
    ends = [0.0, *(published or ())]
    for gain in (gain for gain in gains if known(gain.value)):
        ends.append(gain.value)
        if known(gain.low):
            ends += [max(gain.low, gain.value - half), min(gain.high, gain.value + half)]
    low, high = min(ends), max(ends)
    span = max(high - low, 5.0)
    return low - 0.06 * span, high + _ROOM * span


def _tip(row: AnswerRow, which: int) -> str:
    gain, what = row.gains[which], ("speed-up", "memory saving")[which]
    if not known(gain.value):
        return f"{row.name}: {row.words}"
    text = f"{row.name}: {what} {signed(gain.value)}%"
    if known(gain.low):
        same = all_the_same(gain.low, gain.high)
        ends = f"{signed(gain.low)}% to {signed(gain.high)}%"
        interval = "undetermined" if gain.high - gain.low > WIDEST_INTERVAL else ends
        text += "; the same in every repeat" if same else f"; 95% interval {interval}"
    return f"{text}; {plural(row.n_pairs, 'pair')} of repeats"
