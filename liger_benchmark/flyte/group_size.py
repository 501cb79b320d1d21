"""How many GPUs the pods of a grid ask for, and how many conditions run at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.grid import most_gpus

# GPUs that the conditions of a grid use at the same time on a cluster.
GPUS_AT_ONCE = 4


def conditions_at_once(grid: Sequence[TrainingArguments]) -> int:
    """How many conditions run at the same time on a cluster."""
    return max(GPUS_AT_ONCE // most_gpus(grid), 1)
