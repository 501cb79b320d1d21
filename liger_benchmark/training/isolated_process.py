"""Run a function in a fresh process, with the heavy imports done once per grid.

Liger patches transformers' classes for the whole process, and the GPU's allocator keeps the memory
that it has reserved, so conditions in one process would influence each other. multiprocessing's
fork server imports torch, transformers and trl once, and forks a process for every condition. CUDA
must not be initialised before the fork: it cannot be used after one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liger_benchmark.training.environment import first_visible_device, visible_gpu
from liger_benchmark.training.environment_variables import variables_that_matter
from liger_benchmark.validation import one_line

# A socket's path may have 107 characters, unix(7). This is what multiprocessing's names leave.
MAX_TEMPORARY_FOLDER_LENGTH = 107 - len("/pymp-12345678/listener-12345678")
PROJECT = Path(__file__).parents[2]
PRELOAD = ["torch", "transformers.trainer", "trl.trainer.sft_trainer", "datasets"]


class ChildFailed(RuntimeError):
    """The child raised, crashed or was killed. The message is the child's traceback, if any.

    Attributes:
        error: the child's error as `type`, `message` and `traceback`.
        rows: the history rows of the steps that it finished.
    """

    rows: Sequence[dict[str, Any]] = ()

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(error["traceback"] or error["message"])
        self.error = error


def run_isolated(
    function: Callable[..., Any],
    *args: Any,
    on_message: Callable[[Any], None],
    devices: Sequence[str] | None = None,
    has_children: bool = False,
) -> tuple[Any, dict[str, float]]:
    """Call `function(send, *args)` in a fresh process and return its result.

    Args:
        function: must be importable by name. It may call `send(message)` at any time.
        on_message: called in this process with every message that was sent.
        devices: the GPUs that the process sees, by index or UUID; by default the first that this
            process sees.
        has_children: whether it may start processes. They have to end with it.

    Returns:
        The result, and the overhead in seconds: `process` from the request until the function
        began, `teardown` from its return until the process had ended.

    Raises:
        ChildFailed: if the child raised, or ended without a result.
        OSError: if TMPDIR is too long for a socket's path and /tmp cannot be used.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    devices = [first_visible_device()] if devices is None else devices
    process = context.Process(
        target=_child, args=(sender, devices, function, args), daemon=not has_children
    )
    requested_at = time.monotonic()
    with _starts_and_ends, _child_environment():
        _prepare_fork_server()
        _stop_outdated_fork_server()
        process.start()
    sender.close()
    try:
        with can_be_killed(process):
            received = _receive(receiver, on_message)
        with _starts_and_ends:
            process.join()
    except BaseException:
        # After an interrupt or an error in on_message the child must not keep the GPU.
        process.kill()
        process.join()
        raise
    finally:
        receiver.close()
    if "error" in received:
        raise ChildFailed(received["error"])
    if "result" not in received:
        raise ChildFailed(describe_exit(process.exitcode))
    seconds = {
        "process": received["started"] - requested_at,
        "teardown": time.monotonic() - received["finished"],
    }
    return received["result"], seconds


# What trains at present: several processes if conditions run at the same time.
_running: set[Any] = set()


@contextlib.contextmanager
def can_be_killed(process: Any) -> Iterator[None]:
    """Let `kill_running` end the process as long as the block lasts."""
    _running.add(process)
    try:
        yield
    finally:
        _running.discard(process)


def kill_running() -> None:
    """Kill every process that trains; whoever waits for one gets `ChildFailed`."""
    for process in list(_running):
        process.kill()


def _receive(receiver: Connection, on_message: Callable[[Any], None]) -> dict[str, Any]:
    """Read what the child sends until it closes the connection or dies.

    Returns:
        `result` or `error` if one arrived, and the monotonic times `started` and `finished`.
    """
    received: dict[str, Any] = {}
    while True:
        try:
            kind, payload = receiver.recv()
        except (EOFError, OSError):
            return received
        if kind == "message":
            on_message(payload)
        else:
            received[kind] = payload
        if kind in ("result", "error"):
            received["finished"] = time.monotonic()


def describe_error(error: BaseException) -> dict[str, str]:
    """An exception as plain values: `type`, `message` and `traceback`."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)).strip(),
    }


def error_of(error: BaseException) -> dict[str, str]:
    """Like `describe_error`, but of a `ChildFailed` the child's own error."""
    return error.error if isinstance(error, ChildFailed) else describe_error(error)


def summary(error: BaseException) -> str:
    """Type and message of an error, or of the child's own error, on one line."""
    described = error_of(error)
    return one_line(f"{described['type']}: {described['message']}", limit=None)


def _child(
    sender: Connection, devices: Sequence[str], function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    # The trainer would use all visible GPUs.
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    sender.send(("started", time.monotonic()))
    try:
        result = function(lambda message: sender.send(("message", message)), *args)
    except BaseException as error:
        sender.send(("error", error_of(error)))
    else:
        sender.send(("result", result))
    finally:
        sender.close()


def describe_exit(exit_code: int | None) -> dict[str, str]:
    """The error of a process that ended with this exit code and left no result."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        message = f"the process was killed by signal {-exit_code} ({name})"
        if name == "SIGKILL":
            message += "; the usual reason is that the machine ran out of memory"
    else:
        message = f"the process ended with exit code {exit_code} and left no result"
    return {"type": "ProcessDied", "message": message, "traceback": ""}


def environment_of_children() -> dict[str, str]:
    """The environment variables that every child inherits."""
    _prepare_fork_server()
    return dict(os.environ)


def _prepare_fork_server() -> None:
    """Set the environment that the fork server, and so every child, inherits."""
    # torch then asks NVML instead of CUDA for GPUs, and does not initialise CUDA before the fork.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    # By default CUDA numbers the GPUs in another order than NVML.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if visible_gpu() is None:
        # Without a GPU, Liger's kernels are interpreted. Triton reads this when it is imported.
        os.environ["TRITON_INTERPRET"] = "1"
    _shorten_socket_address()
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)


# What starts a child changes state of the whole process, and asks after all children: that would
# take the exit code from a thread that waits for one of them. A child that is waited for has
# closed its connection, so nobody waits long.
_starts_and_ends = threading.Lock()

# What the running fork server inherited; empty as long as none was started.
_inherited: dict[str, str | None] = {}


def _stop_outdated_fork_server() -> None:
    """Stop the fork server if a variable has changed since it started; the next call starts one.

    It keeps the environment in which it imported torch, and most variables are read only then. No
    other child may be running, since its exit code would be lost.
    """
    global _inherited
    by_name = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "TRITON_INTERPRET")}
    now = {**variables_that_matter(), **by_name}
    if _inherited and _inherited != now:
        # Private, but the same from Python 3.11 to 3.14; there is no public way.
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
    _inherited = now


def _shorten_socket_address() -> None:
    """Make multiprocessing put its sockets into /tmp if TMPDIR is too long for a socket's path.

    multiprocessing chooses its folder once per process, so `tempfile.tempdir` is restored.

    Raises:
        OSError: if /tmp cannot be used.
    """
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) <= MAX_TEMPORARY_FOLDER_LENGTH:
        return
    tempfile.tempdir = "/tmp"
    try:
        multiprocessing.util.get_temp_dir()
    except OSError as error:
        raise OSError(
            f"TMPDIR: {usual!r} is too long for a socket's address and /tmp cannot be used "
            f"({error.strerror}); set it to a folder of {MAX_TEMPORARY_FOLDER_LENGTH} characters "
            "at most"
        ) from None
    finally:
        tempfile.tempdir = usual


@contextlib.contextmanager
def _child_environment() -> Iterator[None]:
    """Replace the main module and the search path that multiprocessing passes on to a child.

    multiprocessing imports the parent's main script in every child. For `pyflyte` that takes a
    second per condition, and it is not needed. The child takes over the parent's `sys.path`, from
    which flytekit removes the project's folder after importing the workflow. The current folder
    comes last: a folder called `datasets` in it is not the library.
    """
    main, search_path = sys.modules["__main__"], sys.path
    sys.modules["__main__"] = types.ModuleType("__main__")
    here = [path for path in search_path if path in ("", os.getcwd())]
    sys.path = [*(path for path in search_path if path not in here), str(PROJECT), *here]
    # Python started with `-c`, as the fork server is, would import from the current folder first.
    safe_path = os.environ.setdefault("PYTHONSAFEPATH", "")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.modules["__main__"], sys.path = main, search_path
        os.environ["PYTHONSAFEPATH"] = safe_path  # empty is the same as unset
