"""The report's figures, as SVG that sits inside a page and follows its colours.

Text and axes are drawn in the page's own text colour (`currentColor`), the arms in two colours of
the Okabe-Ito palette that hold on white and on black alike. Colour never carries a meaning alone:
Liger's bars are filled and vanilla's are outlined, its lines are solid and vanilla's are broad.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from liger_benchmark.runs import Run
from liger_benchmark.wording import baseline_first, known, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008).
BLUE, VERMILLION, SKY, ORANGE = "#0072B2", "#D55E00", "#56B4E9", "#E69F00"
GREEN, YELLOW, PURPLE = "#009E73", "#F0E442", "#CC79A7"
# Ten phases and seven colours: those with no colour of their own are told apart by a hatch.
PHASE_STYLES = {
    "process": (PURPLE, ""),
    "imports": (YELLOW, ""),
    "data": (SKY, ""),
    "model": (ORANGE, ""),
    "trainer": (GREEN, ""),
    "warmup_steps": (BLUE, "////"),
    "steps": (BLUE, ""),
    "between_steps": (SKY, "////"),
    "save": (YELLOW, "////"),
    "teardown": (VERMILLION, ""),
}

# Drawn in these and replaced in the SVG: matplotlib has no word for "the page's text colour".
_TEXT, _FAINT = "#010203", "#040506"
_ARMS = {"vanilla": "#070809", "Liger": "#0a0b0c"}
_ON_BAR = "#0d0e0f"
# The page sets the arms' colours: lighter ones on a dark background.
_IN_PAGE = {
    _TEXT: "currentColor",
    _ARMS["vanilla"]: f"var(--vanilla,{VERMILLION})",
    _ARMS["Liger"]: f"var(--liger,{BLUE})",
    _ON_BAR: "var(--on-liger,#fff)",
}
_WIDTH = 7.6  # inches; 72 to the inch in an SVG, so that a figure is as wide as a small page
_SIZE = "per_device_train_batch_size"


def throughput_bars(cells: pd.DataFrame) -> str:
    """Tokens per second by batch size and arm, with 95 % intervals."""
    return _bars("throughput", cells, "tokens_per_second", 1.0, "tokens per second", _thousands)


def memory_bars(cells: pd.DataFrame, label: str, limit_gib: float | None) -> str:
    """Peak memory in GiB by batch size and arm, with 95 % intervals and the limit as a line."""
    name, axis = "memory", f"{label} (GiB)"
    return _bars(name, cells, "peak_memory_MB", 1024.0, axis, _two_digits, limit_gib)


def loss_curves(runs: Sequence[Run], titles: dict[int, str]) -> str:
    """Loss over steps, a panel a batch size, every run a line; `titles` by batch size."""
    return _curves("loss", runs, titles, "loss", "loss")


def throughput_curves(runs: Sequence[Run], titles: dict[int, str]) -> str:
    """Tokens per second over steps, warm-up included and shaded."""
    return _curves("speed", runs, titles, "step_tokens_per_second", "tokens per second")


def phase_bars(phases: pd.DataFrame) -> str:
    """Seconds by phase, stacked. `phases`: a row a label, a column a phase, in seconds."""
    names = [*PHASE_STYLES, *(name for name in phases if name not in PHASE_STYLES)]
    with _figure(1.3 + 0.24 * len(phases)) as (figure, svg):
        axes = figure.subplots()
        left = pd.Series(0.0, index=phases.index)
        for name in (name for name in names if name in phases):
            seconds = phases[name].fillna(0.0)
            colour, hatch = PHASE_STYLES.get(name, ("#999999", ""))
            axes.barh(
                range(len(phases)), seconds, left=left, height=0.7, facecolor=colour, hatch=hatch,
                edgecolor=_TEXT, linewidth=0.4, label=name.replace("_", " "),
            )  # fmt: skip
            left = left + seconds
        axes.set_yticks(range(len(phases)), list(phases.index))
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        _plain(axes, "x")
        figure.legend(loc="outside upper left", ncols=5, frameon=False)
        return svg("phases")


def _bars(
    name: str,
    cells: pd.DataFrame,
    column: str,
    scale: float,
    axis_label: str,
    show: Callable[[float], str],
    limit: float | None = None,
) -> str:
    sizes = sorted(cells[_SIZE].unique())
    arms = baseline_first(cells["arm"])
    width = 0.88 / len(arms)
    heights = [*(cells[column].dropna() / scale), *([] if limit is None else [limit])]
    top = 1.08 * max(heights, default=1.0)
    with _figure(3.3) as (figure, svg):
        axes = figure.subplots()
        axes.set_ylim(0, top)
        for i, arm in enumerate(arms):
            for x, size in enumerate(sizes):
                cell = cells[(cells["arm"] == arm) & (cells[_SIZE] == size)]
                at = x + (i - (len(arms) - 1) / 2) * width
                if cell.empty or not known(cell.iloc[0][column]):
                    _write_outcome(axes, at, top, cell, len(sizes) * len(arms))
                else:
                    _draw_bar(axes, at, width, top, cell.iloc[0], column, scale, show)
        if limit is not None:
            axes.axhline(limit, color=_TEXT, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                f"limit\n{limit:g} GiB", (1.008, limit), xycoords=("axes fraction", "data"),
                va="center", color=_TEXT, annotation_clip=False,
            )  # fmt: skip
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlim(-0.55, len(sizes) - 0.45)
        axes.set_xlabel("batch size (sequences)")
        axes.set_ylabel(axis_label)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        if not heights:
            axes.set_yticks([])
        _plain(axes, "y")
        _arm_legend(figure, arms)
        return svg(name)


def _draw_bar(
    axes: Axes,
    at: float,
    width: float,
    top: float,
    cell: pd.Series,
    column: str,
    scale: float,
    show: Callable[[float], str],
) -> None:
    arm, value = cell["arm"], cell[column] / scale
    low, high = cell[f"{column}_low"] / scale, cell[f"{column}_high"] / scale
    inside = value > 0.2 * top
    foot = 0.11 * top  # room for a number below an interval that is as long as the bar
    axes.bar(at, value, width * 0.92, **_bar_style(arm))
    if known(low) and high > low:
        _draw_interval(axes, at, low, high, foot + 0.03 * top if inside else 0.0, top)
    else:
        low = high = value
    label = show(value)
    if cell["n_completed"] < cell["n_runs"]:
        label += f"\n{cell['n_completed']} of {cell['n_runs']}"
    # Inside the bar, clear of its interval, of the limit's line and of its neighbours.
    axes.text(
        at,
        max(min(value, low) - 0.03 * top, foot) if inside else min(high, 0.85 * top) + 0.02 * top,
        label,
        ha="center",
        va="top" if inside else "bottom",
        fontsize=10,
        color=_ON_BAR if inside and arm == "Liger" else _TEXT,
    )


def _draw_interval(
    axes: Axes, at: float, low: float, high: float, bottom: float, top: float
) -> None:
    """A line with a cap at each end; one that leaves the plot is cut, and has no cap there."""
    style: dict[str, Any] = {"color": _TEXT, "linewidth": 1.2}
    axes.plot([at, at], [max(low, bottom), min(high, top)], **style)
    for end in (low, high):
        if bottom <= end <= top:
            axes.plot([at - 0.04, at + 0.04], [end, end], **style)


def _write_outcome(axes: Axes, at: float, top: float, cell: pd.DataFrame, n_bars: int) -> None:
    """Say in a bar's place why there is none."""
    if cell.empty:
        word = "not run"
    elif cell.iloc[0]["n_out_of_memory"] and cell.iloc[0]["n_failed"]:
        word = "OOM,\nfailed"
    else:
        word = "OOM" if cell.iloc[0]["n_out_of_memory"] else "failed"
    upright = n_bars > 14
    axes.text(
        at, 0.03 * top, word, ha="center", va="bottom", color=_TEXT, fontweight="bold",
        rotation=90 if upright else 0,
    )  # fmt: skip


def _bar_style(arm: str) -> dict[str, Any]:
    from matplotlib.colors import to_rgba

    colour = _ARMS.get(arm, GREEN)
    filled = arm != "vanilla"
    return {
        "facecolor": to_rgba(colour, 1.0 if filled else 0.22),
        "edgecolor": colour,
        "linewidth": 1.6,
    }


def _arm_legend(figure: Figure, arms: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(label=arm, **_bar_style(arm)) for arm in arms]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(arms), frameon=False)


def _curves(
    name: str, runs: Sequence[Run], titles: dict[int, str], column: str, axis_label: str
) -> str:
    from matplotlib.lines import Line2D

    columns = min(3, len(titles))
    rows = math.ceil(len(titles) / columns)
    arms = baseline_first(run.training_args.arm for run in runs)
    with _figure(0.5 + 1.95 * rows) as (figure, svg):
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for axes, (size, title) in zip(panels, titles.items(), strict=False):
            for run in sorted(runs, key=lambda run: run.training_args.use_liger):
                if run.training_args.per_device_train_batch_size == size and len(run.history):
                    style = _line_style(run.training_args.arm)
                    axes.plot(run.history["step"], run.history[column], **style)
                    _shade_warmup(axes, run)
            axes.set_title(title, loc="left", fontsize=11)
            _plain(axes, "y")
        for axes in panels[len(titles) :]:
            axes.set_visible(False)
        if column != "loss":
            panels[0].set_ylim(bottom=0)
            panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        panels[0].xaxis.get_major_locator().set_params(integer=True)
        figure.supxlabel("step", fontsize=11, color=_TEXT)
        figure.supylabel(axis_label, fontsize=11, color=_TEXT)
        handles = [Line2D([], [], label=arm, **_line_style(arm)) for arm in arms]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(arms), frameon=False)
        return svg(name)


def _shade_warmup(axes: Axes, run: Run) -> None:
    if axes.patches:
        return
    warmup = int(run.history["is_warmup"].sum())
    if warmup:
        axes.axvspan(0.5, warmup + 0.5, color=_FAINT, linewidth=0)


def _line_style(arm: str) -> dict[str, Any]:
    broad = arm == "vanilla"
    return {
        "color": _ARMS.get(arm, GREEN),
        "linewidth": 4.0 if broad else 1.2,
        "alpha": 0.4 if broad else 1.0,
        "solid_capstyle": "round",
    }


def _plain(axes: Axes, grid_axis: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis=grid_axis, color=_FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _two_digits(value: float) -> str:
    return number(value, 1 if value >= 10 else 2)


def _thousands(value: float) -> str:
    return f"{number(value / 1000, 1)}k" if value >= 10_000 else number(value)


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Callable[[str], str]]]:
    """A figure of `height` inches and the function that turns it into SVG under a name."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "font.size": 11,
        "font.family": "DejaVu Sans",
        "svg.fonttype": "none",
        "svg.hashsalt": "liger-benchmark",
        "axes.labelsize": 11,
        "axes.unicode_minus": True,
        "figure.constrained_layout.use": True,
        **{f"{part}.color": _TEXT for part in ("text", "xtick", "ytick")},
        "axes.labelcolor": _TEXT,
        "axes.edgecolor": _TEXT,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(_WIDTH, height))
        figure.patch.set_alpha(0)

        def svg(name: str) -> str:
            for axes in figure.axes:
                axes.patch.set_alpha(0)
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None})
            return _inline(out.getvalue(), name)

        yield figure, svg


def _inline(svg: str, name: str) -> str:
    """Make matplotlib's SVG file a part of a page: no prologue, ids of its own, its colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    for drawn, shown in _IN_PAGE.items():
        svg = svg.replace(drawn, shown)
    for attribute in ("fill", "stroke"):
        faint = f"{attribute}: currentColor; {attribute}-opacity: 0.15"
        svg = svg.replace(f"{attribute}: {_FAINT}", faint)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    return svg.strip()


def accessible(svg: str, label: str) -> str:
    """`svg` as one image with `label` (escaped text) as its name for who cannot see it."""
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
