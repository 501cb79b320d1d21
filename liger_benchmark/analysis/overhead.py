"""What a run takes outside its steps: starting, importing, loading the model, saving."""

from __future__ import annotations

import math
from collections.abc import Sequence

from liger_benchmark.run import Run


def overhead_seconds(run: Run) -> float:
    """The seconds of all phases but the steps and warm-up steps; NaN if no phase was timed."""
    phases = run.record.get("phases")
    if not phases:
        return float("nan")
    return float(sum(s for name, s in phases.items() if name not in ("warmup_steps", "steps")))


def begins_a_session(run: Run) -> bool:
    """Whether the run's process waited for the imports that are paid once per grid.

    Starting the process then takes longer than all other phases outside the steps together.
    """
    process = run.record.get("phases", {}).get("process", 0.0)
    return bool(process > overhead_seconds(run) - process)


def largest_overheads(runs: Sequence[Run]) -> tuple[float | None, float | None]:
    """The largest overhead, in seconds, of the runs that begin a session and of all other runs.

    None where there is no such run with timed phases.
    """
    found: dict[bool, list[float]] = {True: [], False: []}
    for run in runs:
        seconds = overhead_seconds(run)
        if not math.isnan(seconds):
            found[begins_a_session(run)].append(seconds)
    return max(found[True], default=None), max(found[False], default=None)
