"""The two bar plots: speed and peak memory by batch size and arm.

Bars stand upright in groups by batch size. Where one or two batch sizes have many arms, or there
are very many bars, they lie instead, each with its arm's name beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from liger_benchmark.arguments import BATCH_SIZE
from liger_benchmark.report.figures.drawing import (
    ON_LIGER,
    PAPER,
    TEXT,
    arm_legend,
    bar_handles,
    draw_bar,
    has_dark_bars,
    is_hatched,
    legend_rows,
    new_figure,
    plain,
    wrapped,
)
from liger_benchmark.wording import known, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From here on an upright bar is too narrow for its number, which is turned; and from there on for
# anything.
_TURNED_FROM, _LYING_FROM = 15, 41
_NUMBER_SIZE = 10
_TURNED_SIZE = 9
# A lying bar's name beside it: so many letters a line, or so many where that makes over two lines.
_NAME_LETTERS, _LONG_NAME_LETTERS = 30, 44
_THICKEST = 0.3  # a lying bar, in inches


@dataclass(frozen=True)
class _Measure:
    """What a plot's bars show: a column of the cells, in which unit, written how."""

    name: str
    column: str
    scale: float
    label: str
    show: Callable[[float], str]


def throughput_bars(cells: pd.DataFrame, arms: Sequence[str]) -> str:
    """Tokens per second by batch size and arm, with 95 % intervals."""
    measure = _Measure("throughput", "tokens_per_second", 1.0, "tokens per second", _thousands)
    return _bars(measure, cells, arms)


def memory_bars(
    cells: pd.DataFrame, arms: Sequence[str], label: str, limit_gib: float | None
) -> str:
    """Peak memory in GiB by batch size and arm, with 95 % intervals and the limit as a line."""
    measure = _Measure("memory", "peak_memory_MB", 1024.0, f"{label} (GiB)", _two_digits)
    return _bars(measure, cells, arms, limit_gib)


def _bars(
    measure: _Measure, cells: pd.DataFrame, arms: Sequence[str], limit: float | None = None
) -> str:
    sizes = sorted(cells[BATCH_SIZE].unique())
    heights = [*(cells[measure.column].dropna() / measure.scale)]
    heights += [] if limit is None else [limit]
    top = 1.08 * max(heights, default=1.0)
    n_bars = len(sizes) * len(arms)
    lying = (len(sizes) <= 2 < len(arms)) or n_bars >= _LYING_FROM
    draw = _lying if lying else _upright
    return draw(measure, cells, arms, sizes, top, limit, bool(heights))


def _upright(
    measure: _Measure,
    cells: pd.DataFrame,
    arms: Sequence[str],
    sizes: Sequence[int],
    top: float,
    limit: float | None,
    with_ticks: bool,
) -> str:
    width = 0.88 / len(arms)
    turned = len(sizes) * len(arms) >= _TURNED_FROM
    with new_figure(3.3 + 0.23 * (legend_rows(arms) - 1)) as (figure, svg):
        axes = figure.subplots()
        axes.set_ylim(0, top)
        for i, arm in enumerate(arms):
            for x, size in enumerate(sizes):
                cell = _cell(cells, arm, size)
                at = x + (i - (len(arms) - 1) / 2) * width
                if cell is None or not known(cell[measure.column]):
                    axes.text(
                        at, 0.03 * top, _outcome(cell), ha="center", va="bottom", color=TEXT,
                        fontweight="bold", rotation=90 if turned else 0,
                        fontsize=_TURNED_SIZE if turned else None,
                    )  # fmt: skip
                    continue
                value, low, high = _values(measure, cell)
                draw_bar(axes, arms, arm, at, value, width * 0.92, upright=True)
                label = measure.show(value) + _completed(cell, " " if turned else "\n")
                if turned:
                    _draw_interval(axes, at, low, high, (0.05 + 0.03 * len(label)) * top, top, True)
                    _write(axes, at, 0.03 * top, label, arm, _ends_above(value, top, label), True)
                else:
                    _write_upright(axes, at, top, label, arm, value, low, high)
        if limit is not None:
            axes.axhline(limit, color=TEXT, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                f"limit\n{limit:g} GiB", (1.008, limit), xycoords=("axes fraction", "data"),
                va="center", color=TEXT, annotation_clip=False,
            )  # fmt: skip
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlim(-0.55, len(sizes) - 0.45)
        axes.set_xlabel("batch size (sequences)")
        axes.set_ylabel(measure.label)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        if not with_ticks:
            axes.set_yticks([])
        plain(axes, "y")
        arm_legend(figure, arms, bar_handles(arms))
        return svg(measure.name)


def _lying(
    measure: _Measure,
    cells: pd.DataFrame,
    arms: Sequence[str],
    sizes: Sequence[int],
    top: float,
    limit: float | None,
    with_ticks: bool,
) -> str:
    names = [wrapped(arm, _NAME_LETTERS) for arm in arms]
    if any(name.count("\n") > 1 for name in names):
        names = [wrapped(arm, _LONG_NAME_LETTERS) for arm in arms]
    lines = max(name.count("\n") for name in names) + 1
    row = max(0.3, 0.06 + 0.18 * lines)
    group = len(arms) + 1.2  # the batch size stands above its bars
    places: list[float] = []
    with new_figure(0.75 + row * group * len(sizes)) as (figure, svg):
        axes = figure.subplots()
        axes.set_xlim(0, top)
        for s, size in enumerate(sizes):
            axes.text(
                0, s * group - 0.75, f"batch size {size}", ha="left", va="center", color=TEXT,
                fontweight="bold",
            )  # fmt: skip
            for i, arm in enumerate(arms):
                cell, at = _cell(cells, arm, size), s * group + i
                places.append(at)
                if cell is None or not known(cell[measure.column]):
                    word = _outcome(cell).replace("\n", " ")
                    axes.text(
                        0.01 * top, at, word, ha="left", va="center", color=TEXT, fontweight="bold"
                    )
                    continue
                value, low, high = _values(measure, cell)
                draw_bar(axes, arms, arm, at, value, min(0.8, _THICKEST / row), upright=False)
                label = measure.show(value) + _completed(cell, " ")
                inside = value > (0.03 + 0.02 * len(label)) * top
                foot = (0.03 + 0.02 * len(label)) * top if inside else 0.0
                _draw_interval(axes, at, low, high, foot, top, False)
                beside = min(max(value, high), 0.8 * top)
                where = 0.012 * top if inside else beside + 0.012 * top
                _write(axes, where, at, label, arm, not inside, False)
        if limit is not None:
            axes.axvline(limit, color=TEXT, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                f"limit {limit:g} GiB", (limit, 1.0), xycoords=("data", "axes fraction"),
                ha="right" if limit > 0.5 * top else "left", va="bottom", color=TEXT,
                annotation_clip=False,
            )  # fmt: skip
        axes.set_yticks(places, names * len(sizes), fontsize=_NUMBER_SIZE, linespacing=1.15)
        axes.set_ylim(len(sizes) * group - 1.6, -1.3)
        axes.set_xlabel(measure.label)
        axes.locator_params(axis="x", nbins=6)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        if not with_ticks:
            axes.set_xticks([])
        plain(axes, "x")
        return svg(measure.name)


def _cell(cells: pd.DataFrame, arm: str, size: int) -> pd.Series | None:
    hit = cells[(cells["arm"] == arm) & (cells[BATCH_SIZE] == size)]
    return None if hit.empty else hit.iloc[0]


def _values(measure: _Measure, cell: pd.Series) -> tuple[float, float, float]:
    """The mean and the ends of its interval, which are the mean itself where there is none."""
    column = measure.column
    value = cell[column] / measure.scale
    low, high = (cell[f"{column}_{end}"] / measure.scale for end in ("low", "high"))
    return (value, low, high) if known(low) and high > low else (value, value, value)


def _outcome(cell: pd.Series | None) -> str:
    """Why there is no bar, to stand in its place."""
    if cell is None:
        return "not run"
    if cell["n_out_of_memory"] and cell["n_failed"]:
        return "OOM,\nfailed"
    return "OOM" if cell["n_out_of_memory"] else "failed"


def _completed(cell: pd.Series, between: str) -> str:
    if cell["n_completed"] == cell["n_runs"]:
        return ""
    return f"{between}{cell['n_completed']} of {cell['n_runs']}"


def _ends_above(value: float, top: float, label: str) -> bool:
    """Whether a turned number is longer than its bar."""
    return value < (0.03 + 0.03 * len(label)) * top


def _write_upright(
    axes: Axes, at: float, top: float, label: str, arm: str, value: float, low: float, high: float
) -> None:
    """A bar's number inside it, clear of its interval, of the limit's line and its neighbours."""
    inside = value > 0.2 * top
    foot = 0.11 * top  # room for a number below an interval that is as long as the bar
    if high > low:
        _draw_interval(axes, at, low, high, foot + 0.03 * top if inside else 0.0, top, True)
    where = max(low - 0.03 * top, foot) if inside else min(high, 0.85 * top) + 0.02 * top
    axes.text(
        at, where, label, ha="center", va="top" if inside else "bottom",
        **_text_style(arm, not inside, _NUMBER_SIZE),
    )  # fmt: skip


def _write(
    axes: Axes, x: float, y: float, label: str, arm: str, outside: bool, turned: bool
) -> None:
    """A bar's number at its foot, turned where the bar stands upright."""
    place: dict[str, Any] = {"ha": "left", "va": "center"}
    if turned:
        place = {"ha": "center", "va": "bottom", "rotation": 90}
    size = _TURNED_SIZE if turned else _NUMBER_SIZE
    axes.text(x, y, label, **place, **_text_style(arm, outside, size))


def _text_style(arm: str, outside: bool, size: float) -> dict[str, Any]:
    """Light on Liger's bars; on a patch of paper where a hatch would cross the letters."""
    if has_dark_bars(arm):
        return {"fontsize": size, "color": TEXT if outside else ON_LIGER}
    patch = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    on_hatch = {} if outside or not is_hatched(arm) else {"bbox": patch}
    return {"fontsize": size, "color": TEXT, **on_hatch}


def _draw_interval(
    axes: Axes, at: float, low: float, high: float, bottom: float, top: float, upright: bool
) -> None:
    """A line with a cap at each end; one that leaves the plot is cut, and has no cap there."""
    if high <= low or min(high, top) <= bottom:
        return
    style: dict[str, Any] = {"color": TEXT, "linewidth": 1.2}

    def line(across: list[float], along: list[float]) -> None:
        axes.plot(*((across, along) if upright else (along, across)), **style)

    line([at, at], [max(low, bottom), min(high, top)])
    cap = 0.04 if upright else 0.18
    for end in (low, high):
        if bottom <= end <= top:
            line([at - cap, at + cap], [end, end])


def _two_digits(value: float) -> str:
    return number(value, 1 if value >= 10 else 2)


def _thousands(value: float) -> str:
    return f"{number(value / 1000, 1)}k" if value >= 10_000 else number(value)
