"""Whether the measured steps of a run are a steady state: none compiles, none is far slower."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from liger_benchmark.columns import STEP_COMPILATIONS
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.wording import number, plural

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

    def __str__(self) -> str:
        """`step 15: 482 ms, median 169 ms, 1 compilation`."""
        compiled = f", {plural(self.compilations, 'compilation')}" if self.compilations else ""
        return (
            f"step {self.step}: {number(1000 * self.seconds)} ms, median "
            f"{number(1000 * self.median_seconds)} ms{compiled}"
        )


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


def unsteady_mark(run: Run) -> tuple[str, str]:
    """What marks a run with unsteady steps, and those steps; both are empty for a steady run.

    The first is such as `1 step compiled, 2 slow steps`.
    """
    steps = unsteady_steps(run)
    compiled = sum(bool(step.compilations) for step in steps)
    words = [f"{plural(compiled, 'step')} compiled"] if compiled else []
    if slow := len(steps) - compiled:
        words.append(plural(slow, "slow step"))
    return ", ".join(words), "; ".join(map(str, steps))
