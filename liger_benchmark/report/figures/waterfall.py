"""A waterfall: speed and memory of a cumulative ablation, a bar for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from liger_benchmark.report.figures.drawing import (
    BLUE,
    GREY,
    TEXT,
    VERMILLION,
    new_figure,
    plain,
    set_tip,
    wrapped,
)
from liger_benchmark.wording import known, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME_LETTERS = 30
_ROW, _MARGIN = 0.36, 0.9  # inches: a step's row, and what lies above and below all rows


def waterfall(of_size: pd.DataFrame, arms: Sequence[str], memory: str) -> str:
    """Two panels side by side, as SVG: tokens per second and peak memory in GiB.

    The first step's bar begins at 0, every other where the step before it ended that has a value.
    Blue is better and red is worse.

    Args:
        of_size: rows of `Analysis.cells` for one batch size, by arm.
        arms: in their order.
        memory: what the memory figures are, for the axis.
    """
    with new_figure(_MARGIN + _ROW * len(arms)) as (figure, svg):
        speed, peak = figure.subplots(1, 2, sharey=True)
        _panel(speed, of_size, arms, "tokens_per_second", 1.0, "tokens/s", better_is_more=True)
        _panel(peak, of_size, arms, "peak_memory_MB", 1024.0, "GiB", better_is_more=False)
        speed.set_xlabel("tokens per second")
        peak.set_xlabel(f"{memory} (GiB)")
        speed.set_yticks(range(len(arms)), [wrapped(arm, _NAME_LETTERS) for arm in arms])
        speed.set_ylim(len(arms) - 0.4, -0.6)
        return svg("steps")


def _panel(
    axes: Axes,
    of_size: pd.DataFrame,
    arms: Sequence[str],
    column: str,
    divisor: float,
    unit: str,
    *,
    better_is_more: bool,
) -> None:
    before = 0.0
    top = 1.25 * max(of_size[column].dropna() / divisor, default=1.0)
    for row, arm in enumerate(arms):
        cell = of_size.loc[arm] if arm in of_size.index else None
        if cell is None or not known(cell[column]):
            axes.text(0.02 * top, row, "no result", va="center", color=TEXT)
            continue
        value = cell[column] / divisor
        colour = (
            GREY if before == 0.0 else BLUE if (value > before) == better_is_more else VERMILLION
        )
        [bar] = axes.barh(row, value - before, left=before, height=0.6, color=colour)
        decimals = 0 if divisor == 1.0 else 2
        set_tip([bar], f"{arm}: {number(value, decimals)} {unit}")
        low, high = (cell[f"{column}_{end}"] for end in ("low", "high"))
        end = max(value, before)
        if known(low) and known(high) and high > low:
            # A wide interval of few repeats goes to the edges.
            low, high = max(low / divisor, 0.0), min(high / divisor, 0.85 * top)
            axes.plot([low, high], [row, row], color=TEXT, linewidth=1.2)
            end = max(end, high)
        text = number(value, 0 if divisor == 1.0 else 1)
        axes.text(end + 0.02 * top, row, text, va="center", color=TEXT)
        before = value
    axes.set_xlim(0, top)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    plain(axes, "x")
