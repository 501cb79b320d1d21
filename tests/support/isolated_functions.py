"""Functions that tests run in a fresh process. `run_isolated` imports them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Send = Callable[[Any], None]


def echo(send: Send, *args: Any) -> tuple[Any, ...]:
    for argument in args:
        send(argument)
    return args


def process_id(send: Send) -> int:
    return os.getpid()


def parent_id(send: Send) -> int:
    return os.getppid()


def raise_error(send: Send, message: str) -> None:
    send("about to fail")
    raise ValueError(message)


def kill_itself(send: Send, *args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_silently(send: Send) -> None:
    os._exit(7)


def sleep_for_long(send: Send) -> None:
    send(os.getpid())
    time.sleep(600)


def loaded_modules(send: Send) -> dict[str, bool]:
    main = sys.modules["__main__"]
    return {
        "torch": "torch" in sys.modules,
        "pytest": "pytest" in sys.modules,
        "main_is_the_parents": hasattr(main, "__file__") and "pytest" in str(main.__file__),
    }


def patch_a_class(send: Send) -> str:
    from transformers.models.phi3 import modeling_phi3

    before = modeling_phi3.Phi3RMSNorm.__name__
    modeling_phi3.Phi3RMSNorm = type("Patched", (), {})
    return before


def environment_variable(send: Send, name: str) -> tuple[str | None, str | None]:
    """The variable's value when the fork server started, and now."""
    started_with = Path("/proc", str(os.getppid()), "environ").read_bytes().split(b"\0")
    values = dict(line.split(b"=", 1) for line in started_with if b"=" in line)
    at_start = values.get(name.encode())
    return None if at_start is None else at_start.decode(), os.environ.get(name)


def visible_devices(send: Send) -> dict[str, str | None]:
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
    return {name: os.environ.get(name) for name in names}


def crash_cuda(send: Send) -> None:
    """Read far outside of a tensor on the GPU, after which this process cannot use CUDA."""
    import torch

    values = torch.zeros(16, device="cuda")
    index = torch.full((16,), 2**40, device="cuda")
    torch.gather(values, 0, index)
    torch.cuda.synchronize()


def cuda_works(send: Send) -> float:
    import torch

    return float(torch.ones(8, device="cuda").sum())
