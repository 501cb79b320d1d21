"""A run that has trained its last step is kept, whatever goes wrong after it.

An evaluation or a checkpoint at the end, what is worked out for the record, and saving can fail for
want of memory, on a full disk or for a missing permission, and can take the process along. None of
it undoes what was measured: the run is completed, and its record says under `AFTER_LAST_STEP` what
failed, by where.

As soon as the last step's row is complete, the record is sent to the parent process under
`FINISHED`. The parent uses it if the process, or a rank of its group, raises or dies later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.training.measurement import EfficiencyCallback
from liger_benchmark.training.phases import Phases
from liger_benchmark.training.ranks import in_group
from liger_benchmark.validation import one_line

# The arguments that every row of the history repeats, to identify its condition.
IDENTITY = ("use_liger", BATCH_SIZE, "run")
FINISHED = "finished"
AFTER_LAST_STEP = "after_last_step"


class Ending:
    """Passes a run's rows on, and keeps what it measured once the last of them is complete.

    Args:
        send: called with each row, and after the last one with the record.
        callback: the run's, whose rows come to `on_row`.
        record: the run's; what concerns its end is added to it.
        at_end: adds to the record what the hardware did; called once, after the last row.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        arguments: TrainingArguments,
        callback: EfficiencyCallback,
        phases: Phases,
        record: dict[str, Any],
        at_end: Callable[[dict[str, Any]], None],
    ) -> None:
        self.send = send
        self.arguments = arguments
        self.callback = callback
        callback.on_row = self.on_row
        self.phases = phases
        self.record = record
        self.at_end = at_end
        self.observed: Any = None
        self.is_finished = False

    def on_row(self, row: dict[str, Any]) -> None:
        """Pass a complete row on; after the last one complete the record, and send it."""
        self.send({name: getattr(self.arguments, name) for name in IDENTITY} | row)
        if self.callback.steps_this_session < self.arguments.max_steps:
            return
        self.is_finished = True
        self.record |= self.observed.record()
        with self.kept("record", others_wait=False):
            self.at_end(self.record)
        phases = self.phases.with_steps(self.callback)
        self.send({FINISHED: {**self.record, "phases": phases}})

    @contextlib.contextmanager
    def kept(self, where: str = "", others_wait: bool = True) -> Iterator[None]:
        """Note an error after the last step in the record instead of raising it.

        Args:
            where: what is done inside; by default what the callback says of it.
            others_wait: whether the other ranks of a group would wait for this one. There the
                error is raised, which ends the group, and the parent notes it.
        """
        try:
            yield
        except Exception as error:
            if not self.is_finished or (others_wait and in_group()):
                raise
            stage = self.callback.stage
            where = where or (stage if stage in ("evaluation", "checkpoint") else "training")
            reason = one_line(f"{type(error).__name__}: {error}", limit=None)
            self.record.setdefault(AFTER_LAST_STEP, {})[where] = reason


def save(trainer: Any, arguments: TrainingArguments) -> None:
    """Save the trainer's state, and the model if checkpoints are on."""
    trainer.save_state()
    if arguments.save_strategy != "no":
        trainer.save_model()
