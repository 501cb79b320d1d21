"""The table of a grid's runs: what each measured, or why it did not complete."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from liger_benchmark.analysis.allocator_retries import retries
from liger_benchmark.analysis.hardware import Hardware
from liger_benchmark.analysis.overhead import overhead_seconds
from liger_benchmark.analysis.steadiness import unsteady_mark
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.columns import (
    AVG_ENERGY_J_PER_TOKEN,
    AVG_LOOP_TOKENS_PER_SECOND,
    AVG_REAL_TOKENS_PER_SECOND,
    AVG_TOKENS_PER_SECOND,
    TOTAL_PEAK_ALLOCATED_MB,
)
from liger_benchmark.run import COMPLETED, FAILED, Run
from liger_benchmark.training.documents import is_flat
from liger_benchmark.training.ending import AFTER_LAST_STEP
from liger_benchmark.validation import one_line
from liger_benchmark.wording import gibibytes

# Of the table of runs alone: with padding, where the others count real tokens.
PADDED_TOKENS_PER_SECOND = "padded_tokens_per_second"
# Columns that are not measured: an invalid cell's rows keep them.
DESCRIPTIVE = (
    *("condition", "arm", BATCH_SIZE, "run", "outcome", "reason", "detail", "after_last_step"),
    *("unsteady", "unsteady_steps", "invalid"),
)


def table_of_runs(runs: Sequence[Run], hardware: Hardware, memory_column: str) -> pd.DataFrame:
    """One row for each run, failed ones too, in the order of `runs`.

    Where an arm is packed or laid out without padding, all rates and the energy are those of real
    tokens: padded tokens are no work that arms have in common.

    Columns: see `MeasuredGrid.runs_table`.

    Args:
        memory_column: the history's column with the peak memory over all steps.
    """
    real = any(is_flat(run.training_args) for run in runs)
    return pd.DataFrame([_row(run, hardware, memory_column, real) for run in runs])


def _row(run: Run, hardware: Hardware, memory_column: str, real: bool) -> dict[str, Any]:
    args = run.training_args
    completed = run.outcome == COMPLETED and len(run.history) > 0
    last = run.history.iloc[-1] if completed else pd.Series(dtype=float)
    tokens_per_second = float(last.get(AVG_TOKENS_PER_SECOND, math.nan))
    padded = math.nan
    if real:
        padded, tokens_per_second = (
            tokens_per_second,
            float(last.get(AVG_REAL_TOKENS_PER_SECOND, math.nan)),
        )
    share = tokens_per_second / padded if real else 1.0
    reason, detail = _reason_and_detail(run)
    unsteady, unsteady_steps = unsteady_mark(run)
    return {
        "condition": args.condition,
        "arm": args.arm,
        BATCH_SIZE: args.per_device_train_batch_size,
        "run": args.run,
        "outcome": run.outcome,
        "reason": reason,
        "detail": detail,
        "after_last_step": after_last_step(run),
        "unsteady": unsteady,
        "unsteady_steps": unsteady_steps,
        "n_steps": len(run.history),
        AVG_TOKENS_PER_SECOND: tokens_per_second,
        AVG_LOOP_TOKENS_PER_SECOND: share * float(last.get(AVG_LOOP_TOKENS_PER_SECOND, math.nan)),
        AVG_REAL_TOKENS_PER_SECOND: float(last.get(AVG_REAL_TOKENS_PER_SECOND, math.nan)),
        PADDED_TOKENS_PER_SECOND: padded,
        memory_column: float(last.get(memory_column, math.nan)),
        TOTAL_PEAK_ALLOCATED_MB: float(last.get(TOTAL_PEAK_ALLOCATED_MB, math.nan)),
        "allocator_retries": retries(run),
        "final_loss": float(last.get("loss", math.nan)),
        "mfu": _utilisation("model", run, last, hardware),
        "hfu": _utilisation("hardware", run, last, hardware),
        "energy_J_per_token": float(last.get(AVG_ENERGY_J_PER_TOKEN, math.nan)) / share,
        "overhead_seconds": overhead_seconds(run),
        "wandb_url": run.record.get("wandb_url"),
    }


# What failed after the last step of a completed run, by the key of `training.ending`.
_AT_THE_END = {
    "evaluation": "its evaluation failed",
    "checkpoint": "its checkpoint could not be saved",
    "save": "it could not be saved",
    "process": "its process failed",
    "record": "its record is incomplete",
}


def after_last_step(run: Run) -> str:
    """What failed after the last step of a run that is kept in spite of it; empty without."""
    failed = run.record.get(AFTER_LAST_STEP, {})
    return "; ".join(
        f"{_AT_THE_END.get(where, 'the training did not end well')}: {one_line(reason, limit=None)}"
        for where, reason in failed.items()
    )


def _reason_and_detail(run: Run) -> tuple[str, str]:
    """Why a run did not complete, a line each: with the outcome's words and without them.

    Both are empty for a run that completed.
    """
    if run.outcome == COMPLETED:
        return "", ""
    if run.outcome == FAILED:
        error = run.record.get("error")
        if not error:
            reason = "no result was returned; see the task's log"
        else:
            reason = f"{error.get('type', 'Error')}: {error.get('message', '')}"
        reason = one_line(reason, limit=None)
        return reason, reason
    details = run.record.get("out_of_memory", {})
    where, amounts = _where_memory_ran_out(details), _memory_amounts(details)
    reason = ": ".join(filter(None, (f"out of memory {where}".strip(), amounts)))
    return reason, ": ".join(filter(None, (where, amounts)))


def _where_memory_ran_out(details: dict[str, Any]) -> str:
    phase, step = str(details.get("phase", "")), details.get("step")
    return {
        "": "",
        "model": "while the model was loaded",
        "first step": "at the first step",
        "evaluation": f"in an evaluation after step {step}",
        "checkpoint": f"while a checkpoint was saved after step {step}",
        "step": f"at step {step}",
        "optimizer": f"in the optimizer at step {step}",
    }.get(phase, f"in the phase {phase}")


def _memory_amounts(details: dict[str, Any]) -> str:
    """What the allocator refused and held: `0.92 GiB refused, 37.89 GiB allocated`."""
    return ", ".join(
        f"{gibibytes(details[key], 2)} GiB {words}"
        for key, words in (
            ("requested_MB", "refused"),
            ("allocated_MB", "allocated"),
            ("reserved_MB", "reserved"),
        )
        if details.get(key) is not None
    )


def _utilisation(what: str, run: Run, last: pd.Series, hardware: Hardware) -> float:
    """MFU or HFU, a fraction: FLOPs a second over the dense bf16 peak, see `training.flops`.

    For a record without FLOPs, of an earlier version, MFU is 6 · parameters · tokens/s, padding
    included, without attention. NaN where the peak or the model is not known, or the arithmetic was
    in fp32. Of several GPUs it is the share of the peak of all.

    Args:
        what: "model" for MFU, "hardware" for HFU.
        last: the last row of the run's history.
    """
    if hardware.peak_tflops is None or not run.training_args.is_rounded:
        return math.nan
    flops, weights = run.record.get("flops") or {}, run.record.get("weights", {})
    rate = float(last.get(AVG_REAL_TOKENS_PER_SECOND, math.nan))
    if what not in flops:
        n_parameters = weights.get("n_active_parameters") or weights.get("n_parameters")
        if not n_parameters or what == "hardware":
            return math.nan
        flops, rate = {what: 6 * n_parameters}, float(last.get(AVG_TOKENS_PER_SECOND, math.nan))
    of_all = hardware.peak_tflops * run.training_args.n_gpus
    return float(flops[what] * rate / (of_all * 1e12))
