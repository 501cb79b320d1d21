"""Weights & Biases: one run a condition, named, grouped, and closed as the condition ended.

W&B watches a condition and decides nothing about it. What is wrong with the account is said before
anything is trained; a W&B that cannot be reached, or breaks off, costs a line and no measurement.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import wandb
from wandb.errors import AuthenticationError, UsageError

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.grid import ExperimentArguments
from liger_benchmark.runs import FAILED, Run

# What W&B may take, in seconds, before a condition begins and after it has ended.
INIT_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 300.0
# The history's columns that say which condition it is: the W&B run's config holds them.
_IDENTITY = {f.name for f in dataclasses.fields(ExperimentArguments)} | {"run"}


class TrackingRefused(RuntimeError):
    """W&B does not take this run. The message is one line and says what to do."""


@contextlib.contextmanager
def wandb_run(
    arguments: TrainingArguments,
    *,
    project: str,
    entity: str,
    group: str,
    folder: Path,
    run_id: str | None = None,
    api_key: str | None = None,
    notes: str | None = None,
) -> Iterator[None]:
    """A W&B run for the condition: open inside the block, failed if the block raises.

    Args:
        entity: the user or team; the account's default if empty.
        folder: where W&B keeps its files, unless WANDB_DIR says otherwise.
        run_id: the run's address within the project; W&B makes one up if None.
        api_key: if None, W&B finds its own: WANDB_API_KEY, or that of `wandb login`.

    Raises:
        TrackingRefused: if there is no API key, or W&B refuses it.
    """
    _open(
        name=arguments.condition,
        config=dataclasses.asdict(arguments),
        project=project,
        entity=entity or None,
        group=group,
        dir=os.environ.get("WANDB_DIR") or str(folder),
        id=run_id,
        notes=notes,
        reinit="finish_previous",
        api_key=api_key,
    )
    try:
        yield
    except BaseException:
        _if_open(lambda run: run.summary.update({"outcome": FAILED}))
        _if_open(lambda run: run.finish(exit_code=1))
        raise
    _if_open(lambda run: run.finish(exit_code=0))


def log_row(row: dict[str, Any]) -> None:
    """Log a step's row of the history, if a W&B run is open."""
    metrics = {key: value for key, value in row.items() if key not in _IDENTITY}
    _if_open(lambda run: run.log(metrics, step=row["step"]))


def note_outcome(run: Run) -> Run:
    """Write the outcome into the open W&B run, and its address into the record."""
    _if_open(lambda wandb_run: wandb_run.summary.update({"outcome": run.outcome}))
    run.record |= address()
    return run


def address() -> dict[str, str]:
    """`wandb_url` for a record; empty if no W&B run is open, or if it is offline."""
    run = wandb.run
    return {"wandb_url": run.url} if run is not None and not run.offline and run.url else {}


def experiment_name(arguments: TrainingArguments, version: str) -> str:
    """A name that all conditions of an experiment share, today and when it is run again.

    Args:
        version: of all that is not an argument: code, pinned packages, the GPU's kind.
    """
    shared = {k: v for k, v in dataclasses.asdict(arguments).items() if k not in _IDENTITY}
    digest = hashlib.sha256(json.dumps([shared, version], sort_keys=True).encode()).hexdigest()
    return f"{arguments.short_model_name} {digest[:8]}"


def _open(*, api_key: str | None, **options: Any) -> None:
    try:
        settings = wandb.Settings(
            # As a setting, unlike after wandb.login(), the key is written nowhere.
            api_key=api_key,
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            quiet=True,
        )
        wandb.init(**options, settings=settings)
    except (AuthenticationError, UsageError) as error:
        raise TrackingRefused(
            f"W&B: {_one_line(error)}; check the key (`wandb login`, or the secret wandb_api_key "
            "on a cluster), or set training_args.report_to to none"
        ) from None
    except Exception as error:
        _warn(f"the run is not tracked: {_one_line(error)}")


def _if_open(do: Callable[[Any], Any]) -> None:
    if wandb.run is None:
        return
    try:
        do(wandb.run)
    except Exception as error:
        _warn(_one_line(error))


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _warn(what: str) -> None:
    sys.stderr.write(f"W&B: {what}\n")
