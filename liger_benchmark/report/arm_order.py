"""The order in which the report shows a grid's arms, and which of them is the fastest."""

from __future__ import annotations

from liger_benchmark.analysis.headline import headline_rows
from liger_benchmark.analysis.tables import Analysis


def arms_shown(analysis: Analysis) -> list[str]:
    """The arms, the fastest first where there are more than two; else the baseline first.

    They are sorted by their speed-up at the headline's batch size, the baseline's being zero. Arms
    that have none come last, in the order of the grid.
    """
    if len(analysis.arms) < 3 or analysis.hardware.trial:
        return analysis.arms
    gain = gains(analysis)
    return sorted(analysis.arms, key=lambda arm: (arm not in gain, -gain.get(arm, 0.0)))


def fastest_arm(analysis: Analysis) -> str | None:
    """The arm that the headline calls the fastest; None where nothing was compared."""
    gain = gains(analysis)
    if len(gain) < 2:
        return None
    best = max(gain.values())
    return analysis.baseline if best <= 0 else next(a for a, value in gain.items() if value == best)


def gains(analysis: Analysis) -> dict[str, float]:
    """Each compared arm's speed-up in percent at the headline's batch size; the baseline's is 0."""
    rows = headline_rows(analysis)
    compared = dict(zip(rows["arm"], rows["speedup_percent"], strict=True))
    return {analysis.baseline: 0.0, **compared}
