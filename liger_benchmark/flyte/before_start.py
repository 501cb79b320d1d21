"""What a typed local run checks before its first task: nothing is downloaded for a missing key."""

from __future__ import annotations

import os
import sys
from typing import Any

import wandb
from wandb.errors import AuthenticationError, UsageError

from liger_benchmark.flyte.tracking import TrackingRefused, refusal
from liger_benchmark.validation import InvalidInput


def check_before_start(training_args: Any) -> None:
    """Refuse a run without Python's assertions, and one that would ask for W&B without a key.

    Only whether there is a key of the right form is checked: that takes no network. W&B itself
    judges it when the first condition begins.

    Raises:
        InvalidInput: if assertions are switched off: flytekit tells types apart by them.
        TrackingRefused: if W&B is asked for, is online, and finds no key or one of another form.
    """
    if sys.flags.optimize:
        raise InvalidInput(
            "PYTHONOPTIMIZE: flytekit needs Python's assertions, which it (or python -O) switches "
            "off; unset it"
        )
    if getattr(training_args, "report_to", None) != "wandb":
        return
    if wandb.setup().settings.mode in ("offline", "disabled", "dryrun"):
        return
    try:
        has_key = wandb.login(prompt=False, verify=False)
    except (AuthenticationError, UsageError) as error:
        raise refusal(error) from None
    except Exception:
        return  # for what it cannot say here, W&B has words of its own later
    if not has_key and not os.environ.get("WANDB_API_KEY"):
        raise TrackingRefused(
            "W&B: there is no API key; run `wandb login` or set WANDB_API_KEY, or set "
            "training_args.report_to to none"
        )
