"""The report's sections "Training curves" and "Where the time goes"."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.arms import display_order
from liger_benchmark.analysis.loss_difference import loss_bound
from liger_benchmark.analysis.overhead import begins_a_session, overhead_seconds
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.report.arm_order import arms_shown
from liger_benchmark.report.figures.curves import loss_curves, phase_bars, throughput_curves
from liger_benchmark.report.markup import (
    Column,
    arm_cell,
    figure,
    folded,
    heading,
    integer_cell,
    number_cell,
    paragraph,
    table,
)
from liger_benchmark.run import Run
from liger_benchmark.wording import enumerate_words, known, number, plural, small_fraction


def curves(analysis: Analysis) -> str:
    """The body of "Training curves": losses over each other, tokens per second over steps."""
    with_steps = [run for run in analysis.runs if len(run.history)]
    if not with_steps:
        return paragraph("No run finished a step, so there is no curve to show.")
    sizes = sorted({run.training_args.per_device_train_batch_size for run in with_steps})
    differences = analysis.comparison.groupby(BATCH_SIZE)["loss_difference"].max()
    titles = {
        size: f"batch size {size}"
        + (f" · Δ {small_fraction(differences[size])}" if known(differences.get(size)) else "")
        for size in sizes
    }
    arms = arms_shown(analysis)
    losses = (
        heading("Loss", "loss")
        + paragraph(_about_losses(analysis))
        + figure(
            "loss",
            f"Training loss over steps by batch size. {_loss_finding(analysis)}",
            "Every run is a line; lines that lie over each other look like one.",
            loss_curves(with_steps, arms, titles),
        )
    )
    if analysis.hardware.trial:
        return losses
    return (
        losses
        + heading("Speed", "speed")
        + figure(
            "speed",
            "Tokens per second at each step, by batch size, warm-up included.",
            "Shaded: warm-up steps, left out of every average.",
            throughput_curves(with_steps, arms, {size: f"batch size {size}" for size in sizes}),
        )
    )


def _about_losses(analysis: Analysis) -> str:
    """What Δ is, how large it may be, and of which arms nothing of the kind can be asked."""
    comparison = analysis.comparison
    others = list(comparison[~comparison["same_maths"].astype(bool)]["arm"].unique())
    if others and comparison["same_maths"].sum() == 0:
        return (
            f"The arms do not compute the same as {analysis.baseline}, from the same rows and "
            "weights, so their losses are not compared."
        )
    precision = analysis.runs[0].training_args.precision
    bound = small_fraction(loss_bound(analysis.runs[0].training_args))
    whose = "the two arms’ losses"
    if len(analysis.arms) > 2:
        whose = f"an arm’s loss from that of {analysis.baseline}"
    text = (
        f"Δ is the largest relative difference of {whose} at the same step and "
        f"repeat. Rounding in {precision} explains up to {bound}; "
        f"{_loss_finding(analysis)}"
    )
    if others:
        text += (
            f" Left out, since they compute something else than {analysis.baseline}, or from other "
            f"rows or weights: {enumerate_words(others)}."
        )
    return text


def where_the_time_goes(analysis: Analysis) -> str:
    """The body of "Where the time goes": seconds by phase, in a figure and a table."""
    in_order = sorted(analysis.runs, key=display_order(arms_shown(analysis)))
    timed = [run for run in in_order if run.record.get("phases")]
    if not timed:
        return paragraph("No run recorded its phases.")
    seconds = pd.DataFrame([run.record["phases"] for run in timed])
    return (
        paragraph(_overhead_sentence(analysis))
        + _mean_phases_figure(analysis, timed, seconds)
        + _phases_of_runs_table(timed, seconds)
    )


def _mean_phases_figure(analysis: Analysis, timed: Sequence[Run], seconds: pd.DataFrame) -> str:
    """The mean seconds by phase of each arm and batch size. `seconds`: a row for each of `timed`.

    A session's first run is left out where its arm and batch size have another one: its imports
    would stand for a whole condition's.
    """
    cells = pd.MultiIndex.from_tuples([(_size(run), run.training_args.arm) for run in timed])
    first = pd.Series([begins_a_session(run) for run in timed], index=cells)
    left_out = first & ~first.groupby(level=[0, 1]).transform("all")
    means = seconds.set_axis(cells)[~left_out].groupby(level=[0, 1]).mean()
    shown = [
        (size, arm)
        for size in sorted(cells.unique(0))
        for arm in arms_shown(analysis)
        if (size, arm) in means.index
    ]
    caption = "Arm and batch size; mean over the repeats"
    if left_out.any():
        caption += ", without a session’s first run, which waits for the imports"
    return figure(
        "phases",
        f"Seconds by phase for each arm and batch size. {_overhead_sentence(analysis)}",
        f"{caption}.",
        phase_bars(means.loc[shown].set_axis([f"{arm}, {size}" for size, arm in shown])),
    )


def _phases_of_runs_table(timed: Sequence[Run], seconds: pd.DataFrame) -> str:
    """Every run's seconds by phase. `seconds`: a row for each of `timed`, a column a phase."""
    with_overhead = seconds.assign(overhead=[overhead_seconds(run) for run in timed])
    rows = [
        [
            arm_cell(run.training_args.arm),
            integer_cell(_size(run)),
            integer_cell(run.training_args.run),
            *(number_cell(value, lambda s: number(s, 1)) for value in of_run),
        ]
        for run, of_run in zip(timed, with_overhead.astype(object).to_numpy(), strict=True)
    ]
    columns = [Column("Arm"), Column("Batch size", True), Column("Run", True)]
    columns += [Column(_phase(name), True) for name in with_overhead]
    caption = "Seconds by phase, every run. Overhead is all but the steps, warm-up among them."
    return folded(
        f"Seconds by phase of {plural(len(timed), 'run')}",
        table(caption, columns, rows, "dense sortable"),
    )


def _loss_finding(analysis: Analysis) -> str:
    differences = analysis.comparison["loss_difference"].dropna()
    if differences.empty:
        return "here there was nothing to compare."
    above = bool(analysis.comparison["loss_above_bound"].any())
    most = small_fraction(float(differences.max()))
    return f"the largest here is {most}{', more than that' if above else ''}."


def _overhead_sentence(analysis: Analysis) -> str:
    overhead = analysis.runs_table["overhead_seconds"]
    later_runs = ~pd.Series([begins_a_session(run) for run in analysis.runs])
    overhead = overhead[later_runs] if later_runs.any() else overhead
    text = f"Outside its steps a run took {number(overhead.median(), 1)} s in the median"
    first, later = analysis.first_overhead_seconds, analysis.later_overhead_seconds
    if first is None or later is None:
        return f"{text}."
    return (
        f"{text} and never more than {number(later, 1)} s, but for a session's first run, which "
        f"waits for the imports ({number(first, 1)} s)."
    )


def _phase(name: str) -> str:
    """A phase as a narrow heading: it may break at its soft hyphens."""
    headings = {
        "process": "Pro\N{SOFT HYPHEN}cess",
        "imports": "Im\N{SOFT HYPHEN}ports",
        "warmup_steps": "Warm-up",
        "between_steps": "Be\N{SOFT HYPHEN}tween steps",
        "teardown": "Tear\N{SOFT HYPHEN}down",
        "overhead": "Over\N{SOFT HYPHEN}head",
    }
    return headings.get(name, name.replace("_", " ").capitalize())


def _size(run: Run) -> int:
    return run.training_args.per_device_train_batch_size
