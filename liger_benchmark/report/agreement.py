"""What a trial shows: whether losses and gradients agree, and where Liger was active.

The terminal prints a line for each, the page a table (`trial`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liger_benchmark.analysis.arms import same_gradients
from liger_benchmark.analysis.gradient_difference import GradientDifference, gradient_difference
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.wording import enumerate_words, small_fraction


def losses_line(analysis: Analysis) -> str:
    """Whether the losses of the arms that compute the same differ by rounding only."""
    compared = analysis.comparison[analysis.comparison["loss_difference"].notna()]
    if compared.empty:
        return "Losses: no two arms could be compared."
    worst = compared.loc[(compared["loss_difference"] / compared["loss_bound"]).idxmax()]
    return _line("Losses", bool(worst["loss_above_bound"]), worst["loss_difference"],
                 worst["loss_bound"])  # fmt: skip


def gradients_line(analysis: Analysis) -> str:
    """Whether the gradients of the first step differ by rounding only."""
    worst = largest_gradient_difference(analysis, analysis.runs)
    if worst is None:
        return "Gradients: no two arms could be compared."
    return _line("Gradients", worst.above_bound, worst.value, worst.bound)


def liger_line(analysis: Analysis) -> str:
    """In which arms Liger's code was found in the live model: `Liger active: 9 of 9 parts in …`."""
    texts = []
    for arm in analysis.arms:
        for active, present in liger_parts(
            [r for r in analysis.runs if r.training_args.arm == arm]
        ):
            texts.append(f"{active} of {present} parts in {arm}" if active else f"none in {arm}")
    return f"Liger active: {enumerate_words(texts)}." if texts else "Liger active: not recorded."


def _line(what: str, above_bound: bool, difference: float, bound: float) -> str:
    verb = "do NOT agree" if above_bound else "agree"
    return (
        f"{what} {verb}: largest difference between arms {small_fraction(float(difference))}, "
        f"rounding explains {small_fraction(float(bound))}."
    )


def largest_gradient_difference(
    analysis: Analysis, runs: Sequence[Run]
) -> GradientDifference | None:
    """The largest difference of `runs` from the baseline's, in relation to its bound.

    Each is compared with the baseline's run of its batch size and repeat, where the two should
    agree. None where no two could be compared.
    """
    of_baseline = {_place(r): r for r in analysis.runs if r.training_args.arm == analysis.baseline}
    differences = []
    for run in runs:
        other = of_baseline.get(_place(run))
        if other is None or other is run:
            continue
        if not same_gradients(run.training_args, other.training_args):
            continue
        if (a := run.record.get("gradients")) and (b := other.record.get("gradients")):
            differences.append(gradient_difference(a, b, run.training_args.is_rounded))
    return max(differences, key=lambda difference: difference.times_bound, default=None)


def liger_parts(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """How many parts of the live models ran Liger's code, and how many should; each pair once."""
    return list(
        dict.fromkeys(
            _active(run.record["liger"])
            for run in runs
            if run.outcome == COMPLETED and run.record.get("liger")
        )
    )


def _active(liger: Mapping[str, Any]) -> tuple[int, int]:
    parts = liger.get("parts", {})
    # Older records do not say what was expected: all that could run Liger's code.
    expected = liger.get("expected", parts)
    return sum(int(liger.get(name, 0)) for name in parts), sum(expected.values())


def _place(run: Run) -> tuple[int, int]:
    return (run.training_args.per_device_train_batch_size, run.training_args.run)
