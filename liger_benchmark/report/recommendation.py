"""What a reader should turn on in their own training: the winning arm's settings as code.

An arm wins only if its speed-up is certain: its 95% interval lies above zero at the batch size
that the headline is about.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from liger_benchmark.analysis.arms import arguments_by_arm
from liger_benchmark.analysis.headline import headline_rows
from liger_benchmark.analysis.ladder import in_a_sentence
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.settings_as_code import limits_of_code, lines_of_code
from liger_benchmark.wording import decimals_for, known, number, percent, percent_range


@dataclass(frozen=True)
class Recommendation:
    """What to turn on.

    Attributes:
        text: the advice and what it rests on, a sentence or two.
        code: lines of Python for TRL and transformers; empty where nothing is to be changed.
        note: a limit of the advice; often empty.
    """

    text: str
    code: tuple[str, ...] = ()
    note: str = ""


def recommendation(analysis: Analysis) -> Recommendation | None:
    """The advice that a grid supports; None where it compares nothing or was a trial."""
    rows = headline_rows(analysis)
    if analysis.hardware.trial or rows.empty:
        return None
    baseline, size = analysis.baseline, rows[BATCH_SIZE].iloc[0]
    if rows["speedup_low"].isna().all():
        return Recommendation(
            "Nothing is certain yet: each condition ran once. Run it with n_runs: 2 or more before "
            "you change anything."
        )
    faster = rows[rows["speedup_low"] > 0]
    if not faster.empty:
        best = faster.loc[faster["speedup_percent"].idxmax()]
        text = (
            f"Use {in_a_sentence(best['arm'])}: at batch size {size} it is "
            f"{percent(best['speedup_percent'])} faster than {baseline} "
            f"(95% interval {_interval(best, 'speedup')}){_memory(best)}."
        )
        return _with_code(analysis, best["arm"], text)
    leaner = rows[rows["memory_saving_low"] > 0]
    if leaner.empty:
        return Recommendation(
            f"Keep what you have: at batch size {size} nothing is faster than {baseline} for "
            "certain, and nothing saves memory for certain."
        )
    best = leaner.loc[leaner["memory_saving_percent"].idxmax()]
    text = (
        f"Keep what you have, unless you are short of memory: nothing is faster than {baseline} "
        f"for certain at batch size {size}. {in_a_sentence(best['arm'])} needs "
        f"{percent(best['memory_saving_percent'])} less peak memory, at {_speed(best)}."
    )
    return _with_code(analysis, best["arm"], text)


def _with_code(analysis: Analysis, arm: str, text: str) -> Recommendation:
    arguments = arguments_by_arm(analysis.runs)
    arms = (arguments[arm], arguments[analysis.baseline])
    return Recommendation(text, lines_of_code(*arms), limits_of_code(*arms))


def _memory(row: pd.Series) -> str:
    low, high = row["memory_saving_low"], row["memory_saving_high"]
    if not known(low) or low <= 0 <= high:
        return ""
    value = row["memory_saving_percent"]
    return f" and needs {percent(value)} {'less' if value > 0 else 'more'} peak memory"


def _speed(row: pd.Series) -> str:
    """`89% of the speed`, or that the two cannot be told apart."""
    if not known(row["speedup_high"]) or row["speedup_high"] >= 0:
        return "about the same speed"
    return f"{number(100 + row['speedup_percent'])}% of the speed"


def _interval(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return percent_range(low, high, decimals_for(low, high))
