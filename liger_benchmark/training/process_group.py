"""A function in several ranks of one process group on this host, started by torch's launcher.

The isolated process of a condition becomes the agent: it starts the ranks through
`torch.distributed.launcher`, as `torchrun` does, and passes on what they send. A rank is forked
from the agent, which has imported torch, transformers and trl and has not touched a GPU, so that no
rank imports anything again. Each rank gets `RANK`, `WORLD_SIZE` and the like in its environment and
the address of a store that the agent has opened on a free port.

The first rank that raises, dies or hangs ends the group: the launcher stops the others, and the
error is that rank's own. A rank also dies with its agent, however that ends.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liger_benchmark.training.group_watch import Rank, Watch
from liger_benchmark.training.isolated_process import (
    ChildFailed,
    describe_error,
    describe_exit,
)
from liger_benchmark.training.ranks import in_group, name_rank

Send = Callable[[Any], None]
# The key of a message that only says how far a rank has come.
MARK = "mark"
# Seconds without a word from any rank after which the group has hung. A rank says something when a
# phase or a step begins or ends.
HANG_SECONDS = 600.0
# A rank that failed stays for this long. What other ranks raise because it is gone comes later than
# the launcher's look at the ranks, every 0.1 s, which takes the first that has ended for the cause.
LINGER_SECONDS = 0.5
# What a rank leaves running ends by this signal, or is killed after so many seconds.
SHUTDOWN_SECONDS = 5
_PR_SET_PDEATHSIG = 1  # prctl(2)


def says(send: Send, mark: str) -> None:
    """In a rank, send a sign of life; elsewhere do nothing."""
    if in_group():
        send({MARK: mark})


class GroupEnds(Exception):
    """Raised in a rank to end the whole group with a result, such as a GPU without memory left."""

    def __init__(self, result: Any) -> None:
        super().__init__(result)
        self.result = result


def run_group(
    function: Callable[..., Any],
    n_ranks: int,
    *args: Any,
    on_message: Callable[[int, Any], None] = lambda rank, message: None,
    hang_seconds: float = HANG_SECONDS,
) -> list[Any]:
    """Call `function(send, *args)` in every rank of a group, and return what the ranks returned.

    Must be called in the main thread of a process that may have children and has not used CUDA.

    Args:
        on_message: called with a rank and what it sent, in a thread of this process.
        hang_seconds: without any message for so long, the group has hung.

    Returns:
        The results by rank. If a rank raised `GroupEnds`, a list with that result alone.

    Raises:
        ChildFailed: with the error of the rank that raised, died or hung first.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    with tempfile.TemporaryDirectory(prefix="liger-benchmark-group-") as folder:
        pipes = [Pipe(duplex=False) for _ in range(n_ranks)]
        begun = time.monotonic()
        ranks = [Rank(receiver, begun) for receiver, _ in pipes]
        watch = Watch(ranks, on_message, hang_seconds, Path(folder))
        senders = [sender for _, sender in pipes]
        config = _launch_config(n_ranks, folder)
        # It prints the failure of a rank, which is reported in full elsewhere.
        logging.disable(logging.CRITICAL)
        failed_rank, exit_code = None, None
        watch.start()
        try:
            elastic_launch(config, _rank_main)(senders, function, args, folder, os.getpid())
        except ChildFailedError as error:
            failed_rank, failure = error.get_first_failure()
            exit_code = failure.exitcode
        finally:
            logging.disable(logging.NOTSET)
            for sender in senders:
                sender.close()
            watch.stop()
    return _outcome(watch, failed_rank, exit_code)


def _outcome(watch: Watch, failed_rank: int | None, exit_code: int | None) -> list[Any]:
    ranks, n_ranks = watch.ranks, len(watch.ranks)
    if watch.error is not None:
        raise watch.error
    if watch.hung is not None:
        raise ChildFailed(watch.hung)
    if failed_rank is None:
        return [rank.received["result"] for rank in ranks]
    received = ranks[failed_rank].received
    if "ended" in received:
        return [received["ended"]]
    error = received.get("error") or describe_exit(exit_code)
    message = f"rank {failed_rank} of {n_ranks}: {error['message']}"
    raise ChildFailed({**error, "message": message})


def _launch_config(n_ranks: int, folder: str) -> Any:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_ranks,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        # Port 0 is any that is free.
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        start_method="fork",
        logs_specs=DefaultLogsSpecs(log_dir=folder),
    )
    # A run on one GPU is not bound to the processor next to it either.
    config.numa_options = None
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SHUTDOWN_SECONDS)
    return config


def _rank_main(
    senders: Sequence[Connection],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    folder: str,
    agent: int,
) -> None:
    """What a rank runs. It leaves with exit code 1 after an error."""
    rank = int(os.environ["RANK"])
    name_rank(rank, len(senders))
    sender = senders[rank]
    _die_with(agent)
    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        # The launcher's handlers wait for Python, which a rank in a collective never comes back to.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent is interrupted, too
    logging.disable(logging.NOTSET)
    stacks = open(Path(folder, f"stack-{rank}"), "w", encoding="utf-8")  # noqa: SIM115
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=False)
    sender.send(("pid", os.getpid()))
    try:
        result = function(lambda message: sender.send(("message", message)), *args)
    except GroupEnds as end:
        sender.send(("ended", end.result))
    except BaseException as error:
        sender.send(("error", describe_error(error)))
    else:
        sender.send(("result", result))
        return
    time.sleep(LINGER_SECONDS)
    sys.stdout.flush()
    os._exit(1)


def _die_with(agent: int) -> None:
    """Have the kernel kill this process when the agent ends, prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent:
        os._exit(1)
