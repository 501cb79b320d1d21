"""Runs of a grid on this machine are held against each other as soon as there are two.

What the analysis would say at the end is said when it is known: after the second run of a batch
size rather than after all of them. Other rows mean that nothing of the grid can be compared, and
stop it; any other disagreement costs a cell, and the grid goes on.
"""

from __future__ import annotations

from liger_benchmark import store
from liger_benchmark.analysis.arms import arguments_by_arm, choose_baseline
from liger_benchmark.analysis.validity import Doubt, find_doubts
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import local_run
from liger_benchmark.flyte.local_run import GridRun
from liger_benchmark.run import FAILED, Run


class ExperimentStopped(RuntimeError):
    """The grid was stopped before this condition. The message is one line."""


def compare_with_others(grid: GridRun, run: Run) -> bool:
    """Say what makes the cell of a run invalid that has just ended, and stop the grid if need be.

    Args:
        grid: `run` is among those of it that have ended.

    Returns:
        Whether it was stopped now.
    """
    if not grid.grid or grid.stopped or run.outcome == FAILED:
        return False
    size = run.training_args.per_device_train_batch_size
    of_size = [r for r in grid.ended if r.training_args.per_device_train_batch_size == size]
    # Of the whole grid, whose baseline may not have been run yet.
    planned = {arguments.arm: arguments for arguments in grid.grid}
    baseline = choose_baseline(planned | arguments_by_arm(of_size))
    said_before = {id(doubt.run) for doubt in find_doubts(_without(of_size, run), baseline)}
    for doubt in find_doubts(of_size, baseline):
        if id(doubt.run) in said_before:
            continue
        if _stops(doubt):
            grid.stopped = f"{_in_words(doubt)}: no run of this grid can be compared with another"
            grid.progress.note(
                f"stopped: {grid.stopped}. Finished runs are kept. What varies from process to "
                "process (the tokenizer, the chat template) has to be fixed; then start with "
                "--overwrite-cache"
            )
            return True
        grid.progress.note(f"warning: {_in_words(doubt)}: {_cell(doubt)} is invalid")
    return False


def refuse_if_stopped(grid: GridRun, arguments: TrainingArguments) -> None:
    """Keep that a condition was not run, if the grid was stopped before it.

    Raises:
        ExperimentStopped: with the reason.
    """
    if not grid.stopped:
        return
    error = ExperimentStopped(f"not run, since the grid was stopped: {grid.stopped}")
    store.keep_failure(local_run.BUILD, arguments, error, {})
    raise error


def _stops(doubt: Doubt) -> bool:
    """Whether no two runs of the grid can be compared.

    Another environment's tokenizer may make other rows, which is that arm's own fault.
    """
    return (
        doubt.of_rows
        and doubt.reference is not None
        and doubt.reference.training_args.environment == doubt.run.training_args.environment
    )


def _in_words(doubt: Doubt) -> str:
    """Which two runs, and what differs."""
    run = doubt.run.training_args.condition
    if doubt.reference is None:
        return f"{run}: {doubt.reason}"
    return f"{run}, beside {doubt.reference.training_args.condition}: {doubt.reason}"


def _cell(doubt: Doubt) -> str:
    args = doubt.run.training_args
    return f"{args.arm} at batch size {args.per_device_train_batch_size}"


def _without(runs: list[Run], run: Run) -> list[Run]:
    return [other for other in runs if other is not run]
