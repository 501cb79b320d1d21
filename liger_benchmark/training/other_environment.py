"""Run a condition with the libraries of another environment, in a process of its interpreter.

What crosses is plain data, as JSON: the arguments and folders to the process, rows and the record
back. The code is this project's own; it needs Python 3.11 and transformers 4.56 or later, with trl,
datasets, pandas and the other packages that training imports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.files import lock
from liger_benchmark.folders import BUILD
from liger_benchmark.training.isolated_process import (
    PROJECT,
    ChildFailed,
    can_be_killed,
    describe_error,
    describe_exit,
    environment_of_children,
)
from liger_benchmark.validation import InvalidInput, one_line

_KEY = "training_args.environments"
# Asks an interpreter for its version and the packages that it finds.
_PACKAGES = (
    "import importlib.metadata as m, platform; print(platform.python_version(), "
    "*sorted({f'{d.name}={d.version}' for d in m.distributions()}))"
)


def check_environment(arguments: TrainingArguments) -> None:
    """Refuse an environment whose interpreter or requirements file is missing.

    Raises:
        InvalidInput: naming the environment.
    """
    if arguments.environment:
        _located(arguments)


def environment_key(arguments: TrainingArguments) -> str:
    """What a run's key holds of its environment: a hash of its packages; empty if it is this one.

    Raises:
        InvalidInput: as `check_environment`.
    """
    if not arguments.environment:
        return ""
    path = _located(arguments)
    content = path.read_text(encoding="utf-8") if _is_list(path) else _packages_of(path)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def run_elsewhere(
    function: Callable[..., dict[str, Any]],
    arguments: TrainingArguments,
    *folders: Path,
    on_message: Callable[[Any], None],
    devices: Sequence[str],
) -> tuple[dict[str, Any], dict[str, float]]:
    """As `isolated_process.run_isolated`, in the environment that the arguments name.

    Raises:
        InvalidInput: as `check_environment`, or if its packages cannot be installed.
        ChildFailed: if the process raised, or ended without a result.
    """
    request = {
        "function": [function.__module__, function.__qualname__],
        "arguments": dataclasses.asdict(arguments),
        "folders": [str(folder.resolve()) for folder in folders],
    }
    variables = {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": ",".join(devices)}
    command = [str(_interpreter(_located(arguments))), "-m", __name__]
    requested_at = time.monotonic()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment_of_children() | variables,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            with can_be_killed(process):
                received = _exchange(process, request, on_message)
        except BaseException:
            process.kill()  # after an interrupt it must not keep the GPU
            raise
    if "error" in received:
        raise ChildFailed(received["error"])
    if "result" not in received:
        raise ChildFailed(describe_exit(process.returncode))
    seconds = {
        "process": received["started"] - requested_at,
        "teardown": time.monotonic() - received["finished"],
    }
    return received["result"], seconds


def _exchange(
    process: Any, request: dict[str, Any], on_message: Callable[[Any], None]
) -> dict[str, Any]:
    """Send the request and read what comes back: `result` or `error`, and the monotonic times."""
    received: dict[str, Any] = {}
    with contextlib.suppress(BrokenPipeError):  # it ended before it read: its exit code tells
        process.stdin.write(json.dumps(request))
        process.stdin.close()
    for line in process.stdout:
        kind, payload = json.loads(line)
        if kind == "message":
            on_message(payload)
        else:
            received[kind] = payload
            received["started" if kind == "started" else "finished"] = time.monotonic()
    return received


def serve() -> None:
    """The process' side: read a request, call its function, write what it sends and returns."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get among the answers

    def send(kind: str, payload: Any) -> None:
        answers.write(json.dumps([kind, payload]) + "\n")
        answers.flush()

    request = json.load(sys.stdin)
    send("started", None)
    try:
        module, name = request["function"]
        result = getattr(importlib.import_module(module), name)(
            lambda message: send("message", message),
            TrainingArguments.from_mapping(request["arguments"]),
            *map(Path, request["folders"]),
        )
    except BaseException as error:
        send("error", describe_error(error))
    else:
        send("result", result)


def _located(arguments: TrainingArguments) -> Path:
    """The requirements file or interpreter of the arguments' environment."""
    name = arguments.environment
    where = arguments.environments[name]
    path = Path(where).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    if not path.is_file() or not (_is_list(path) or os.access(path, os.X_OK)):
        raise InvalidInput(
            f"{_KEY}: {name}: {where!r} is neither a requirements file (.txt) nor an interpreter, "
            "or a folder with bin/python"
        )
    return path.absolute()


def _is_list(path: Path) -> bool:
    return path.suffix == ".txt"


@functools.cache
def _packages_of(interpreter: Path) -> str:
    found = subprocess.run([interpreter, "-c", _PACKAGES], capture_output=True, text=True)
    if found.returncode:
        raise InvalidInput(f"{_KEY}: {interpreter.name} cannot be run: {one_line(found.stderr)}")
    return found.stdout


def _interpreter(path: Path) -> Path:
    """The interpreter; for a requirements file that of an environment made from it, once."""
    if not _is_list(path):
        return path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    folder = BUILD / "environments" / digest
    # Two conditions may ask for it at the same time.
    with lock(folder):
        if not (folder / "installed").is_file():
            _install(path, folder)
    return folder / "bin" / "python"


def _install(requirements: Path, folder: Path) -> None:
    commands: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", "--clear", folder],
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise InvalidInput(
                f"{_KEY}: {requirements.name} cannot be installed: {one_line(done.stderr)}"
            )
    (folder / "installed").touch()


if __name__ == "__main__":
    serve()
