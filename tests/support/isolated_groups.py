"""Functions that tests run in the ranks of a group, and in the process that starts them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from liger_benchmark.training import condition, group_condition, process_group, ranks, trainer

Send = Callable[[Any], None]


def group(send: Send, function: Callable[..., Any], n_ranks: int, *args: Any) -> list[Any]:
    """Run `function` in a group. What a rank sends arrives as a pair: the rank, the message."""
    return process_group.run_group(
        function,
        n_ranks,
        *args,
        on_message=lambda rank, message: send((rank, message)),
        # Long enough for a rank on a busy machine to say something.
        hang_seconds=10.0 if "hangs" in args else 120.0,
    )


def join() -> int:
    """Join the group, and return this process's rank."""
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    return torch.distributed.get_rank()


def add_ranks(send: Send, start: int) -> tuple[int, float]:
    import torch

    rank = join()
    send(f"rank {rank}")
    total = torch.tensor(float(start + rank))
    torch.distributed.all_reduce(total)
    return ranks.rank(), float(total)


def fail_in_rank_1(send: Send, how: str) -> None:
    """Rank 1 goes in one of several ways, while rank 0 waits for it in a collective."""
    import torch

    send(os.getpid())
    rank = join()
    if rank == 1:
        if how == "raises":
            raise ValueError("no luck")
        if how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "leaves":
            os._exit(7)
        if how == "hangs":
            wait_for_ever()
        if how == "runs out of memory":
            raise process_group.GroupEnds({"out_of_memory": {"step": 1}})
    send("waits")
    torch.distributed.all_reduce(torch.ones(1))


def wait_for_ever() -> None:
    time.sleep(600)


def sleep_in_all_ranks(send: Send) -> None:
    send(os.getpid())
    time.sleep(600)


def train_with_memory_short_in_rank_1(send: Send, *args: Any) -> dict[str, Any]:
    """Train in a group in which rank 1's second step finds no memory."""
    return group_condition.train_group(send, _short_of_memory, *args)


def _short_of_memory(*args: Any, **kwargs: Any) -> dict[str, Any]:
    import torch
    import trl

    original = trl.SFTTrainer.training_step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if ranks.rank() == 1 and self.state.global_step == 1:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of …"
            )
        return original(self, *args, **kwargs)

    trl.SFTTrainer.training_step = step  # type: ignore[method-assign]
    return condition.train(*args, **kwargs)


def train_with_an_evaluation_that_fails(send: Send, *args: Any) -> dict[str, Any]:
    """Train in a group whose rank 1 cannot evaluate after the last step, while rank 0 waits."""
    return group_condition.train_group(send, _evaluating_in_rank_0, *args)


def _evaluating_in_rank_0(*args: Any, **kwargs: Any) -> dict[str, Any]:
    import torch
    import trl

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> Any:
        if ranks.rank() == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. …")
        torch.distributed.all_reduce(torch.ones(1))

    trl.SFTTrainer.evaluate = evaluate  # type: ignore[method-assign]
    return condition.train(*args, **kwargs)


def train_with_weights_on_the_host(send: Send, *args: Any) -> dict[str, Any]:
    """Train in a group whose rank 0 alone has all weights."""
    return group_condition.train_group(send, _on_the_host, *args)


def _on_the_host(*args: Any, **kwargs: Any) -> dict[str, Any]:
    place = ("cpu" if ranks.rank() == 0 else "meta", True)
    condition.where_to_make_it = lambda *_: place
    return condition.train(*args, **kwargs)


def train_with_a_rehearsal(send: Send, *args: Any) -> dict[str, Any]:
    """Train in a group that rehearses its first step, as on a GPU."""
    return group_condition.train_group(send, _rehearsing, *args)


def _rehearsing(*args: Any, **kwargs: Any) -> dict[str, Any]:
    import torch

    original = trainer._Measured.training_step

    def step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 0 and not self.observed.gradients:
            with self.callback.paused("rehearsal"):
                self.rehearse(model, inputs, *args, **kwargs)
        return original(self, model, inputs, *args, **kwargs)

    trainer._Measured.training_step = step  # type: ignore[method-assign]
    torch.cuda.empty_cache = lambda: None
    return condition.train(*args, **kwargs)
