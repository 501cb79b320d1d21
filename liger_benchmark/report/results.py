"""The report's first section: headline, verdict, bar plots and the table by batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from liger_benchmark.analysis.arms import value_on
from liger_benchmark.analysis.result_folders import COMPARED_PACKAGES
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.analysis.verdict import verdict_sentence
from liger_benchmark.arguments import (
    BATCH_SIZE,
    DEFAULT_LIGER_KERNELS,
    LIGER,
    VANILLA,
    TrainingArguments,
)
from liger_benchmark.report.figures.bars import memory_bars, throughput_bars
from liger_benchmark.report.markup import Cell, Column, escape, figure, items, paragraph, table
from liger_benchmark.report.outcomes import outcome_words
from liger_benchmark.report.table import by_batch_size, memory_name
from liger_benchmark.wording import (
    count_of_parameters,
    gibibytes,
    known,
    number,
    plural,
)

_METHOD = (
    "Only completed runs enter a mean. ± is a 95 % interval: Student’s t over the repeats. "
    "Speed-up and saving compare repeat i of an arm with repeat i of the baseline; their intervals "
    "are t intervals on the mean log ratio, so they differ slightly from the ratio of the means. "
    "Tokens include padding, as in the blog."
)


def results(analysis: Analysis) -> str:
    """The body of "Benchmarking Results": headline, verdict, both bar plots, the table."""
    notices, warnings = _notices_and_warnings(analysis)
    parts = [
        "".join(paragraph(text, "notice") for text in notices),
        paragraph(analysis.headline, "headline"),
        paragraph(_what_was_run(analysis), "what"),
        _verdict(analysis),
        items(warnings, "warnings"),
        _bar_plots(analysis),
        "<h3>By batch size</h3>",
        by_batch_size(analysis),
        paragraph(f"{_METHOD} {_peak(analysis)}", "note"),
    ]
    return "".join(parts)


def _notices_and_warnings(analysis: Analysis) -> tuple[list[str], list[str]]:
    """What stands on top of the report (that the grid is a trial), and all other warnings."""
    caveats = analysis.caveats
    notices = [caveat.text for caveat in caveats if caveat.kind == "trial"]
    return notices, [caveat.text for caveat in caveats if caveat.kind != "trial"]


def _what_was_run(analysis: Analysis) -> str:
    args = analysis.runs[0].training_args
    weights, environment = _first(analysis, "weights"), _first(analysis, "environment")
    packages, size = environment.get("packages", {}), weights.get("n_parameters")
    origin = {
        "random": "random weights",
        "hub": "weights from the Hub",
        "folder": "weights from a folder",
    }.get(weights.get("origin", ""), "")
    started = min(
        (r.record["started_at"] for r in analysis.runs if "started_at" in r.record), default=""
    )

    def each(show: Callable[[TrainingArguments], str]) -> str:
        """What `show` says of the runs' arguments: once, or all that an axis makes of it."""
        return " or ".join(dict.fromkeys(show(run.training_args) for run in analysis.runs))

    texts = [
        args.model_name + (f" ({count_of_parameters(size)} parameters)" if size else ""),
        origin,
        f"data {args.dataset_name}",
        f"up to {each(lambda a: number(a.max_seq_length))} tokens a sequence",
        f"{each(lambda a: str(a.max_steps))} steps, "
        f"{each(lambda a: str(a.n_warmup_steps))} of them warm-up",
        each(lambda a: "bf16" if a.bf16 else "fp32"),
        each(lambda a: a.optim),
        *_in_all_arms(analysis),
        plural(max(run.training_args.run for run in analysis.runs), "repeat"),
        analysis.hardware.name + _memory_cap(each),
        *(f"{name} {packages[name]}" for name in COMPARED_PACKAGES if name in packages),
        started[:10],
    ]
    return " · ".join(text for text in texts if text)


def _memory_cap(each: Callable[[Callable[[TrainingArguments], str]], str]) -> str:
    def of_run(args: TrainingArguments) -> str:
        limit = args.gpu_memory_limit_gib
        return "not" if limit is None else f"at {limit:g} GiB"

    cap = each(of_run)
    return "" if cap == "not" else f", memory capped {cap}"


def _in_all_arms(analysis: Analysis) -> list[str]:
    """What all arms have in common and the blog's do not: an axis' values are in their names."""

    def common(axis: str) -> Any:
        values = [value_on(axis, run.training_args) for run in analysis.runs]
        there = [value for value in values if value is not None]
        return there[0] if there and len(set(there)) == 1 else None

    plain, found = TrainingArguments(), []
    kernels = common("liger_kernels")
    if kernels is not None and kernels != tuple(sorted(DEFAULT_LIGER_KERNELS)):
        found.append(f"of Liger only {', '.join(kernels)}")
    for axis in ("torch_compile", "gradient_checkpointing"):
        if common(axis):
            found.append(axis)
    for axis in ("loss_type", "attn_implementation", "dataset_format"):
        if common(axis) not in (None, getattr(plain, axis)):
            found.append(str(common(axis)))
    micro_batches = common("gradient_accumulation_steps")
    if micro_batches is not None and micro_batches > 1:
        found.append(f"{micro_batches} micro-batches a step")
    return found


def _first(analysis: Analysis, part: str) -> dict[str, Any]:
    """The part of the first record that has it."""
    return next((run.record[part] for run in analysis.runs if run.record.get(part)), {})


def _verdict(analysis: Analysis) -> str:
    text = verdict_sentence(analysis.claims)
    if not {VANILLA, LIGER} <= set(analysis.arms):
        reason = analysis.claims[0].not_tested_because
        return paragraph(f"{text.rstrip('.')}: {reason}.", "note")
    rows = [
        [Cell(c.name), Cell(c.published), Cell(c.measured), Cell(c.judgement)]
        for c in analysis.claims
    ]
    columns = [Column(name) for name in ("Claim", "Published", "Measured here", "Judgement")]
    caption = "What the blog reports, and what this grid shows"
    if len(analysis.arms) > 2:
        caption += " for Liger against vanilla"
    return f'<h3 class="verdict">{escape(text)}</h3>' + table(caption, columns, rows)


def _bar_plots(analysis: Analysis) -> str:
    limits = {run.training_args.gpu_memory_limit_gib for run in analysis.runs}
    limit = limits.pop() if len(limits) == 1 else None
    cells, arms = analysis.cells, analysis.arms
    memory = memory_name(analysis)
    caption = "Bars: mean of the repeats that completed"
    if cells["tokens_per_second_low"].notna().any():
        caption += "; lines on them: 95 % interval"
    incomplete = cells[cells["n_completed"] < cells["n_runs"]]
    if (incomplete["n_completed"] > 0).any():
        caption += "; “2 of 3”: repeats that completed, where not all did"
    if cells["n_out_of_memory"].any():
        caption += "; OOM: out of memory"
    alt = "; ".join(
        f"{row['arm']} at {row[BATCH_SIZE]}: {_cell_in_words(row)}" for _, row in cells.iterrows()
    )
    return (
        "<h3>Throughput</h3>"
        + figure(throughput_bars(cells, arms), f"Bar plot by batch size. {alt}.", f"{caption}.")
        + f"<h3>{escape(memory)}</h3>"
        + figure(
            memory_bars(cells, arms, memory.lower(), limit),
            f"Bar plot of {memory.lower()} by batch size. {alt}.",
            f"{caption}; dashed: the memory limit." if limit else f"{caption}.",
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
        return (
            "MFU is 6 × parameters × tokens per second over the dense bf16 peak, "
            f"{device.peak_tflops:g} TFLOP/s for the {device.name}."
        )
    if not device.timings_count:
        return f"No MFU is given for a trial {device.trial}."
    return f"No MFU is given: the peak of “{device.name}” is not in this report’s table."
