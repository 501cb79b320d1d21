"""Which rank of a process group this process is, told by the environment that it was started with.

`process_group` sets it. Without it a process is a run on one GPU and belongs to no group.
"""

from __future__ import annotations

import os

RANK_VARIABLE = "LIGER_BENCHMARK_RANK"


def name_rank(rank: int, n_ranks: int) -> None:
    """Make this process the given rank of so many."""
    os.environ[RANK_VARIABLE] = f"{rank}/{n_ranks}"


def in_group() -> bool:
    """Whether this process is a rank of a group, which may have one rank only."""
    return RANK_VARIABLE in os.environ


def rank() -> int:
    """This process's rank, from 0; 0 outside of a group."""
    return int(os.environ.get(RANK_VARIABLE, "0/1").split("/")[0])


def n_ranks() -> int:
    """How many ranks the group has; 1 outside of a group."""
    return int(os.environ.get(RANK_VARIABLE, "0/1").split("/")[1])
