"""The report's sections "Runs" and "Environment": every run, all records, how to repeat them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from liger_benchmark.analysis.arms import display_order
from liger_benchmark.analysis.runs_table import PADDED_TOKENS_PER_SECOND
from liger_benchmark.analysis.steadiness import SLOW
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.columns import (
    AVG_LOOP_TOKENS_PER_SECOND,
    AVG_REAL_TOKENS_PER_SECOND,
    TOTAL_PEAK_ALLOCATED_MB,
)
from liger_benchmark.report.arm_order import arms_shown
from liger_benchmark.report.inputs import inputs_yaml
from liger_benchmark.report.markup import (
    Cell,
    Column,
    arm_cell,
    code,
    download,
    folded,
    heading,
    integer_cell,
    link,
    number_cell,
    paragraph,
    part_button,
    table,
)
from liger_benchmark.report.ranks import ranks_table
from liger_benchmark.report.recorded_values import distinct_values, key_table
from liger_benchmark.report.table import memory_name
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run, tries
from liger_benchmark.validation import one_line
from liger_benchmark.wording import NO_VALUE, gibibytes, known, number, significant

COMMAND = "pyflyte run liger_kernel_finetuning.py benchmarking_experiment --inputs-file inputs.yaml"

_OUTCOMES = {COMPLETED: "completed", OUT_OF_MEMORY: "out of memory", FAILED: "failed"}
_PART_NAMES = {
    "rms_norm": "RMSNorm",
    "swiglu": "SwiGLU",
    "rope": "RoPE",
    "fused_linear_cross_entropy": "fused linear cross-entropy",
    "cross_entropy": "cross-entropy",
}
_UNFOLDED = 12  # rows; a longer table of runs is folded
ALL_STEPS = "histories.csv"
_SIGNIFICANT = "%.9g"  # more than the clock and the losses hold; keeps the page small


def runs(analysis: Analysis) -> str:
    """The body of "Runs": every run, the failed ones with their reason, and the raw numbers."""
    place = display_order(arms_shown(analysis))
    records = analysis.runs_table.astype(object).to_dict("records")
    every = sorted(
        zip(records, analysis.runs, strict=True), key=lambda row_and_run: place(row_and_run[1])
    )
    columns = _columns(analysis)
    rows = [[make(row, run) for _, make in columns] for row, run in every]
    every_run = table(
        _runs_caption(analysis), [column for column, _ in columns], rows, "dense sortable"
    )
    return (
        (every_run if len(rows) <= _UNFOLDED else folded(f"All {len(rows)} runs", every_run))
        + ranks_table(analysis)
        + heading("Raw numbers", "raw-numbers")
        + paragraph("They are inside this page: nothing is fetched.")
        + _downloads(analysis)
    )


def _columns(analysis: Analysis) -> list[tuple[Column, Callable[[Mapping[str, Any], Run], Cell]]]:
    """The columns of "Runs", each with what makes its cell from a row of `runs_table`."""

    def numeric(heading: str, key: str, write: Callable[[float], str]) -> Any:
        return Column(heading, True), lambda row, _: number_cell(row[key], write)

    frame, histories = analysis.runs_table, _history_cells(analysis)
    shown = [
        (Column("Arm"), lambda row, _: arm_cell(row["arm"])),
        (Column("Batch size", True), lambda row, _: integer_cell(row[BATCH_SIZE])),
        (Column("Run", True), lambda row, _: integer_cell(row["run"])),
        (Column("Outcome"), lambda row, run: _outcome_cell(row, run)),
        (Column("Tokens/s", True), lambda row, _: _speed_cell(row)),
        (Column("GiB", True), lambda row, _: _memory_cell(row, analysis.memory_column)),
        numeric("Final loss", "final_loss", lambda loss: number(loss, 4)),
    ]
    if frame["allocator_retries"].notna().any():
        shown.append(numeric("Retries", "allocator_retries", number))
    if frame["mfu"].notna().any():
        shown.append(numeric("MFU", "mfu", lambda mfu: f"{number(100 * mfu, 1)}%"))
    if (frame["hfu"] > 1.01 * frame["mfu"]).any():
        shown.append(numeric("HFU", "hfu", lambda hfu: f"{number(100 * hfu, 1)}%"))
    if frame["energy_J_per_token"].notna().any():
        shown.append(numeric("J/token", "energy_J_per_token", significant))
    shown += [
        numeric("Over\N{SOFT HYPHEN}head, s", "overhead_seconds", lambda s: number(s, 1)),
        (Column("History"), lambda _, run: histories[run.training_args.slug]),
    ]
    if frame["wandb_url"].notna().any():
        shown.append((Column("W&B"), lambda row, _: _link_cell(row["wandb_url"])))
    return shown


def _speed_cell(row: Mapping[str, Any]) -> Cell:
    """Tokens per second of the steps; below it those of the loop, and without padding or with."""
    is_real = known(row[PADDED_TOKENS_PER_SECOND])
    more = [
        f"{word} {number(row[column])}"
        for word, column in (
            ("loop", AVG_LOOP_TOKENS_PER_SECOND),
            ("padded", PADDED_TOKENS_PER_SECOND)
            if is_real
            else ("real", AVG_REAL_TOKENS_PER_SECOND),
        )
        if known(row[column])
    ]
    return number_cell(row["avg_tokens_per_second"], number, "\n".join(more))


def _memory_cell(row: Mapping[str, Any], column: str) -> Cell:
    """Peak memory in GiB; below it the peak that was allocated."""
    used = row[TOTAL_PEAK_ALLOCATED_MB]
    more = f"used {gibibytes(used, 2)}" if known(used) else ""
    return number_cell(row[column], lambda mb: gibibytes(mb, 2), more)


def _runs_caption(analysis: Analysis) -> str:
    """What the columns of "Runs" are, as far as they are there."""
    frame = analysis.runs_table
    parts = [f"Every run of the grid. GiB: {memory_name(analysis).lower()}"]
    for column, words in (
        (TOTAL_PEAK_ALLOCATED_MB, "used: what was allocated of it"),
        (AVG_LOOP_TOKENS_PER_SECOND, "loop: with what lies between the steps"),
        (PADDED_TOKENS_PER_SECOND, "padded: with padding, which all other speeds leave out")
        if frame[PADDED_TOKENS_PER_SECOND].notna().any()
        else (AVG_REAL_TOKENS_PER_SECOND, "real: without padding"),
    ):
        if frame[column].notna().any():
            parts.append(words)
    if (frame["unsteady"] != "").any():
        parts.append(f"slow step: one of over {SLOW} times the median")
    return f"{'; '.join(parts)}."


def environment(analysis: Analysis) -> str:
    """The body of "Environment": everything that was recorded, and how to repeat the run."""
    parts = [_activation_table(analysis)]
    for key, title in (
        ("weights", "Weights"),
        ("dataset", "Data"),
        ("environment", "Machine and packages"),
    ):
        values = distinct_values(run.record.get(key) for run in analysis.runs)
        if values:
            parts.append(key_table(title, values))
    arguments = distinct_values(asdict(run.training_args) for run in analysis.runs)
    del arguments["arm_name"]  # the arms' names are everywhere else
    parts.append(key_table("Training arguments", arguments))
    recorded = any(run.record.get("environment", {}).get("packages") for run in analysis.runs)
    parts += [
        heading("Repeat this run", "repeat"),
        paragraph("Save this as inputs.yaml:"),
        code(inputs_yaml(analysis.runs, analysis.baseline)),
        paragraph(f"and{', with the versions above,' if recorded else ''} start it with"),
        code(COMMAND),
    ]
    return "".join(parts)


def _outcome_cell(row: Mapping[str, Any], run: Run) -> Cell:
    """The outcome; below it the reason, what failed at the end, and a mark of unsteady steps."""
    outcome, detail = _OUTCOMES[row["outcome"]], str(row["detail"])
    if row["invalid"] and row["outcome"] == COMPLETED:
        outcome, detail = "invalid", str(row["invalid"])
    if tries(run) > 1 and run.outcome != FAILED:  # the reason of a failure says it
        detail = "; ".join(filter(None, (f"on try {tries(run)}", detail)))
    # An error's message may be pages long; the whole of it is in the JSON.
    below = [one_line(text, limit=300) for text in (detail, str(row["after_last_step"])) if text]
    below += [str(row["unsteady"])] if row["unsteady"] else []
    return Cell(outcome, "; ".join(below), title=one_line(row["unsteady_steps"], limit=300))


def _history_cells(analysis: Analysis) -> dict[str, Cell]:
    """By a run's slug, a button that saves its steps: its lines of the file of all steps."""
    cells, first = {}, 1
    for run in analysis.runs:
        slug, last = run.training_args.slug, first + len(run.history)
        button = part_button(f"{slug}.csv", ALL_STEPS, first, last, "CSV")
        cells[slug] = Cell(markup=button) if last > first else Cell(NO_VALUE)
        first = last
    return cells


def _link_cell(url: Any) -> Cell:
    return Cell(markup=link(url, "open") or NO_VALUE)


def _downloads(analysis: Analysis) -> str:
    histories = [_with_arm(run) for run in analysis.runs if len(run.history)]
    files = [
        download(
            "runs.csv",
            "text/csv",
            analysis.runs_table.to_csv(index=False, float_format=_SIGNIFICANT),
            "All runs (CSV)",
        )
    ]
    if histories:
        text = pd.concat(histories).to_csv(index=False, float_format=_SIGNIFICANT)
        files.append(download(ALL_STEPS, "text/csv", text, "All steps (CSV)"))
    files.append(
        download(
            "analysis.json", "application/json", _as_json(analysis), "Analysis, records (JSON)"
        )
    )
    inner = "".join(f"<li>{file}</li>" for file in files)
    return f'<ul class="downloads">{inner}</ul>'


def _with_arm(run: Run) -> pd.DataFrame:
    """The run's history with its arm's name in front: a row says which condition it belongs to."""
    return run.history.assign(arm=run.training_args.arm)[
        ["arm", *(column for column in run.history if column != "arm")]
    ]


def _as_json(analysis: Analysis) -> str:
    def rows(frame: pd.DataFrame) -> Any:
        return json.loads(frame.to_json(orient="records", double_precision=9))

    content = {
        "headline": analysis.headline,
        "baseline": analysis.baseline,
        "arms": analysis.arms,
        "verdict": analysis.verdict,
        "claims": [asdict(claim) for claim in analysis.claims],
        "warnings": analysis.warnings,
        "cells": rows(analysis.cells),
        "comparison": rows(analysis.comparison),
        "runs": [
            {
                "training_args": asdict(run.training_args),
                "outcome": run.outcome,
                # Hundreds of numbers a run, which `record.json` keeps.
                **{key: value for key, value in run.record.items() if key != "gradients"},
            }
            for run in analysis.runs
        ],
    }
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _activation_table(analysis: Analysis) -> str:
    of_arms = {
        arm: [
            run.record["liger"]
            for run in analysis.runs
            if run.training_args.arm == arm and run.record.get("liger")
        ]
        for arm in arms_shown(analysis)
    }
    every = [liger for ligers in of_arms.values() for liger in ligers]
    if not every:
        return ""
    parts = [part for part in _PART_NAMES if any(part in liger for liger in every)]
    rows = [
        [arm_cell(arm), *(Cell(_counts(ligers, part)) for part in parts)]
        for arm, ligers in of_arms.items()
        if ligers
    ]
    columns = [Column("Arm"), *(Column(_PART_NAMES[part]) for part in parts)]
    caption = "Parts of the live model that ran Liger’s code, of those it has"
    return table(caption, columns, rows)


def _counts(ligers: Sequence[Mapping[str, Any]], part: str) -> str:
    texts = dict.fromkeys(
        f"{liger.get(part, 0)}"
        + (f" of {liger['parts'][part]}" if part in liger.get("parts", {}) else "")
        for liger in ligers
    )
    return " or ".join(texts)
