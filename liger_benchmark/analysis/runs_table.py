"""The table of a grid's runs: what each measured, or why it did not complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from liger_benchmark.analysis.hardware import Hardware
from liger_benchmark.analysis.overhead import overhead_seconds
from liger_benchmark.arguments import BATCH_SIZE
from liger_benchmark.columns import (
    AVG_ENERGY_J_PER_TOKEN,
    AVG_LOOP_TOKENS_PER_SECOND,
    AVG_REAL_TOKENS_PER_SECOND,
    AVG_TOKENS_PER_SECOND,
    TOTAL_PEAK_ALLOCATED_MB,
)
from liger_benchmark.run import COMPLETED, FAILED, Run, retries
from liger_benchmark.validation import one_line
from liger_benchmark.wording import gibibytes


def table_of_runs(runs: Sequence[Run], hardware: Hardware, memory_column: str) -> pd.DataFrame:
    """One row for each run, failed ones too, in the order of `runs`.

    Columns: see `MeasuredGrid.runs_table`.

    Args:
        memory_column: the history's column with the peak memory over all steps.
    """
    return pd.DataFrame([_row(run, hardware, memory_column) for run in runs])


def _row(run: Run, hardware: Hardware, memory_column: str) -> dict[str, Any]:
    args = run.training_args
    completed = run.outcome == COMPLETED and len(run.history) > 0
    last = run.history.iloc[-1] if completed else pd.Series(dtype=float)
    tokens_per_second = float(last.get(AVG_TOKENS_PER_SECOND, float("nan")))
    reason, detail = _reason_and_detail(run)
    return {
        "condition": args.condition,
        "arm": args.arm,
        BATCH_SIZE: args.per_device_train_batch_size,
        "run": args.run,
        "outcome": run.outcome,
        "reason": reason,
        "detail": detail,
        "n_steps": len(run.history),
        AVG_TOKENS_PER_SECOND: tokens_per_second,
        **{
            column: float(last.get(column, float("nan")))
            for column in (AVG_LOOP_TOKENS_PER_SECOND, AVG_REAL_TOKENS_PER_SECOND)
        },
        memory_column: float(last.get(memory_column, float("nan"))),
        TOTAL_PEAK_ALLOCATED_MB: float(last.get(TOTAL_PEAK_ALLOCATED_MB, float("nan"))),
        "allocator_retries": retries(run),
        "final_loss": float(last.get("loss", float("nan"))),
        "mfu": _mfu(run, tokens_per_second, hardware),
        "energy_J_per_token": float(last.get(AVG_ENERGY_J_PER_TOKEN, float("nan"))),
        "overhead_seconds": overhead_seconds(run),
        "wandb_url": run.record.get("wandb_url"),
    }


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


def _mfu(run: Run, tokens_per_second: float, hardware: Hardware) -> float:
    """Model FLOPs utilisation, a fraction: 6 · parameters · tokens/s over the dense bf16 peak.

    Of several GPUs it is the share of the peak of all.

    The parameters are those at work for a token, see `training.model.n_active_parameters`; all of
    them where an older record does not tell. Source: Chowdhery et al., "PaLM" (2022), appendix B,
    without the attention term. NaN where the peak or the number of parameters is not known, or the
    run was not in bf16.
    """
    weights = run.record.get("weights", {})
    n_parameters = weights.get("n_active_parameters") or weights.get("n_parameters")
    if not n_parameters or hardware.peak_tflops is None or not run.training_args.bf16:
        return float("nan")
    per_gpu = tokens_per_second / run.training_args.n_gpus
    return float(6 * n_parameters * per_gpu / (hardware.peak_tflops * 1e12))
