"""The report's sections "Runs" and "Environment": every run, all records, how to repeat them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from liger_benchmark.analysis.arms import display_order
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import BATCH_SIZE
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
    table,
)
from liger_benchmark.report.table import memory_name
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run
from liger_benchmark.validation import one_line
from liger_benchmark.wording import NO_VALUE, gibibytes, number, significant

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
        "Every run of the grid.", [column for column, _ in columns], rows, "dense sortable"
    )
    return (
        (every_run if len(rows) <= _UNFOLDED else folded(f"All {len(rows)} runs", every_run))
        + heading("Raw numbers", "raw-numbers")
        + paragraph("They are inside this page: nothing is fetched.")
        + _downloads(analysis)
    )


def _columns(analysis: Analysis) -> list[tuple[Column, Callable[[Mapping[str, Any], Run], Cell]]]:
    """The columns of "Runs", each with what makes its cell from a row of `runs_table`."""

    def numeric(heading: str, key: str, write: Callable[[float], str]) -> Any:
        return Column(heading, True), lambda row, _: number_cell(row[key], write)

    frame = analysis.runs_table
    shown = [
        (Column("Arm"), lambda row, _: arm_cell(row["arm"])),
        (Column("Batch size", True), lambda row, _: integer_cell(row[BATCH_SIZE])),
        (Column("Run", True), lambda row, _: integer_cell(row["run"])),
        (Column("Outcome"), lambda row, _: _outcome_cell(row)),
        numeric("Tokens/s", "avg_tokens_per_second", number),
        *(
            numeric(heading, column, number)
            for heading, column in (
                ("of the loop", AVG_LOOP_TOKENS_PER_SECOND),
                ("without padding", AVG_REAL_TOKENS_PER_SECOND),
            )
            if frame[column].notna().any()
        ),
        numeric(
            f"{memory_name(analysis)}, GiB", analysis.memory_column, lambda mb: gibibytes(mb, 2)
        ),
        *(
            [numeric("used, GiB", TOTAL_PEAK_ALLOCATED_MB, lambda mb: gibibytes(mb, 2))]
            if frame[TOTAL_PEAK_ALLOCATED_MB].notna().any()
            else []
        ),
        numeric("Final loss", "final_loss", lambda loss: number(loss, 4)),
    ]
    if frame["allocator_retries"].notna().any():
        shown.append(numeric("Retries", "allocator_retries", number))
    if frame["mfu"].notna().any():
        shown.append(numeric("MFU", "mfu", lambda mfu: f"{number(100 * mfu, 1)} %"))
    if frame["energy_J_per_token"].notna().any():
        shown.append(numeric("J/token", "energy_J_per_token", significant))
    shown += [
        numeric("Over\N{SOFT HYPHEN}head, s", "overhead_seconds", lambda s: number(s, 1)),
        (Column("History"), lambda _, run: _history_cell(run)),
    ]
    if frame["wandb_url"].notna().any():
        shown.append((Column("W&B"), lambda row, _: _link_cell(row["wandb_url"])))
    return shown


def environment(analysis: Analysis) -> str:
    """The body of "Environment": everything that was recorded, and how to repeat the run."""
    parts = [_activation_table(analysis)]
    for key, title in (
        ("weights", "Weights"),
        ("dataset", "Data"),
        ("environment", "Machine and packages"),
    ):
        values = _distinct(run.record.get(key) for run in analysis.runs)
        if values:
            parts.append(_key_table(title, values))
    arguments = _distinct(asdict(run.training_args) for run in analysis.runs)
    del arguments["arm_name"]  # the arms' names are everywhere else
    parts.append(_key_table("Training arguments", arguments))
    recorded = any(run.record.get("environment", {}).get("packages") for run in analysis.runs)
    parts += [
        heading("Repeat this run", "repeat"),
        paragraph("Save this as inputs.yaml:"),
        code(inputs_yaml(analysis.runs, analysis.baseline)),
        paragraph(f"and{', with the versions above,' if recorded else ''} start it with"),
        code(COMMAND),
    ]
    return "".join(parts)


def _outcome_cell(row: Mapping[str, Any]) -> Cell:
    outcome, detail = _OUTCOMES[row["outcome"]], str(row["detail"])
    if row["invalid"] and row["outcome"] == COMPLETED:
        outcome, detail = "invalid", str(row["invalid"])
    # An error's message may be pages long; the whole of it is in the JSON.
    return Cell(outcome, one_line(detail, limit=300))


def _history_cell(run: Run) -> Cell:
    if not len(run.history):
        return Cell(NO_VALUE)
    text = run.history.to_csv(index=False, float_format=_SIGNIFICANT)
    return Cell(markup=download(f"{run.training_args.slug}.csv", "text/csv", text, "CSV"))


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
        files.append(download("histories.csv", "text/csv", text, "All steps (CSV)"))
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


def _key_table(title: str, values: Mapping[str, list[Any]]) -> str:
    rows = [[Cell(key), Cell(_show_distinct(found))] for key, found in values.items()]
    return folded(
        title,
        table(
            f"{title}: one value, or all that the runs had", [Column("Key"), Column("Value")], rows
        ),
    )


def _distinct(records: Any) -> dict[str, list[Any]]:
    """Each key of nested `records`, dotted, with its different values in order of appearance."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for key, value in _flat(record or {}):
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    return found


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _show_distinct(values: Sequence[Any], most: int = 6) -> str:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values) > most:
        return f"{min(numbers):g} to {max(numbers):g}"
    texts = [_show(value) for value in values[:most]]
    more = len(values) - most
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
