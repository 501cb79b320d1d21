"""Whether the measured steps of a run are a steady state: none compiles, none is far slower."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from liger_benchmark.columns import STEP_COMPILATIONS
from liger_benchmark.run import COMPLETED, Run

# A step that takes so many times the median of its run's measured steps is slow. Where the GPU has
# enough to do, steps of one shape differ by a few percent (results/); a compilation takes 0.3 s.
SLOW = 1.5


@dataclass(frozen=True)
class UnsteadyStep:
    """A measured step that is no steady state.

    Attributes:
        run: the run that it is a step of.
        step: its number, from 1.
        seconds, median_seconds: what it took, and the median of the run's measured steps.
        compilations: the kernels and graphs that it compiled.
    """

    run: Run
    step: int
    seconds: float
    median_seconds: float
    compilations: int


def unsteady_steps(run: Run) -> list[UnsteadyStep]:
    """The measured steps of a completed run that compiled something or were slow, in order."""
    if run.outcome != COMPLETED or run.history.empty or "step_seconds" not in run.history:
        return []
    measured = run.history[~run.history["is_warmup"].astype(bool)]
    median = float(measured["step_seconds"].median())
    compilations = measured.get(STEP_COMPILATIONS, pd.Series(0, index=measured.index)).fillna(0)
    unsteady = (compilations > 0) | (measured["step_seconds"] > SLOW * median)
    return [
        UnsteadyStep(
            run, int(row["step"]), float(row["step_seconds"]), median, int(compilations[index])
        )
        for index, row in measured[unsteady].iterrows()
    ]
