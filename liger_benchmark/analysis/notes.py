"""What a grid says besides its comparison: TRL's default, compiling's price, Liger's chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from liger_benchmark.analysis.comparison import paired_ratio
from liger_benchmark.analysis.headline_words import change
from liger_benchmark.analysis.intervals import interval_columns
from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.columns import AVG_TOKENS_PER_SECOND
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.wording import number, plural

# TRL's default as an arm: its own head, all else as in vanilla.
TRL = "TRL"
# Chunks of Liger's fused loss from which on a reader is told: each is a small matrix product.
MANY_CHUNKS = 32
_NOT_COMPILING = ("process", "imports", "steps")


def against_trl(grid: MeasuredGrid, fastest: str, size: int) -> str:
    """A sentence on the fastest arm beside TRL's default, with its interval; empty if not both ran.

    Args:
        fastest, size: the arm and the batch size that the headline is about.
    """
    if TRL not in grid.arms or TRL in (fastest, grid.baseline):
        return ""
    of_size = grid.runs_table[
        (grid.runs_table[BATCH_SIZE] == size) & (grid.runs_table["invalid"] == "")
    ]
    ratio = paired_ratio(of_size, AVG_TOKENS_PER_SECOND, fastest, TRL)
    if ratio is None:
        return ""
    low, high = (None if end is None else (end - 1) * 100 for end in (ratio.low, ratio.high))
    row = {"speedup_percent": (ratio.mean - 1) * 100, **interval_columns("speedup", low, high)}
    return f" Against TRL's default, {fastest} is {change(row)}."


def break_even_of_compiling(grid: MeasuredGrid) -> list[str]:
    """For each arm that compiles and its twin that does not: the steps until compiling has paid.

    The cost is what the run took outside its measured steps beyond its twin, in the repeat that
    took longest (later ones find compiled kernels on disk); the gain is that of a mean step.
    """
    invalid = grid.cells[grid.cells["invalid"] != ""]
    left_out = {*zip(invalid["arm"], invalid[BATCH_SIZE], strict=True)}
    runs = [
        run
        for run in grid.runs
        if run.outcome == COMPLETED
        and run.record.get("phases")
        and (run.training_args.arm, getattr(run.training_args, BATCH_SIZE)) not in left_out
    ]
    sentences = []
    for arm, size, compiled, plain in _twins(runs):
        costs = [_outside_steps(run) - min(map(_outside_steps, plain)) for run in compiled]
        gain = _mean_step(plain) - _mean_step(compiled)
        if not math.isfinite(gain):
            continue
        again = f", {number(max(min(costs), 0.0))} s once it is cached" if len(costs) > 1 else ""
        text = f"{arm} at batch size {size}: compiling takes {number(max(costs))} s{again}"
        if gain <= 0:
            sentences.append(f"{text}, and its steps are no faster for it.")
            continue
        steps = math.ceil(round(max(*costs, 0.0) / gain, 3))
        sentences.append(
            f"{text}, and a step is {number(gain * 1000)} ms shorter: it pays after "
            f"{plural(steps, 'step')}."
        )
    return sentences


def many_chunks(grid: MeasuredGrid) -> list[str]:
    """For each arm whose fused loss of Liger works in many chunks: how many, and what to set."""
    told: dict[str, str] = {}
    for run in grid.runs:
        chunks = run.record.get("head", {}).get("chunks", 0)
        if chunks >= MANY_CHUNKS:
            told[run.training_args.arm] = (
                f"Liger's fused loss, in the arm {run.training_args.arm}, cuts a batch into up to "
                f"{number(chunks)} chunks, since the vocabulary is large beside the hidden size. "
                f"A larger liger_chunk_mem_const makes them fewer, for more memory."
            )
    return list(told.values())


def _twins(runs: Sequence[Run]) -> Iterator[tuple[str, int, list[Run], list[Run]]]:
    """The runs of each arm that compiles, and those of the arm that differs in this alone."""
    cells: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        args = run.training_args
        cells.setdefault((args.arm, args.per_device_train_batch_size), []).append(run)
    for (arm, size), compiled in cells.items():
        args = compiled[0].training_args
        for (_, other_size), plain in cells.items():
            twin = plain[0].training_args
            if args.torch_compile and size == other_size and _is_twin(twin, args):
                yield arm, size, compiled, plain


def _is_twin(twin: TrainingArguments, args: TrainingArguments) -> bool:
    without = ("torch_compile", "torch_compile_mode", "arm_name", "run")
    same = all(v == vars(twin)[k] for k, v in vars(args).items() if k not in without)
    return same and not twin.torch_compile


def _outside_steps(run: Run) -> float:
    """The seconds of a run outside its measured steps, without start and imports."""
    return sum(s for name, s in run.record["phases"].items() if name not in _NOT_COMPILING)


def _mean_step(runs: Sequence[Run]) -> float:
    """The mean seconds of the measured steps; NaN if there are none."""
    measured = [run.history[~run.history["is_warmup"].astype(bool)] for run in runs]
    seconds = [float(value) for steps in measured for value in steps["step_seconds"]]
    return sum(seconds) / len(seconds) if seconds else math.nan
