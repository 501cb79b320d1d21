"""Weights & Biases: one run a condition, named, grouped, and closed as the condition ended.

A wrong account is refused before anything is trained. A W&B that cannot be reached, or breaks off,
costs one line and no measurement; the record then says so under `wandb_error`.
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
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import wandb
from wandb.errors import AuthenticationError, CommError, UsageError

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import FAILED
from liger_benchmark.training.ending import IDENTITY
from liger_benchmark.validation import one_line

# What W&B may take, in seconds, before a condition begins and after it has ended.
INIT_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 300.0
# And in which its own process has to be gone, if that no longer answers.
TEARDOWN_TIMEOUT_S = 30.0


class TrackedRun:
    """The W&B run of one condition, and what went wrong with it.

    Attributes:
        run: W&B's own; None as long as it is not open. Conditions may run at the same time, so it
            is never the process's one `wandb.run`.
        problems: a line each, every line once.
        unreachable: why W&B could not be reached; None if it could.
    """

    def __init__(self, unreachable: str | None = None) -> None:
        self.run: wandb.Run | None = None
        self.unreachable = unreachable
        self.problems = [] if unreachable is None else [unreachable]

    def note(self, problem: str) -> None:
        """Say a problem, once a condition: a W&B that is gone would be missed at every step."""
        if problem not in self.problems:
            self.problems.append(problem)
            sys.stderr.write(f"W&B: {problem}\n")

    def if_open(self, do: Callable[[Any], Any]) -> None:
        """Call `do(run)` if the run is open; an error is noted, not raised."""
        if self.run is None:
            return
        try:
            do(self.run)
        except Exception as error:
            self.note(_described(error))

    def open(self, *, api_key: str | None, **options: Any) -> None:
        """Start the W&B run.

        Raises:
            TrackingRefused: if there is no API key, or W&B refuses it.
        """
        try:
            settings = wandb.Settings(
                # As a setting, unlike after wandb.login(), the key is written nowhere.
                api_key=api_key,
                init_timeout=INIT_TIMEOUT_S,
                finish_timeout=FINISH_TIMEOUT_S,
                quiet=True,
            )
            self.run = wandb.init(**options, settings=settings)
        except (AuthenticationError, UsageError) as error:
            raise refusal(error) from None
        except Exception as error:
            self.note(problem := f"the run is not tracked: {_described(error)}")
            if isinstance(error, CommError | TimeoutError):
                self.unreachable = problem

    def close(self, exit_code: int) -> None:
        """Finish the W&B run; a W&B process that is gone or stuck is left behind with it.

        The next condition would otherwise be logged nowhere, under this one's address.
        """
        if self.run is None:
            return
        try:
            self.run.finish(exit_code=exit_code)
        except Exception as error:
            self.note(_described(error))
            teardown = threading.Thread(target=_tear_down, daemon=True)
            teardown.start()
            teardown.join(TEARDOWN_TIMEOUT_S)
        self.run = None


_current: ContextVar[TrackedRun | None] = ContextVar("tracked_run", default=None)


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
    unreachable: str | None = None,
) -> Iterator[TrackedRun]:
    """A W&B run for the condition: open inside the block, failed if the block raises.

    Args:
        entity: the user or team; the account's default if empty.
        folder: where W&B keeps its files, unless WANDB_DIR says otherwise.
        run_id: the run's address within the project; W&B makes one up if None.
        api_key: if None, W&B finds its own: WANDB_API_KEY, or that of `wandb login`.
        unreachable: why an earlier condition could not reach W&B: it is then not tried again, which
            would cost every condition the same wait.

    Raises:
        TrackingRefused: if there is no API key, or W&B refuses it.
    """
    tracked = TrackedRun(unreachable)
    if unreachable is None:
        tracked.open(
            name=arguments.condition,
            config=dataclasses.asdict(arguments),
            project=project,
            entity=entity or None,
            group=group,
            dir=os.environ.get("WANDB_DIR") or str(folder),
            id=run_id,
            notes=notes,
            reinit="create_new",
            api_key=api_key,
        )
    token = _current.set(tracked)
    try:
        yield tracked
    except BaseException:
        tracked.if_open(lambda run: run.summary.update({"outcome": FAILED}))
        tracked.close(exit_code=1)
        raise
    else:
        tracked.close(exit_code=0)
    finally:
        _current.reset(token)


def log_row(row: dict[str, Any]) -> None:
    """Log a step's row of the history, if a W&B run is open."""
    if tracked := _current.get():
        # Which condition it is, the W&B run's config says.
        metrics = {key: value for key, value in row.items() if key not in IDENTITY}
        tracked.if_open(lambda run: run.log(metrics, step=row["step"]))


def log_outcome(outcome: str) -> dict[str, str]:
    """Write the outcome into the open W&B run; returns what a record says of it, see `address`."""
    if tracked := _current.get():
        tracked.if_open(lambda run: run.summary.update({"outcome": outcome}))
    return address()


def address() -> dict[str, str]:
    """For a record: `wandb_url` of an open run that is online, `wandb_error` of one in trouble."""
    tracked = _current.get()
    if tracked is None:
        return {}
    run = tracked.run
    known = {"wandb_url": run.url} if run is not None and not run.offline and run.url else {}
    return known | ({"wandb_error": tracked.problems[0]} if tracked.problems else {})


def experiment_name(
    arguments: TrainingArguments, grid: Sequence[TrainingArguments], version: str
) -> str:
    """A name that all conditions of an experiment share, today and when it is run again.

    Args:
        grid: the experiment's conditions, which tell its axes; may be empty.
        version: of all that is not an argument: code, pinned packages, the GPU's kind.
    """
    settings = dataclasses.asdict(arguments)
    others = [dataclasses.asdict(other) for other in grid]
    varied = {key for key, value in settings.items() if any(o[key] != value for o in others)}
    shared = {k: v for k, v in settings.items() if k not in {*IDENTITY, "arm_name", *varied}}
    digest = hashlib.sha256(json.dumps([shared, version], sort_keys=True).encode()).hexdigest()
    return f"{arguments.short_model_name} {digest[:8]}"


def _tear_down() -> None:
    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()


def refusal(error: BaseException) -> TrackingRefused:
    """What to raise for an error of W&B by which it refuses the key."""
    return TrackingRefused(
        f"W&B: {_described(error)}; check the key (`wandb login`, or the secret "
        "wandb_api_key on a cluster), or set training_args.report_to to none"
    )


def _described(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}", limit=300)
