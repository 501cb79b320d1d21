"""Run a function in a fresh process, and pay for the heavy imports once a grid.

Liger patches transformers' classes for the whole process, and the GPU's allocator keeps what it
once reserved: two conditions in one process would measure each other. multiprocessing's fork
server imports torch, transformers and trl once; every condition is then a fork of it, fresh and
ready within milliseconds. Nothing may touch CUDA before the fork, or CUDA fails after it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liger_benchmark.training.environment import first_visible_device, visible_gpu

# The longest address of a socket in the file system, unix(7), less the name that multiprocessing
# gives its own in the temporary folder.
LONGEST_TEMPORARY_FOLDER = 107 - len("/pymp-12345678/listener-12345678")
PRELOAD = ["torch", "transformers.trainer", "trl.trainer.sft_trainer", "datasets"]


class ChildFailed(RuntimeError):
    """The child raised, crashed or was killed. The message holds the child's own traceback.

    Attributes:
        error: `type`, `message` and `traceback` of what happened, for the record.
        rows: the history of the steps that it had finished.
    """

    rows: Sequence[dict[str, Any]] = ()

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(error["traceback"] or error["message"])
        self.error = error


def run_isolated(
    function: Callable[..., Any],
    *args: Any,
    on_message: Callable[[Any], None],
) -> tuple[Any, dict[str, float]]:
    """Call `function(send, *args)` in a fresh process and return its result.

    `function` has to be importable by name. It may call `send(message)` at any time;
    `on_message` then gets the message in this process.

    Returns:
        The result, and the seconds that the process cost: `process` from the request until the
        function began, `teardown` from its return until the process was gone.

    Raises:
        ChildFailed: if the child raised, or ended without a result.
    """
    _prepare_fork_server()
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, args), daemon=True)
    requested_at = time.monotonic()
    with _as_the_child_needs_it():
        process.start()
    sender.close()
    outcome: tuple[str, Any] | None = None
    started_at = finished_at = requested_at
    try:
        while True:
            try:
                kind, payload = receiver.recv()
            except (EOFError, OSError):
                break
            if kind == "message":
                on_message(payload)
            elif kind == "started":
                started_at = payload
            else:
                outcome, finished_at = (kind, payload), time.monotonic()
        process.join()
    except BaseException:
        # The reader is interrupted or failed: a condition nobody listens to must not hold the GPU.
        process.kill()
        process.join()
        raise
    finally:
        receiver.close()
    if outcome is None:
        raise ChildFailed(_died(process.exitcode))
    kind, payload = outcome
    if kind == "error":
        raise ChildFailed(payload)
    seconds = {
        "process": started_at - requested_at,
        "teardown": time.monotonic() - finished_at,
    }
    return payload, seconds


def describe_error(error: BaseException) -> dict[str, str]:
    """An exception as it is sent to the parent and kept in a record."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)).strip(),
    }


def error_of(error: BaseException) -> dict[str, str]:
    """What happened, for the record: in the child if the error came from one."""
    return error.error if isinstance(error, ChildFailed) else describe_error(error)


def summary(error: BaseException) -> str:
    """What happened, in one line."""
    described = error_of(error)
    return " ".join(f"{described['type']}: {described['message']}".split())


def _child(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    sender.send(("started", time.monotonic()))
    try:
        result = function(lambda message: sender.send(("message", message)), *args)
    except BaseException as error:
        sender.send(("error", describe_error(error)))
    else:
        sender.send(("result", result))
    finally:
        sender.close()


def _died(exit_code: int | None) -> dict[str, str]:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        message = f"the process was killed by signal {-exit_code} ({name})"
        if name == "SIGKILL":
            message += "; the usual reason is that the machine ran out of memory"
    else:
        message = f"the process ended with exit code {exit_code} and left no result"
    return {"type": "ProcessDied", "message": message, "traceback": ""}


def _prepare_fork_server() -> None:
    # Asks the driver's management library instead of CUDA whether there is a GPU: a CUDA that was
    # initialised before the fork does not work after it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    # One GPU, and the one that NVML is asked about: the trainer would spread a batch over all that
    # it sees, and CUDA would count them in another order.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = first_visible_device()
    if visible_gpu() is None:
        # Without a GPU, Liger's kernels are interpreted; triton reads this when it is imported.
        os.environ["TRITON_INTERPRET"] = "1"
    _shorten_socket_address()
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)


def _shorten_socket_address() -> None:
    """Let multiprocessing put its sockets into /tmp if TMPDIR is too long for a socket's address.

    It asks for its folder once, and keeps it.
    """
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) <= LONGEST_TEMPORARY_FOLDER:
        return
    tempfile.tempdir = "/tmp"
    try:
        multiprocessing.util.get_temp_dir()
    except OSError as error:
        raise OSError(
            f"TMPDIR: {usual!r} is too long for a socket's address and /tmp cannot be used "
            f"({error.strerror}); set it to a folder of {LONGEST_TEMPORARY_FOLDER} characters "
            "at most"
        ) from None
    finally:
        tempfile.tempdir = usual


@contextlib.contextmanager
def _as_the_child_needs_it() -> Iterator[None]:
    """What multiprocessing hands to a child, put right while it does.

    It would run the parent's main script again in every child: `pyflyte` or a user's own, a second
    of imports a condition and no part of it. And it hands on the module search path, from which
    flytekit has taken the project again once the workflow was imported.
    """
    main, search_path = sys.modules["__main__"], sys.path
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.path = [*search_path, str(Path(__file__).parent.parent)]
    try:
        yield
    finally:
        sys.modules["__main__"], sys.path = main, search_path
