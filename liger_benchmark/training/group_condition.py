"""A condition on several GPUs: trained in every rank of a group, and recorded as one run.

`train_group` runs in the isolated process of a condition, the agent of the group, and `train_rank`
in every rank. The record is rank 0's, with what all ranks measured in its part `group`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import process_group, ranks, sharding
from liger_benchmark.training.ending import FINISHED
from liger_benchmark.training.group_measurement import GroupRows, group_record
from liger_benchmark.training.process_group import MARK, GroupEnds, run_group

Send = Callable[[dict[str, Any]], None]
# `condition.train`, which is handed in since that module imports this one.
Train = Callable[..., dict[str, Any]]


def train_group(
    send: Send,
    train: Train,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
    hang_seconds: float = process_group.HANG_SECONDS,
) -> dict[str, Any]:
    """Train one condition in a group of `n_gpus` ranks, and return its record.

    Args:
        send: called with the group's history row of each step, and with its record when all ranks
            have finished their last step, see `ending`.

    Raises:
        ChildFailed: with the error of the rank that failed first.
    """
    rows = GroupRows(arguments.n_gpus)
    finished: dict[int, dict[str, Any]] = {}

    def on_message(rank: int, message: dict[str, Any]) -> None:
        if FINISHED in message:
            finished[rank] = message[FINISHED]
            if len(finished) == arguments.n_gpus:
                of_ranks = [finished[i] for i in range(arguments.n_gpus)]
                send({FINISHED: group_record(of_ranks, rows)})
        elif MARK not in message:
            for row in rows.add(rank, message):
                send(row)

    records = run_group(
        train_rank,
        arguments.n_gpus,
        train,
        arguments,
        dataset_folder,
        model_folder,
        output_folder,
        on_message=on_message,
        hang_seconds=hang_seconds,
    )
    return group_record(records, rows)


def train_rank(
    send: Send,
    train: Train,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
) -> dict[str, Any]:
    """Train in one rank, and return its record.

    Raises:
        GroupEnds: with the record, if the GPU ran out of memory: the other ranks would wait.
    """
    import transformers

    class SignsOfLife(transformers.TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Send a sign of life."""
            process_group.says(send, f"step {state.global_step + 1}")

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Send a sign of life."""
            process_group.says(send, f"optimizer of step {state.global_step + 1}")

    record = train(
        send, arguments, dataset_folder, model_folder, output_folder, callbacks=[SignsOfLife()]
    )
    if "out_of_memory" in record:
        raise GroupEnds(record | {"rank": ranks.rank()})
    sharding.end()
    return record
