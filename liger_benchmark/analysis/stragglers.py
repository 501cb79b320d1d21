"""Groups whose GPUs waited for each other, from what their ranks recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from liger_benchmark.run import Run
from liger_benchmark.wording import number, plural

# How much longer the slowest rank's steps may take than the fastest's. All leave a step together; a
# rank that comes late to one, since it was slow between two, has the shorter step.
TOLERATED = 1.05


def stragglers(runs: Sequence[Run]) -> Iterator[str]:
    """A sentence on the runs whose slowest rank took longer than is tolerated; none without."""
    ratios = {
        run.training_args.condition: run.record.get("group", {}).get("slowest_over_fastest")
        for run in runs
    }
    late = {name: ratio for name, ratio in ratios.items() if ratio and ratio > TOLERATED}
    if late:
        worst = max(late, key=lambda name: late[name])
        yield (
            f"In {plural(len(late), 'run')} the steps of one GPU took longer than another's, at "
            f"most by {number(100 * (late[worst] - 1))}% in {worst}: they waited for each other."
        )
