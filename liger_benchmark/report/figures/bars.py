"""The two bar plots, drawn by seaborn: speed and peak memory by batch size and arm.

One or two arms stand as vertical bars in groups by batch size, with a legend. From three arms on,
or where there are very many bars, the bars are horizontal and each has its arm's name beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.figures.bar_labels import LABEL_SIZE, Bar, label_bar
from liger_benchmark.report.figures.drawing import (
    TEXT,
    arm_colour,
    arm_legend,
    legend_rows,
    new_figure,
    plain,
    set_tip,
    style_bar,
    wrapped,
)
from liger_benchmark.wording import all_the_same, known, number, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_HORIZONTAL_FROM_ARMS, _HORIZONTAL_FROM_BARS = 3, 41
_ROTATED_FROM_BARS = 15  # a vertical bar is then narrower than its number
# An arm's name beside its bar: letters on a line, and letters where that makes over two lines.
_NAME_LETTERS, _LONG_NAME_LETTERS = 30, 44
_HEADING_ROWS = 1.2  # rows left free above a horizontal group for its batch size
_THICKEST = 0.3  # inches, a horizontal bar
_VERTICAL_WIDTH = 0.88  # of a group, as a part of the distance between two groups
_CAP = 0.25  # the width of an interval's caps, as a part of a group's width


@dataclass(frozen=True)
class _Measure:
    """What a plot shows: the column of `Analysis.cells`, what divides it, how it is written.

    `unit` and `decimals` are for the exact number that a bar shows under the pointer.
    """

    name: str
    column: str
    divisor: float
    axis_label: str
    write: Callable[[float], str]
    unit: str
    decimals: int


@dataclass(frozen=True)
class _Plot:
    """One bar plot to draw.

    Attributes:
        measure: what it shows.
        cells: rows as in `Analysis.cells`, for each arm each batch size; `n_runs` is 0 where
            nothing was run.
        arms: in the order in which they are shown.
        sizes: the batch sizes, ascending.
        limit: the memory limit in the measure's unit, if it is drawn.
        top: the upper end of the value axis, which begins at 0.
        has_values: whether there is any bar or limit to draw.
    """

    measure: _Measure
    cells: pd.DataFrame
    arms: Sequence[str]
    sizes: Sequence[int]
    limit: float | None
    top: float
    has_values: bool


def throughput_bars(cells: pd.DataFrame, arms: Sequence[str]) -> str:
    """Tokens per second by batch size and arm, with 95% intervals, as SVG.

    Args:
        cells: `Analysis.cells`.
        arms: all arms, in the order in which they are shown.
    """
    measure = _Measure(
        "throughput", "tokens_per_second", 1.0, "tokens per second", _thousands, "tokens/s", 0
    )
    return _bars(measure, cells, arms, None)


def memory_bars(
    cells: pd.DataFrame, arms: Sequence[str], label: str, limit_gib: float | None
) -> str:
    """Peak memory in GiB by batch size and arm, with 95% intervals and a memory limit, as SVG.

    Args:
        cells: `Analysis.cells`.
        arms: all arms, in the order in which they are shown.
        label: what the memory figures are, for the axis.
        limit_gib: drawn as a dashed line, unless None.
    """
    measure = _Measure("memory", "peak_memory_MB", 1024.0, f"{label} (GiB)", _gibibytes, "GiB", 2)
    return _bars(measure, cells, arms, limit_gib)


def _bars(measure: _Measure, cells: pd.DataFrame, arms: Sequence[str], limit: float | None) -> str:
    sizes = sorted(cells[BATCH_SIZE].unique())
    values = [*(cells[measure.column].dropna() / measure.divisor)]
    values += [] if limit is None else [limit]
    top = 1.08 * max(values, default=1.0)
    keys = ["arm", BATCH_SIZE]
    every = pd.MultiIndex.from_product([arms, sizes], names=keys)
    cells = cells.set_index(keys).reindex(every).reset_index()
    cells = cells.fillna({name: 0 for name in cells if name.startswith("n_")})
    plot = _Plot(measure, cells, arms, sizes, limit, top, bool(values))
    many = len(sizes) * len(arms) >= _HORIZONTAL_FROM_BARS
    return _horizontal(plot) if many or len(arms) >= _HORIZONTAL_FROM_ARMS else _vertical(plot)


def _vertical(plot: _Plot) -> str:
    rotated = len(plot.sizes) * len(plot.arms) >= _ROTATED_FROM_BARS
    with new_figure(3.3 + 0.23 * (legend_rows(plot.arms) - 1)) as (figure, svg):
        axes = figure.subplots()
        bars = _draw(axes, plot, horizontal=False, width=_VERTICAL_WIDTH, gap=0.08)
        _move_legend(figure, axes, plot.arms)
        axes.set_xlim(-0.55, len(plot.sizes) - 0.45)
        axes.set_ylim(0, plot.top)
        for bar in bars:
            label_bar(axes, bar, plot.top, plot.measure.write, rotated)
        _draw_limit(axes, plot, horizontal=False)
        axes.set_xlabel("batch size (sequences)")
        _set_value_axis(axes.yaxis, plot)
        plain(axes, "y")
        return svg(plot.measure.name)


def _horizontal(plot: _Plot) -> str:
    names = _names_beside_bars(plot.arms)
    lines = max(name.count("\n") for name in names) + 1
    inches = max(0.3, 0.06 + 0.18 * lines)  # of a row
    rows = len(plot.arms) + _HEADING_ROWS
    with new_figure(0.75 + inches * rows * len(plot.sizes)) as (figure, svg):
        axes = figure.subplots()
        bars = _draw(
            axes, plot, horizontal=True, width=len(plot.arms) / rows,
            gap=1 - min(0.8, _THICKEST / inches),
        )  # fmt: skip
        axes.set_xlim(0, plot.top)
        axes.set_ylim(bars[-1].centre + 0.6 / rows, bars[0].centre - 1.3 / rows)
        for bar in bars:
            label_bar(axes, bar, plot.top, plot.measure.write)
        for size, first in zip(plot.sizes, bars, strict=False):
            axes.text(
                0, first.centre - 0.75 / rows, f"batch size {size}", ha="left", va="center",
                color=TEXT, fontweight="bold",
            )  # fmt: skip
        _draw_limit(axes, plot, horizontal=True)
        name_of = dict(zip(plot.arms, names, strict=True))
        axes.set_yticks(
            [bar.centre for bar in bars], [name_of[bar.arm] for bar in bars],
            fontsize=LABEL_SIZE, linespacing=1.15,
        )  # fmt: skip
        axes.set_ylabel("")
        axes.locator_params(axis="x", nbins=6)
        _set_value_axis(axes.xaxis, plot)
        plain(axes, "x")
        return svg(plot.measure.name)


def _draw(axes: Axes, plot: _Plot, *, horizontal: bool, width: float, gap: float) -> list[Bar]:
    """Let seaborn draw the bars, style them, and return them: for each arm, each batch size.

    A cell without a value gets a bar of no length, which is hidden: seaborn leaves its place free.

    Args:
        width: of a group, as a part of the distance between two groups.
        gap: the part of a bar's width that is left free beside it.
    """
    import seaborn

    value, group = ("x", "y") if horizontal else ("y", "x")
    seaborn.barplot(
        _long(plot), **{value: "value", group: "size"}, hue="arm",
        order=[str(size) for size in plot.sizes], hue_order=plot.arms, orient=group,
        estimator="median", errorbar=_interval,
        palette={arm: arm_colour(plot.arms, arm) for arm in plot.arms}, saturation=1,
        width=width, gap=gap, capsize=_CAP, err_kws={"color": TEXT, "linewidth": 1.2},
        legend=not horizontal,  # a horizontal bar has its arm's name beside it
        ax=axes,
    )  # fmt: skip
    patches = [patch for container in axes.containers for patch in container]
    bars = []
    for (_, cell), patch, line in zip(
        plot.cells.iterrows(), patches, list(axes.lines), strict=True
    ):
        has_value = known(cell[plot.measure.column])
        if has_value:
            layers = style_bar(patch, plot.arms, cell["arm"])
            for layer in layers:
                axes.add_patch(layer)
            set_tip((patch, *layers), _tip(plot.measure, cell))
        patch.set_visible(has_value)
        bars.append(Bar(cell["arm"], cell, patch, line, has_value, horizontal))
    return bars


def _long(plot: _Plot) -> pd.DataFrame:
    """The columns `arm`, `size` and `value`: a mean, and the ends of its interval if it has one.

    A cell without a value has one row with zero.
    """
    column, rows = plot.measure.column, []
    for _, cell in plot.cells.iterrows():
        mean, low, high = (cell[f"{column}{end}"] for end in ("", "_low", "_high"))
        values = [mean if known(mean) else 0.0]
        if known(low) and known(high) and not all_the_same(low, high):
            values += [low, high]
        rows += [(cell["arm"], str(cell[BATCH_SIZE]), v / plot.measure.divisor) for v in values]
    return pd.DataFrame(rows, columns=["arm", "size", "value"])


def _tip(measure: _Measure, cell: pd.Series) -> str:
    """What a bar says under the pointer: mean, interval and repeats."""
    mean, low, high = (cell[f"{measure.column}{end}"] for end in ("", "_low", "_high"))
    value, low, high = (number(v / measure.divisor, measure.decimals) for v in (mean, low, high))
    text = f"{cell['arm']}, batch size {cell[BATCH_SIZE]}: {value} {measure.unit}"
    if known(cell[f"{measure.column}_low"]):
        same = all_the_same(cell[f"{measure.column}_low"], cell[f"{measure.column}_high"])
        text += "; the same in every repeat" if same else f"; 95% interval {low} to {high}"
    return f"{text}; {plural(int(cell['n_completed']), 'repeat')} of {cell['n_runs']:.0f} completed"


def _interval(values: pd.Series) -> tuple[float, float]:
    """The ends of the interval among a cell's rows of `_long`; their median is the mean."""
    return values.min(), values.max()


def _draw_limit(axes: Axes, plot: _Plot, horizontal: bool) -> None:
    """The memory limit as a dashed line across the bars, if there is one."""
    limit = plot.limit
    if limit is None:
        return
    style: dict[str, Any] = {"color": TEXT, "linewidth": 1, "linestyle": (0, (4, 3))}
    text: dict[str, Any] = {"color": TEXT, "annotation_clip": False}
    if horizontal:
        axes.axvline(limit, **style)
        axes.annotate(
            f"limit {limit:g} GiB", (limit, 1.0), xycoords=("data", "axes fraction"),
            ha="right" if limit > 0.5 * plot.top else "left", va="bottom", **text,
        )  # fmt: skip
    else:
        axes.axhline(limit, **style)
        axes.annotate(
            f"limit\n{limit:g} GiB", (1.008, limit), xycoords=("axes fraction", "data"),
            va="center", **text,
        )  # fmt: skip


def _set_value_axis(axis: Axis, plot: _Plot) -> None:
    axis.set_label_text(plot.measure.axis_label)
    axis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    if not plot.has_values:
        axis.set_ticks([])


def _move_legend(figure: Figure, axes: Axes, arms: Sequence[str]) -> None:
    """Put seaborn's legend above the plot, in the arms' styles."""
    handles, names = axes.get_legend_handles_labels()
    if legend := axes.get_legend():
        legend.remove()
    styled = [
        (handle, *style_bar(handle, arms, name))
        for handle, name in zip(cast("list[Rectangle]", handles), names, strict=True)
    ]
    arm_legend(figure, names, styled)


def _names_beside_bars(arms: Sequence[str]) -> list[str]:
    names = [wrapped(arm, _NAME_LETTERS) for arm in arms]
    if any(name.count("\n") > 1 for name in names):
        names = [wrapped(arm, _LONG_NAME_LETTERS) for arm in arms]
    return names


def _gibibytes(value: float) -> str:
    return number(value, 1 if value >= 10 else 2)


def _thousands(value: float) -> str:
    return f"{number(value / 1000, 1)}k" if value >= 10_000 else number(value)
