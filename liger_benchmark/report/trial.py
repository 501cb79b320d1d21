"""What a trial shows, on a CPU or with a smoke model: no speeds, but whether the arms agree."""

from __future__ import annotations

from collections.abc import Sequence

from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.agreement import largest_gradient_difference, liger_parts
from liger_benchmark.report.markup import Cell, Column, arm_cell, integer_cell, number_cell
from liger_benchmark.report.outcomes import outcome_words
from liger_benchmark.report.table import Table
from liger_benchmark.run import Run
from liger_benchmark.wording import small_fraction


def checks_table(analysis: Analysis) -> Table:
    """A row for each batch size and arm: its outcome and what was checked."""
    columns = [
        Column("Batch size", True),
        Column("Arm"),
        Column("Outcome"),
        Column("Loss differ\N{SOFT HYPHEN}ence", True),
        Column("Gradient differ\N{SOFT HYPHEN}ence", True),
        Column("Liger’s parts active"),
    ]
    rows = []
    for _, cell in analysis.cells.iterrows():
        arm, size = cell["arm"], cell[BATCH_SIZE]
        runs = [
            run
            for run in analysis.runs
            if (run.training_args.arm, run.training_args.per_device_train_batch_size) == (arm, size)
        ]
        rows.append(
            [
                integer_cell(size),
                arm_cell(arm),
                Cell(outcome_words(cell)),
                _loss_cell(analysis, arm, size),
                _gradient_cell(analysis, runs),
                Cell(_active(runs)),
            ]
        )
    caption = f"What this trial shows. Differences: the largest, against {analysis.baseline}."
    return Table(caption, columns, rows)


def _loss_cell(analysis: Analysis, arm: str, size: int) -> Cell:
    comparison = analysis.comparison
    hit = comparison[(comparison[BATCH_SIZE] == size) & (comparison["arm"] == arm)]
    if hit.empty:
        return Cell("baseline" if arm == analysis.baseline else "", is_number=True)
    pair = hit.iloc[0]
    if not pair["same_maths"]:
        return Cell("other maths", is_number=True)
    detail = f"bound {small_fraction(pair['loss_bound'])}"
    if pair["loss_above_bound"]:
        detail = "above bound"
    return number_cell(pair["loss_difference"], small_fraction, detail)


def _gradient_cell(analysis: Analysis, runs: Sequence[Run]) -> Cell:
    """The largest difference of the first step's gradients from those of the baseline's runs."""
    if runs[0].training_args.arm == analysis.baseline:
        return Cell("baseline", is_number=True)
    worst = largest_gradient_difference(analysis, runs)
    if worst is None:
        return Cell("not recorded", is_number=True)
    detail = "above bound" if worst.above_bound else f"bound {small_fraction(worst.bound)}"
    return number_cell(worst.value, small_fraction, detail)


def _active(runs: Sequence[Run]) -> str:
    """How many parts of the live models ran Liger's code: `none`, `all 130`, `98 of 130`."""
    texts = [
        "none" if not active else f"all {active}" if active == present else f"{active} of {present}"
        for active, present in liger_parts(runs)
    ]
    return " or ".join(texts) or "not recorded"
