"""From runs to tables, intervals and a verdict: every number that the report shows.

Only completed runs enter a mean. Running out of memory is a measurement and is reported as one; a
failed run is an accident and is reported as that. Nothing is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from liger_benchmark.caveats import find_warnings, sizes_that_barely_fit
from liger_benchmark.claims import Claim, judge_claims, overall_verdict
from liger_benchmark.devices import Device, device_of
from liger_benchmark.headline import headline
from liger_benchmark.intervals import (
    Interval,
    largest_relative_difference,
    mean_interval,
    ratio_interval,
)
from liger_benchmark.merging import NotOneExperiment, read_experiment
from liger_benchmark.runs import COMPLETED, FAILED, OUT_OF_MEMORY, Run
from liger_benchmark.wording import baseline_first, gibibytes, model_title

__all__ = ["Analysis", "NotOneExperiment", "analyse", "read_experiment"]

BASELINE = "vanilla"
CHALLENGER = "Liger"
BATCH_SIZE = "per_device_train_batch_size"
GPU_MEMORY = "total_peak_memory_reserved_MB"
CPU_MEMORY = "total_peak_resident_set_MB"

# Largest relative difference of the arms' losses that rounding explains.
# fp32: Liger's kernels agree with transformers' to 5e-7 in one step (measured); forty SGD steps
# carry the difference on, and 1e-4 leaves two hundred times that.
FP32_LOSS_BOUND = 1e-4
# bf16 has 8 significant bits: rounding one number is off by up to 2**-9 = 2e-3 of it. A loss is a
# mean over thousands of tokens, in which single roundings average out, so the arms should stay
# closer than one rounding; on an H100 (results/) they stay within 3.2e-4 over forty steps.
BF16_LOSS_BOUND = 2e-3


@dataclass
class Analysis:
    """A grid, analysed.

    Attributes:
        runs: the runs, as given.
        runs_table: one row a run, failed ones too: `condition`, `arm`, batch size, `run`,
            `outcome`, `reason`, `n_steps`, `avg_tokens_per_second`, the peak memory in MB (2**20
            bytes) under `memory_column`, `final_loss`, `mfu` (a fraction), `overhead_seconds`,
            `wandb_url`. Measurements are NaN unless the run completed.
        cells: one row for each arm and batch size: counts by outcome, and the mean of tokens per
            second and of peak memory with the ends of their 95 % intervals (`_low`, `_high`;
            NaN with one repeat).
        comparison: one row a batch size: `n_pairs`, speed-up and memory saving in percent with
            their 95 % intervals, the largest relative `loss_difference` and its bound. Without
            rows unless both arms were run.
        claims, verdict: see `claims`.
        headline: the result in plain words.
        warnings: what a critical reader has to know, a sentence each.
        memory_column: `total_peak_memory_reserved_MB`, or `total_peak_resident_set_MB` on a CPU.
        first_overhead_seconds: the largest overhead of a run that began a sitting and so waited
            for the imports; None if there is none.
        later_overhead_seconds: the largest overhead of any other run; None if there is none.
    """

    runs: list[Run]
    runs_table: pd.DataFrame
    cells: pd.DataFrame
    comparison: pd.DataFrame
    claims: list[Claim]
    verdict: str
    headline: str
    warnings: list[str]
    device: Device
    model: str
    memory_column: str
    first_overhead_seconds: float | None
    later_overhead_seconds: float | None


def analyse(runs: list[Run]) -> Analysis:
    """Analyse the runs of one experiment.

    Raises:
        ValueError: if there is no run.
    """
    if not runs:
        raise ValueError("there is no run to analyse")
    device = device_of(runs)
    on_cpu = any(CPU_MEMORY in run.history for run in runs)
    memory_column = CPU_MEMORY if on_cpu else GPU_MEMORY
    runs_table = pd.DataFrame([_row(run, device, memory_column) for run in runs])
    cells = _cells(runs_table, memory_column)
    comparison = _comparison(runs, runs_table, memory_column)
    model = model_title(runs[0].training_args.short_model_name)
    first, later = _first_and_later_overhead(runs, runs_table)
    claims = judge_claims(cells, comparison, device.trial)
    tight = {size for sizes in sizes_that_barely_fit(runs).values() for size in sizes}
    return Analysis(
        runs=runs,
        runs_table=runs_table,
        cells=cells,
        comparison=comparison,
        claims=claims,
        verdict=overall_verdict(claims),
        headline=headline(model, runs_table, cells, comparison, device.trial, tight),
        warnings=find_warnings(runs, cells, comparison, device),
        device=device,
        model=model,
        memory_column=memory_column,
        first_overhead_seconds=first,
        later_overhead_seconds=later,
    )


def overhead_seconds(run: Run) -> float:
    """What the run took outside its steps, the warm-up's among them; NaN if it was not timed."""
    phases = run.record.get("phases")
    if not phases:
        return float("nan")
    return float(sum(s for name, s in phases.items() if name not in ("warmup_steps", "steps")))


def begins_a_sitting(run: Run) -> bool:
    """Whether the run's process had to wait for the imports that are paid once a grid.

    Told by its start, which then takes longer than all else around the steps together.
    """
    process = run.record.get("phases", {}).get("process", 0.0)
    return bool(process > overhead_seconds(run) - process)


def _row(run: Run, device: Device, memory_column: str) -> dict[str, Any]:
    args = run.training_args
    completed = run.outcome == COMPLETED and len(run.history) > 0
    last = run.history.iloc[-1] if completed else pd.Series(dtype=float)
    tokens_per_second = float(last.get("avg_tokens_per_second", float("nan")))
    return {
        "condition": args.condition,
        "arm": args.arm,
        BATCH_SIZE: args.per_device_train_batch_size,
        "run": args.run,
        "outcome": run.outcome,
        "reason": _reason(run),
        "n_steps": len(run.history),
        "avg_tokens_per_second": tokens_per_second,
        memory_column: float(last.get(memory_column, float("nan"))),
        "final_loss": float(last.get("loss", float("nan"))),
        "mfu": _mfu(run, tokens_per_second, device),
        "overhead_seconds": overhead_seconds(run),
        "wandb_url": run.record.get("wandb_url"),
    }


def _reason(run: Run) -> str:
    """Why a run did not complete, in one line; empty for one that did."""
    if run.outcome == COMPLETED:
        return ""
    if run.outcome == FAILED:
        error = run.record.get("error")
        if not error:
            return "no result was returned; see the task's log"
        return " ".join(f"{error.get('type', 'Error')}: {error.get('message', '')}".split())
    details = run.record.get("out_of_memory", {})
    phase, step = str(details.get("phase", "")), details.get("step")
    where = {
        "": "",
        "model": "while the model was loaded",
        "first step": "at the first step",
        "step": f"at step {step}",
        "optimizer": f"in the optimizer at step {step}",
    }.get(phase, f"in the phase {phase}")
    amounts = [
        f"{gibibytes(details[key], 2)} GiB {words}"
        for key, words in (
            ("requested_MB", "refused"),
            ("allocated_MB", "allocated"),
            ("reserved_MB", "reserved"),
        )
        if details.get(key) is not None
    ]
    text = f"out of memory {where}".strip()
    return f"{text}: {', '.join(amounts)}" if amounts else text


def _mfu(run: Run, tokens_per_second: float, device: Device) -> float:
    """Model FLOPs utilisation, a fraction: 6 · parameters · tokens/s over the dense bf16 peak.

    Source: Chowdhery et al., "PaLM" (2022), appendix B, without the attention term. NaN where the
    peak or the number of parameters is not known, or the run was not in bf16.
    """
    n_parameters = run.record.get("weights", {}).get("n_parameters")
    if not n_parameters or device.peak_tflops is None or not run.training_args.bf16:
        return float("nan")
    return float(6 * n_parameters * tokens_per_second / (device.peak_tflops * 1e12))


def _cells(runs_table: pd.DataFrame, memory_column: str) -> pd.DataFrame:
    rows = []
    for (arm, size), of_cell in runs_table.groupby(["arm", BATCH_SIZE]):
        outcomes = of_cell["outcome"]
        rows.append(
            {
                "arm": arm,
                BATCH_SIZE: size,
                "n_runs": len(of_cell),
                "n_completed": int((outcomes == COMPLETED).sum()),
                "n_out_of_memory": int((outcomes == OUT_OF_MEMORY).sum()),
                "n_failed": int((outcomes == FAILED).sum()),
                **_ends("tokens_per_second", of_cell["avg_tokens_per_second"]),
                **_ends("peak_memory_MB", of_cell[memory_column]),
                "mfu": of_cell["mfu"].mean(),
            }
        )
    arms = baseline_first(runs_table["arm"])
    rows.sort(key=lambda row: (row[BATCH_SIZE], arms.index(row["arm"])))
    return pd.DataFrame(rows)


def _ends(name: str, values: pd.Series) -> dict[str, float | None]:
    values = values.dropna()
    interval = mean_interval(list(values)) if len(values) else Interval(float("nan"), None, None, 0)
    return {name: interval.mean, **_interval_columns(name, interval.low, interval.high)}


def _interval_columns(name: str, low: float | None, high: float | None) -> dict[str, float]:
    missing = float("nan")
    return {
        f"{name}_low": missing if low is None else low,
        f"{name}_high": missing if high is None else high,
    }


def _comparison(runs: Sequence[Run], runs_table: pd.DataFrame, memory_column: str) -> pd.DataFrame:
    bound = BF16_LOSS_BOUND if runs[0].training_args.bf16 else FP32_LOSS_BOUND
    both = {BASELINE, CHALLENGER} <= set(runs_table["arm"])
    sizes = sorted(runs_table[BATCH_SIZE].unique()) if both else []
    rows = []
    for size in sizes:
        of_size = runs_table[runs_table[BATCH_SIZE] == size]
        speed = _paired_ratio(of_size, "avg_tokens_per_second")
        memory = _paired_ratio(of_size, memory_column)
        difference = _loss_difference([r for r in runs if _batch_size(r) == size])
        rows.append(
            {
                BATCH_SIZE: size,
                "n_pairs": speed.n if speed else 0,
                **_percent_change("speedup", speed, sign=1),
                **_percent_change("memory_saving", memory, sign=-1),
                "loss_difference": float("nan") if difference is None else difference,
                "loss_bound": bound,
                "loss_above_bound": difference is not None and difference > bound,
            }
        )
    columns = [
        *(BATCH_SIZE, "n_pairs", "speedup_percent", "speedup_low", "speedup_high"),
        *("memory_saving_percent", "memory_saving_low", "memory_saving_high"),
        *("loss_difference", "loss_bound", "loss_above_bound"),
    ]
    return pd.DataFrame(rows, columns=columns)


def _paired_ratio(of_size: pd.DataFrame, column: str) -> Interval | None:
    """Challenger over baseline, over the repeats that both completed; None if there is none."""
    values = of_size.pivot(index="run", columns="arm", values=column)
    if not {BASELINE, CHALLENGER} <= set(values):
        return None
    pairs = values[[CHALLENGER, BASELINE]].dropna()
    if pairs.empty or (pairs <= 0).any(axis=None):
        return None
    return ratio_interval(list(pairs[CHALLENGER]), list(pairs[BASELINE]))


def _percent_change(name: str, ratio: Interval | None, sign: int) -> dict[str, float]:
    """The change that a ratio stands for, in percent; a saving (sign −1) swaps the ends."""
    if ratio is None:
        return {f"{name}_percent": float("nan"), **_interval_columns(name, None, None)}
    low, high = (None if end is None else sign * (end - 1) * 100 for end in (ratio.low, ratio.high))
    if sign < 0:
        low, high = high, low
    return {f"{name}_percent": sign * (ratio.mean - 1) * 100, **_interval_columns(name, low, high)}


def _loss_difference(runs: Sequence[Run]) -> float | None:
    """Largest relative difference of the arms' losses, step by step at the same repeat."""
    losses = {
        (run.training_args.arm, run.training_args.run): run.history.set_index("step")["loss"]
        for run in runs
        if len(run.history)
    }
    differences = []
    for (arm, index), challenger in losses.items():
        baseline = losses.get((BASELINE, index))
        if arm != CHALLENGER or baseline is None:
            continue
        steps = challenger.index.intersection(baseline.index)
        differences.append(largest_relative_difference(challenger[steps], baseline[steps]))
    return max(differences, default=None)


def _first_and_later_overhead(
    runs: Sequence[Run], runs_table: pd.DataFrame
) -> tuple[float | None, float | None]:
    """The largest overhead of the runs that began a sitting, and of all others."""
    begins = pd.Series([begins_a_sitting(run) for run in runs])
    of_first, of_later = (
        runs_table["overhead_seconds"][which].dropna() for which in (begins, ~begins)
    )
    return (
        None if of_first.empty else float(of_first.max()),
        None if of_later.empty else float(of_later.max()),
    )


def _batch_size(run: Run) -> int:
    return run.training_args.per_device_train_batch_size
