"""How many GPUs the pods of a grid ask for, and how many conditions run at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from liger_benchmark.arguments import TrainingArguments

# GPUs that the conditions of a grid use at the same time on a cluster.
GPUS_AT_ONCE = 4


def most_gpus(grid: Sequence[TrainingArguments]) -> int:
    """The GPUs of the condition that uses most: every pod of the map task gets as many."""
    return max(arguments.n_gpus for arguments in grid)


def conditions_at_once(grid: Sequence[TrainingArguments]) -> int:
    """How many conditions run at the same time on a cluster."""
    return max(GPUS_AT_ONCE // most_gpus(grid), 1)
