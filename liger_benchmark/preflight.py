"""What can be told of an experiment before anything is downloaded, submitted or started.

A run that is bound to fail, for want of a GPU or because a library refuses it, is refused in the
moment the command is typed, and not after hours of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.checks import InvalidInput
from liger_benchmark.estimate import config_at_hand
from liger_benchmark.liger_on_cpu import check_without_gpu
from liger_benchmark.liger_support import liger_switches
from liger_benchmark.sources import origin_of


def check_experiment(
    grid: Sequence[TrainingArguments], *, on_cluster: bool, gpu: str | None
) -> None:
    """Refuse a grid with a run in it that cannot succeed where it is to be run.

    Args:
        gpu: the GPU of this machine; None if it has none. Of no matter on a cluster.

    Raises:
        InvalidInput: naming the key of the first setting that cannot be had.
    """
    names = {"model": grid[0].model_name, "dataset": grid[0].dataset_name}
    for kind, name in names.items():
        if origin_of(name, kind) == "folder" and on_cluster:  # type: ignore[arg-type]
            raise InvalidInput(
                f"training_args.{kind}_name: {name!r} is a folder on this machine, where a cluster "
                "cannot read it; give a Hub id or builtin:NAME"
            )
    config = config_at_hand(grid[0].model_name)
    if config is not None:
        check_kernels(grid, config)
    if not on_cluster and gpu is None:
        for arguments in grid:
            check_without_gpu(arguments)


def check_kernels(grid: Sequence[TrainingArguments], config: Mapping[str, Any]) -> None:
    """Refuse a model, by its `config.json`, that Liger lacks a kernel for that the grid asks for.

    Raises:
        InvalidInput: naming what Liger has kernels for.
    """
    model_type = config.get("model_type")
    if model_type is None:
        return  # transformers' to judge
    for arguments in grid:
        if arguments.use_liger:
            liger_switches(model_type, arguments.liger_kernels)
