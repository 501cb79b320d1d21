"""The analysis of a grid: its tables, and what is concluded from them.

The report takes every number and every sentence of judgement that it shows from an `Analysis`.
"""

from __future__ import annotations

from dataclasses import dataclass

from liger_benchmark.analysis.arms import UnknownBaseline
from liger_benchmark.analysis.caveats import Caveat, find_caveats
from liger_benchmark.analysis.claims import Claim
from liger_benchmark.analysis.headline import headline
from liger_benchmark.analysis.judgement import judge_claims
from liger_benchmark.analysis.linkedin_claims import LinkedInJudgement, judge_linkedin
from liger_benchmark.analysis.measured_grid import MeasuredGrid, measured_grid
from liger_benchmark.analysis.result_folders import NotOneExperiment, read_experiment
from liger_benchmark.analysis.verdict import overall_verdict
from liger_benchmark.run import Run

__all__ = ["Analysis", "NotOneExperiment", "UnknownBaseline", "analyse", "read_experiment"]


@dataclass(frozen=True)
class Analysis(MeasuredGrid):
    """A measured grid with the conclusions drawn from it.

    Attributes:
        claims, verdict: how the blog's claims fare, see `claims`.
        linkedin: how those of LinkedIn's claims fare that the grid fits.
        headline: the result in plain words.
        caveats: the doubts that the records raise, the gravest first.
    """

    claims: list[Claim]
    verdict: str
    linkedin: list[LinkedInJudgement]
    headline: str
    caveats: list[Caveat]

    @property
    def warnings(self) -> list[str]:
        """The caveats' texts, a sentence or two each."""
        return [caveat.text for caveat in self.caveats]


def analyse(runs: list[Run], baseline: str | None = None) -> Analysis:
    """Analyse the runs of one experiment.

    Args:
        baseline: the arm to compare the others with; by default vanilla if it is an arm, else the
            first arm without Liger, else the first arm.

    Raises:
        UnknownBaseline: if no arm is called `baseline`; a ValueError of one line.
        ValueError: if there is no run.
    """
    if not runs:
        raise ValueError("there is no run to analyse")
    grid = measured_grid(runs, baseline)
    claims = judge_claims(grid)
    return Analysis(
        **vars(grid),
        claims=claims,
        verdict=overall_verdict(claims),
        linkedin=judge_linkedin(grid),
        headline=headline(grid),
        caveats=find_caveats(grid),
    )
