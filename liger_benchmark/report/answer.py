"""The answer as a picture: what its rows are, and what is written where there is no number."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.claims import PUBLISHED_MEMORY_SAVING, PUBLISHED_SPEEDUP
from liger_benchmark.analysis.headline import headline_rows
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import (
    BATCH_SIZE,
    LIGER,
    VANILLA,
)
from liger_benchmark.experiment.grid import FIRST_STEP
from liger_benchmark.report.arm_order import arms_shown, fastest_arm
from liger_benchmark.report.blog import claims_apply
from liger_benchmark.report.figures.answer import AnswerRow, Gain, answer_figures
from liger_benchmark.report.markup import figure, folded
from liger_benchmark.report.outcomes import no_gain
from liger_benchmark.report.table import memory_name
from liger_benchmark.wording import known, signed


def answer(analysis: Analysis) -> str:
    """The picture; empty where the grid compares nothing or was a trial.

    With more than two arms it is about the headline's batch size, and one for each other batch size
    is folded below it.
    """
    rows = headline_rows(analysis)
    if analysis.hardware.trial or rows.empty:
        return ""
    size = int(rows[BATCH_SIZE].iloc[0])
    if len(analysis.arms) == 2:
        return _picture(analysis, _rows_by_size(analysis, size), "answer", "")
    others = [s for s in sorted(analysis.cells[BATCH_SIZE].unique()) if s != size]
    return _picture(
        analysis, _rows_by_arm(analysis, size), "answer", f" at batch size {size}"
    ) + "".join(
        folded(
            f"The same at batch size {other}",
            _picture(
                analysis,
                _rows_by_arm(analysis, other),
                f"answer-{other}",
                f" at batch size {other}",
            ),
        )
        for other in others
    )


def _picture(analysis: Analysis, rows: Sequence[AnswerRow], name: str, where: str) -> str:
    arms, baseline = arms_shown(analysis), analysis.baseline
    compared = [arm for arm in arms if arm != baseline]
    who = f"{compared[0]} against {baseline}" if len(arms) == 2 else f"against {baseline}{where}"
    memory = "peak memory" if "reserved" in memory_name(analysis) else memory_name(analysis).lower()
    shaded = set(arms) == {VANILLA, LIGER} and baseline == VANILLA and claims_apply(analysis)
    published = (PUBLISHED_SPEEDUP, PUBLISHED_MEMORY_SAVING) if shaded else None
    caption = f"{who[0].upper()}{who[1:]}. Right of the line at zero is better."
    if any(known(gain.low) for row in rows for gain in row.gains):
        caption += " Lines: 95% intervals."
    if shaded:
        caption += " Shaded: what the blog reports."
    wide, narrow = answer_figures(
        rows, arms, ("Speed-up (tokens per second)", f"Saving of {memory}"), published, name
    )
    words = "; ".join(f"{row.name}: {_in_words(row)}" for row in rows)
    return figure(name, f"Speed-up and memory saving, {who}. {words}.", caption, wide, narrow)


def _rows_by_size(analysis: Analysis, told: int) -> list[AnswerRow]:
    """A row for each batch size of two arms; `told` is the headline's."""
    arm = analysis.arms[1]
    return [
        _row(analysis, size, arm, f"batch size {size}", emphasised=size == told)
        for size in sorted(analysis.cells[BATCH_SIZE].unique())
    ]


def _rows_by_arm(analysis: Analysis, size: int) -> list[AnswerRow]:
    """A row for each arm at a batch size, in the order in which they are shown."""
    fastest = fastest_arm(analysis)
    rows = []
    for arm in arms_shown(analysis):
        is_marked = arm == analysis.baseline and arm != FIRST_STEP
        name = f"{arm} (baseline)" if is_marked else arm
        rows.append(_row(analysis, size, arm, name, emphasised=arm == fastest))
    return rows


def _row(analysis: Analysis, size: int, arm: str, name: str, emphasised: bool) -> AnswerRow:
    pair, cell, of_baseline = (
        _hit(table, size, of_arm)
        for table, of_arm in (
            (analysis.comparison, arm),
            (analysis.cells, arm),
            (analysis.cells, analysis.baseline),
        )
    )
    is_baseline = arm == analysis.baseline
    words = "baseline" if is_baseline else no_gain(cell, of_baseline, arm, analysis.baseline)
    compared = pair is not None and known(pair["speedup_percent"])
    nothing = Gain(float("nan"), float("nan"), float("nan"))
    gains = tuple(
        Gain(*(float(pair[f"{what}_{part}"]) for part in ("percent", "low", "high")))
        if pair is not None
        else nothing
        for what in ("speedup", "memory_saving")
    )
    return AnswerRow(
        name=name,
        arm=arm,
        gains=(gains[0], gains[1]),
        n_pairs=0 if pair is None else int(pair["n_pairs"]),
        words="" if compared else words,
        emphasised=emphasised,
        is_baseline=is_baseline,
    )


def _hit(table: pd.DataFrame, size: int, arm: str) -> pd.Series | None:
    hit = table[(table[BATCH_SIZE] == size) & (table["arm"] == arm)]
    return None if hit.empty else hit.iloc[0]


def _in_words(row: AnswerRow) -> str:
    if row.words:
        return row.words
    speed, memory = (f"{signed(g.value)}%" if known(g.value) else "unknown" for g in row.gains)
    return f"speed-up {speed}, memory saving {memory}"
