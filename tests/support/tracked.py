"""Conditions that W&B tracks, with a stub in place of their training and of W&B's own run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import COMPLETED, OUT_OF_MEMORY, Run, read_run
from liger_benchmark.training.isolated_process import ChildFailed
from support.tiny import TINY

TRACKED = dataclasses.replace(TINY, report_to="wandb", run=2)
ROWS = [
    {"use_liger": False, "per_device_train_batch_size": 2, "run": 2, "step": step}
    | {"loss": 6.0 - step, "avg_tokens_per_second": 100.0 + step, "learning_rate": 1e-3}
    for step in (1, 2, 3)
]

Outcome = Callable[[TrainingArguments], Run]


def completes(arguments: TrainingArguments) -> Run:
    return Run(arguments, COMPLETED, pd.DataFrame(ROWS), {"phases": {}})


def runs_out_of_memory(arguments: TrainingArguments) -> Run:
    return Run(arguments, OUT_OF_MEMORY, pd.DataFrame(ROWS), {"out_of_memory": {"step": 4}})


def fails(_: TrainingArguments) -> Run:
    raise ChildFailed({"type": "ValueError", "message": "no", "traceback": "ValueError: no"})


def is_interrupted(_: TrainingArguments) -> Run:
    raise KeyboardInterrupt


def record_of(result: workflow.TrainingResult) -> dict[str, Any]:
    return read_run(Path(result.record.path).parent).record


class OnlineRun(SimpleNamespace):
    """Stands for W&B's run while it is online, which no test is."""

    def __init__(self) -> None:
        super().__init__(url="https://wandb.example/a/b/runs/c", offline=False, summary={})
        self.exit_codes: list[int] = []

    def log(self, metrics: dict[str, Any], step: int) -> None:
        self.last_step = step

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)
