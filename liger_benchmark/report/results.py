"""The report's first section: the answer, the bar plots, what to turn on, claims and table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from liger_benchmark.analysis.notes import break_even_of_compiling, many_chunks
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import (
    BATCH_SIZE,
)
from liger_benchmark.report.answer import answer
from liger_benchmark.report.arm_order import arms_shown
from liger_benchmark.report.blog import claims_section
from liger_benchmark.report.counterparts import liger_against_the_same
from liger_benchmark.report.data_line import data_line
from liger_benchmark.report.figures.bars import memory_bars, throughput_bars
from liger_benchmark.report.ladder import step_by_step
from liger_benchmark.report.linkedin import linkedin_section
from liger_benchmark.report.markdown import markdown_table
from liger_benchmark.report.markup import (
    code,
    copy_button,
    figure,
    heading,
    items,
    paragraph,
    table,
)
from liger_benchmark.report.outcomes import completed_of, outcome_words
from liger_benchmark.report.recommendation import recommendation
from liger_benchmark.report.table import Table, by_batch_size, memory_name, tokens_counted
from liger_benchmark.report.trial import checks_table
from liger_benchmark.report.what_was_run import what_was_run
from liger_benchmark.report.without_result import link_to_without_result, without_result
from liger_benchmark.wording import (
    gibibytes,
    known,
    number,
    plural,
)

_METHOD = (
    "Only completed runs enter a mean. ± is a 95% interval: Student’s t over the repeats. "
    "Speed-up and saving compare repeat i of an arm with repeat i of the baseline; their intervals "
    "are t intervals on the mean log ratio, so they differ slightly from the ratio of the means."
)

_LONG_HEADLINE = 200  # letters: four lines in the console's frame


def results(analysis: Analysis) -> str:
    """The body of "Benchmarking Results": the answer first, what it rests on after it."""
    notices, warnings = _notices_and_warnings(analysis)
    return "".join(
        [
            "".join(paragraph(text, "notice") for text in notices),
            paragraph(analysis.headline, _headline_class(analysis.headline)),
            _under_the_headline(analysis, warnings),
            answer(analysis),
            *(
                [_main_table(analysis), without_result(analysis), _warnings(warnings)]
                if analysis.hardware.trial
                else [
                    _bar_plots(analysis) if analysis.cells["n_completed"].any() else "",
                    step_by_step(analysis),
                    liger_against_the_same(analysis),
                    _what_to_turn_on(analysis),
                    without_result(analysis),
                    _claims(analysis),
                    _warnings(warnings),
                    _main_table(analysis),
                ]
            ),
        ]
    )


def _headline_class(text: str) -> str:
    """Long ones are set smaller, so that the picture below stays on the first screen."""
    return "headline long" if len(text) > _LONG_HEADLINE else "headline"


def _notices_and_warnings(analysis: Analysis) -> tuple[list[str], list[str]]:
    """What stands on top of the report (that the grid is a trial), and all other warnings."""
    caveats = analysis.caveats
    notices = [caveat.text for caveat in caveats if caveat.kind == "trial"]
    return notices, [caveat.text for caveat in caveats if caveat.kind != "trial"]


def _under_the_headline(analysis: Analysis, warnings: Sequence[str]) -> str:
    """What was run, what became of the data, how many warnings there are, a button to copy."""
    what, data = what_was_run(analysis), data_line(analysis.runs)
    table = _table_of(analysis)
    text = f"**{analysis.headline}**\n\n{what}\n\n{markdown_table(table.columns, table.rows)}"
    see = link_to_without_result(analysis)
    if warnings:
        see += f'<a href="#warnings">{plural(len(warnings), "warning")}</a>'
    buttons = copy_button(text, "Copy as Markdown")
    return (
        paragraph(what, "what")
        + (paragraph(data, "what") if data else "")
        + f'<p class="actions">{see}{buttons}</p>'
    )


def _what_to_turn_on(analysis: Analysis) -> str:
    advice = recommendation(analysis)
    if advice is None:
        return ""
    shown = heading("What to turn on", "turn-on") + paragraph(advice.text)
    if advice.code:
        shown += code("\n".join(advice.code))
    notes = [*break_even_of_compiling(analysis), *many_chunks(analysis)]
    return shown + "".join(paragraph(text, "note") for text in (advice.note, *notes) if text)


def _claims(analysis: Analysis) -> str:
    linkedin = linkedin_section(analysis)
    return (
        heading("The blog’s claims", "claims")
        + claims_section(analysis)
        + (heading("LinkedIn’s claims", "linkedin") + linkedin if linkedin else "")
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    return heading("Warnings", "warnings") + items(warnings, "warnings")


def _main_table(analysis: Analysis) -> str:
    shown = _table_of(analysis)
    title = "What was checked" if analysis.hardware.trial else "By batch size"
    return (
        heading(title, "by-batch-size")
        + table(shown.caption, shown.columns, shown.rows, "dense sortable")
        + f'<p class="actions">{_copy_table(shown)}</p>'
        + ("" if analysis.hardware.trial else paragraph(_how(analysis), "note"))
    )


def _how(analysis: Analysis) -> str:
    return f"{_METHOD} {tokens_counted(analysis)} {_peak(analysis)}"


def _table_of(analysis: Analysis) -> Table:
    return checks_table(analysis) if analysis.hardware.trial else by_batch_size(analysis)


def _copy_table(shown: Table) -> str:
    return copy_button(markdown_table(shown.columns, shown.rows), "Copy the table as Markdown")


def _bar_plots(analysis: Analysis) -> str:
    limits = {run.training_args.gpu_memory_limit_gib for run in analysis.runs}
    limit = limits.pop() if len(limits) == 1 else None
    cells, arms = analysis.cells, arms_shown(analysis)
    memory = memory_name(analysis)
    caption = "Bars: mean of the repeats that completed"
    if cells["tokens_per_second_low"].notna().any():
        caption += "; lines on them: 95% interval"
    partly = cells[(cells["n_completed"] < cells["n_runs"]) & (cells["n_completed"] > 0)]
    if len(partly):
        caption += f"; “{completed_of(partly.iloc[0])}”: repeats that completed, where not all did"
    if cells["n_out_of_memory"].any():
        caption += "; OOM: out of memory"
    alt = "; ".join(
        f"{row['arm']} at {row[BATCH_SIZE]}: {_cell_in_words(row)}" for _, row in cells.iterrows()
    )
    return (
        heading("Throughput", "throughput")
        + figure(
            "throughput",
            f"Bar plot by batch size. {alt}.",
            f"{caption}.",
            throughput_bars(cells, arms),
        )
        + heading(memory, "memory")
        + figure(
            "memory",
            f"Bar plot of {memory.lower()} by batch size. {alt}.",
            f"{caption}; dashed: the memory limit." if limit else f"{caption}.",
            memory_bars(cells, arms, memory.lower(), limit),
        )
    )


def _cell_in_words(cell: pd.Series) -> str:
    if not cell["n_completed"]:
        return outcome_words(cell)
    text = f"{number(cell['tokens_per_second'])} tokens per second"
    if known(cell["peak_memory_MB"]):
        text += f", {gibibytes(cell['peak_memory_MB'])} GiB"
    return text if cell["n_completed"] == cell["n_runs"] else f"{text} ({outcome_words(cell)})"


def _peak(analysis: Analysis) -> str:
    device = analysis.hardware
    if device.peak_tflops is not None:
        if any(run.record.get("flops") for run in analysis.runs):
            what = "the FLOPs of weights and attention that real tokens take"
        else:
            what = "6 × parameters × tokens per second"
        return (
            f"MFU is {what} over the dense bf16 peak, "
            f"{device.peak_tflops:g} TFLOP/s for the {device.card or device.name}."
        )
    card = device.card or device.name
    return f"No MFU is given: the peak of “{card}” is not in this report’s table."
