"""From runs to tables, intervals and a verdict: every number that the report shows.

Only completed runs enter a mean. Running out of memory is a measurement and is reported as one; a
failed run is an accident and is reported as that. Nothing is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from liger_benchmark.analysis.arms import UnknownBaseline, arms_in, baseline_first, choose_baseline
from liger_benchmark.analysis.caveats import find_warnings, sizes_that_barely_fit
from liger_benchmark.analysis.claims import Claim, judge_claims, overall_verdict
from liger_benchmark.analysis.comparison import compare, interval_columns
from liger_benchmark.analysis.hardware import Hardware, hardware_of
from liger_benchmark.analysis.headline import headline
from liger_benchmark.analysis.intervals import Interval, mean_interval
from liger_benchmark.analysis.result_folders import NotOneExperiment, read_experiment
from liger_benchmark.arguments import BATCH_SIZE, LIGER, VANILLA
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run
from liger_benchmark.wording import gibibytes, model_title

__all__ = ["Analysis", "NotOneExperiment", "UnknownBaseline", "analyse", "read_experiment"]

GPU_MEMORY = "total_peak_memory_reserved_MB"
CPU_MEMORY = "total_peak_resident_set_MB"


@dataclass
class Analysis:
    """A grid, analysed.

    Attributes:
        runs: the runs, as given.
        baseline: the arm that the others are compared with.
        arms: all arms in the order in which they are shown, the baseline first.
        runs_table: one row a run, failed ones too: `condition`, `arm`, batch size, `run`,
            `outcome`, `reason`, `n_steps`, `avg_tokens_per_second`, the peak memory in MB (2**20
            bytes) under `memory_column`, `final_loss`, `mfu` (a fraction),
            `energy_J_per_token`, `overhead_seconds`, `wandb_url`. Measurements are NaN unless the
            run completed and took them.
        cells: one row for each arm and batch size: counts by outcome, and the mean of tokens per
            second and of peak memory with the ends of their 95 % intervals (`_low`, `_high`;
            NaN with one repeat), and the means of `mfu` and `energy_J_per_token`.
        comparison: one row for each batch size and each arm but the baseline: `n_pairs`, speed-up
            and memory saving against the baseline in percent with their 95 % intervals, whether
            the two compute the same (`same_maths`) and, if so, the largest relative
            `loss_difference` and whether it is above its bound.
        published: the rows that the blog's claims are about, Liger against vanilla, whatever the
            baseline is; without rows unless the grid has both.
        claims, verdict: see `claims`.
        headline: the result in plain words.
        warnings: what a critical reader has to know, a sentence each.
        memory_column: `total_peak_memory_reserved_MB`, or `total_peak_resident_set_MB` on a CPU.
        first_overhead_seconds: the largest overhead of a run that began a sitting and so waited
            for the imports; None if there is none.
        later_overhead_seconds: the largest overhead of any other run; None if there is none.
    """

    runs: list[Run]
    baseline: str
    arms: list[str]
    runs_table: pd.DataFrame
    cells: pd.DataFrame
    comparison: pd.DataFrame
    published: pd.DataFrame
    claims: list[Claim]
    verdict: str
    headline: str
    warnings: list[str]
    hardware: Hardware
    model: str
    memory_column: str
    first_overhead_seconds: float | None
    later_overhead_seconds: float | None


def analyse(runs: list[Run], baseline: str | None = None) -> Analysis:
    """Analyse the runs of one experiment.

    Args:
        baseline: the arm to compare the others with; by default vanilla if there is one, else the
            first.

    Raises:
        UnknownBaseline: if no arm is called `baseline`; a ValueError of one line.
        ValueError: if there is no run.
    """
    if not runs:
        raise ValueError("there is no run to analyse")
    baseline = choose_baseline(arms_in(runs), baseline)
    arms = baseline_first(arms_in(runs), baseline)
    hardware = hardware_of(runs)
    on_cpu = any(CPU_MEMORY in run.history for run in runs)
    memory_column = CPU_MEMORY if on_cpu else GPU_MEMORY
    runs_table = pd.DataFrame([_row(run, hardware, memory_column) for run in runs])
    cells = _cells(runs_table, memory_column, arms)
    comparison = compare(runs, runs_table, memory_column, baseline, arms[1:])
    blogs = [LIGER] if {VANILLA, LIGER} <= set(arms) else []
    published = compare(runs, runs_table, memory_column, VANILLA, blogs)
    model = model_title(runs[0].training_args.short_model_name)
    first, later = _first_and_later_overhead(runs, runs_table)
    claims = judge_claims(cells, published, hardware.trial)
    return Analysis(
        runs=runs,
        baseline=baseline,
        arms=arms,
        runs_table=runs_table,
        cells=cells,
        comparison=comparison,
        published=published,
        claims=claims,
        verdict=overall_verdict(claims),
        headline=headline(
            model, arms, runs_table, cells, comparison, hardware.trial, sizes_that_barely_fit(runs)
        ),
        warnings=find_warnings(runs, arms, cells, comparison, hardware),
        hardware=hardware,
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


def _row(run: Run, hardware: Hardware, memory_column: str) -> dict[str, Any]:
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
        "mfu": _mfu(run, tokens_per_second, hardware),
        "energy_J_per_token": float(last.get("avg_energy_J_per_token", float("nan"))),
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


def _mfu(run: Run, tokens_per_second: float, hardware: Hardware) -> float:
    """Model FLOPs utilisation, a fraction: 6 · parameters · tokens/s over the dense bf16 peak.

    Source: Chowdhery et al., "PaLM" (2022), appendix B, without the attention term. NaN where the
    peak or the number of parameters is not known, or the run was not in bf16.
    """
    n_parameters = run.record.get("weights", {}).get("n_parameters")
    if not n_parameters or hardware.peak_tflops is None or not run.training_args.bf16:
        return float("nan")
    return float(6 * n_parameters * tokens_per_second / (hardware.peak_tflops * 1e12))


def _cells(runs_table: pd.DataFrame, memory_column: str, arms: Sequence[str]) -> pd.DataFrame:
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
                "energy_J_per_token": of_cell["energy_J_per_token"].mean(),
            }
        )
    rows.sort(key=lambda row: (row[BATCH_SIZE], arms.index(row["arm"])))
    return pd.DataFrame(rows)


def _ends(name: str, values: pd.Series) -> dict[str, float | None]:
    values = values.dropna()
    interval = mean_interval(list(values)) if len(values) else Interval(float("nan"), None, None, 0)
    return {name: interval.mean, **interval_columns(name, interval.low, interval.high)}


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
