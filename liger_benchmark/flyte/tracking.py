"""Weights & Biases: one run a condition, named, grouped, and closed as the condition ended.

W&B watches a condition and decides nothing about it. What is wrong with the account is said before
anything is trained; a W&B that cannot be reached, or breaks off, costs a line and no measurement.
The record then says under `wandb_error` that the condition is not, or not wholly, tracked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import wandb
from wandb.errors import AuthenticationError, UsageError

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import FAILED, Run
from liger_benchmark.training.condition import IDENTITY

# What W&B may take, in seconds, before a condition begins and after it has ended.
INIT_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 300.0
# And in which its own process has to be gone, if that no longer answers.
TEARDOWN_TIMEOUT_S = 30.0
# The settings in which the conditions of an experiment differ; `note_grid` adds its axes.
_differing = {*IDENTITY, "arm_name"}

# What went wrong with the condition's run, a line each.
_problems: list[str] = []


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
    _problems.clear()
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
        _close(exit_code=1)
        raise
    _close(exit_code=0)


def log_row(row: dict[str, Any]) -> None:
    """Log a step's row of the history, if a W&B run is open."""
    # Which condition it is, the W&B run's config says.
    metrics = {key: value for key, value in row.items() if key not in IDENTITY}
    _if_open(lambda run: run.log(metrics, step=row["step"]))


def log_outcome(run: Run) -> Run:
    """Write the outcome into the open W&B run, and its address or its trouble into the record."""
    _if_open(lambda wandb_run: wandb_run.summary.update({"outcome": run.outcome}))
    run.record |= address()
    return run


def address() -> dict[str, str]:
    """For a record: `wandb_url` of an open run that is online, `wandb_error` of one in trouble."""
    run = wandb.run
    known = {"wandb_url": run.url} if run is not None and not run.offline and run.url else {}
    return known | ({"wandb_error": _problems[0]} if _problems else {})


def note_grid(grid: Sequence[TrainingArguments]) -> None:
    """Take note of what the conditions of the experiment that begins differ in."""
    settings = [dataclasses.asdict(arguments) for arguments in grid]
    varied = {key for key in settings[0] if any(s[key] != settings[0][key] for s in settings)}
    _differing.clear()
    _differing.update(IDENTITY, ["arm_name"], varied)


def experiment_name(arguments: TrainingArguments, version: str) -> str:
    """A name that all conditions of an experiment share, today and when it is run again.

    Args:
        version: of all that is not an argument: code, pinned packages, the GPU's kind.
    """
    shared = {k: v for k, v in dataclasses.asdict(arguments).items() if k not in _differing}
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
        _note(f"the run is not tracked: {_one_line(error)}")


def _if_open(do: Callable[[Any], Any]) -> None:
    if wandb.run is None:
        return
    try:
        do(wandb.run)
    except Exception as error:
        _note(_one_line(error))


def _close(exit_code: int) -> None:
    """Finish the run; a W&B process that is gone or stuck is left behind with it.

    The next condition would otherwise be logged nowhere, under this one's address.
    """
    if wandb.run is not None:
        try:
            wandb.run.finish(exit_code=exit_code)
        except Exception as error:
            _note(_one_line(error))
            teardown = threading.Thread(target=_tear_down, daemon=True)
            teardown.start()
            teardown.join(TEARDOWN_TIMEOUT_S)
            wandb.run = None
    _problems.clear()


def _tear_down() -> None:
    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _note(problem: str) -> None:
    """Say it, once a condition: a W&B that is gone would be missed at every step."""
    if problem not in _problems:
        _problems.append(problem)
        sys.stderr.write(f"W&B: {problem}\n")
