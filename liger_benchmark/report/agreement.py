"""What a trial shows, in a line each: losses agree, gradients agree, Liger was active."""

from __future__ import annotations

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
    differences = _gradient_differences(analysis)
    if not differences:
        return "Gradients: no two arms could be compared."
    # Those above a bound first: of the two measures the bound of either may be exceeded.
    worst = max(differences, key=lambda d: (d.above_bound, d.direction / d.bounds[0]))
    return _line("Gradients", worst.above_bound, worst.direction, worst.bounds[0])


def liger_line(analysis: Analysis) -> str:
    """In which arms Liger's code was found in the live model: `Liger active: 9 of 9 parts in …`."""
    texts = []
    for arm in analysis.arms:
        found = [_active(r) for r in analysis.runs if r.training_args.arm == arm and _proved(r)]
        for active, present in dict.fromkeys(found):
            texts.append(f"{active} of {present} parts in {arm}" if active else f"none in {arm}")
    return f"Liger active: {enumerate_words(texts)}." if texts else "Liger active: not recorded."


def _line(what: str, above_bound: bool, difference: float, bound: float) -> str:
    verb = "do NOT agree" if above_bound else "agree"
    return (
        f"{what} {verb}: largest difference between arms {small_fraction(float(difference))}, "
        f"rounding explains {small_fraction(float(bound))}."
    )


def _gradient_differences(analysis: Analysis) -> list[GradientDifference]:
    """Each run against the baseline's of its batch size and repeat, where the two should agree."""
    of_baseline = {_place(r): r for r in analysis.runs if r.training_args.arm == analysis.baseline}
    differences = []
    for run in analysis.runs:
        other = of_baseline.get(_place(run))
        if other is None or other is run:
            continue
        if not same_gradients(run.training_args, other.training_args):
            continue
        if (a := run.record.get("gradients")) and (b := other.record.get("gradients")):
            differences.append(gradient_difference(a, b, run.training_args.is_rounded))
    return differences


def _place(run: Run) -> tuple[int, int]:
    return (run.training_args.per_device_train_batch_size, run.training_args.run)


def _proved(run: Run) -> bool:
    return run.outcome == COMPLETED and bool(run.record.get("liger"))


def _active(run: Run) -> tuple[int, int]:
    """How many parts of the live model ran Liger's code, and how many it has."""
    parts = run.record["liger"].get("parts", {})
    return sum(int(run.record["liger"].get(name, 0)) for name in parts), sum(parts.values())
