"""The report's figures over steps and phases: losses, speed, where the seconds went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from liger_benchmark.report.figures.drawing import (
    BLUE,
    FAINT,
    FONT_SIZE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TEXT,
    VERMILLION,
    YELLOW,
    arm_legend,
    legend_rows,
    line_handles,
    line_style,
    new_figure,
    plain,
    set_tip,
    wrapped,
)
from liger_benchmark.run import Run
from liger_benchmark.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Twelve phases and seven colours: those with no colour of their own are told apart by a hatch.
PHASE_STYLES = {
    "process": (PURPLE, ""),
    "imports": (YELLOW, ""),
    "data": (SKY, ""),
    "model": (ORANGE, ""),
    "trainer": (GREEN, ""),
    "rehearsal": (GREEN, "////"),
    "checks": (ORANGE, "////"),
    "warmup_steps": (BLUE, "////"),
    "steps": (BLUE, ""),
    "between_steps": (SKY, "////"),
    "save": (YELLOW, "////"),
    "teardown": (VERMILLION, ""),
}
_LEGEND_COLUMNS = 4  # of phases
# A panel's height in inches, and that of an only row, which has its axis' label to itself.
_PANEL = 1.95
_ONLY_PANEL = 2.4


def loss_curves(runs: Sequence[Run], arms: Sequence[str], titles: Mapping[int, str]) -> str:
    """Loss over steps, a panel a batch size, every run a line; `titles` by batch size."""
    return _curves("loss", runs, arms, titles, "loss", "loss")


def throughput_curves(runs: Sequence[Run], arms: Sequence[str], titles: Mapping[int, str]) -> str:
    """Tokens per second over steps, warm-up included and shaded."""
    return _curves("speed", runs, arms, titles, "step_tokens_per_second", "tokens per second")


def phase_bars(phases: pd.DataFrame) -> str:
    """Seconds by phase, stacked. `phases`: a row a label, a column a phase, in seconds."""
    names = [*PHASE_STYLES, *(name for name in phases if name not in PHASE_STYLES)]
    labels = [wrapped(str(label), 32) for label in phases.index]
    lines = max((label.count("\n") for label in labels), default=0) + 1
    row = 0.06 + 0.18 * lines
    rows_of_legend = math.ceil(sum(name in phases for name in names) / _LEGEND_COLUMNS)
    with new_figure(0.84 + 0.23 * rows_of_legend + row * len(phases)) as (figure, svg):
        axes = figure.subplots()
        left = pd.Series(0.0, index=phases.index)
        for name in (name for name in names if name in phases):
            seconds = phases[name].fillna(0.0)
            colour, hatch = PHASE_STYLES.get(name, (GREY, ""))
            bars = axes.barh(
                range(len(phases)), seconds, left=left, height=0.7, facecolor=colour, hatch=hatch,
                edgecolor=TEXT, linewidth=0.4, label=name.replace("_", " "),
            )  # fmt: skip
            for bar, label, value in zip(bars, phases.index, seconds, strict=True):
                set_tip([bar], f"{label}: {name.replace('_', ' ')} {number(value, 2)} s")
            left = left + seconds
        axes.set_yticks(
            range(len(phases)), labels, fontsize=10 if lines > 1 else None, linespacing=1.15
        )
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        plain(axes, "x")
        figure.legend(loc="outside upper left", ncols=_LEGEND_COLUMNS, frameon=False)
        return svg("phases")


def _curves(
    name: str,
    runs: Sequence[Run],
    arms: Sequence[str],
    titles: Mapping[int, str],
    column: str,
    axis_label: str,
) -> str:
    columns = min(3, len(titles))
    rows = math.ceil(len(titles) / columns)
    height = _PANEL * rows if rows > 1 else _ONLY_PANEL
    with new_figure(0.5 + height + 0.23 * (legend_rows(arms) - 1)) as (figure, svg):
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for axes, (size, title) in zip(panels, titles.items(), strict=False):
            for run in sorted(runs, key=lambda run: arms.index(run.training_args.arm)):
                if run.training_args.per_device_train_batch_size == size and len(run.history):
                    style = line_style(arms, run.training_args.arm)
                    lines = axes.plot(run.history["step"], run.history[column], **style)
                    set_tip(lines, _tip_of_line(run, column))
                    _shade_warmup(axes, run)
            axes.set_title(title, loc="left", fontsize=FONT_SIZE)
            plain(axes, "y")
        for axes in panels[len(titles) :]:
            axes.set_visible(False)
        if column != "loss":
            panels[0].set_ylim(bottom=0)
            panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        panels[0].xaxis.get_major_locator().set_params(integer=True)
        figure.supxlabel("step", fontsize=FONT_SIZE, color=TEXT)
        # At each row's own panel: in the middle of the figure it would run into a long legend.
        for first_of_row in grid[:, 0]:
            first_of_row.set_ylabel(axis_label, fontsize=FONT_SIZE, color=TEXT)
        arm_legend(figure, arms, line_handles(arms))
        return svg(name)


def _tip_of_line(run: Run, column: str) -> str:
    """What a run's line says under the pointer: which run it is, and its last value."""
    args = run.training_args
    last = run.history.iloc[-1]
    value = number(last[column], 4 if column == "loss" else 0)
    return (
        f"{args.arm}, batch size {args.per_device_train_batch_size}, repeat {args.run}: "
        f"{value} at step {last['step']:.0f}"
    )


def _shade_warmup(axes: Axes, run: Run) -> None:
    if axes.patches:
        return
    warmup = int(run.history["is_warmup"].sum())
    if warmup:
        axes.axvspan(0.5, warmup + 0.5, color=FAINT, linewidth=0)
