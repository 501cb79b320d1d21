"""Run an experiment whose conditions sleep instead of training: `run_experiment.py BUILD_FOLDER`.

It starts once a line arrives on standard input, and prints the outcomes, the number of conditions
and how many different source folders their runs saw. Its first condition ends once another process
that was given the same folder has begun one, so that the two overlap on a busy machine, too.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
from support.grids import make_run
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.flyte import conditions, local_run
from liger_benchmark.run import Run

seen: set[tuple[int, int]] = set()
LONGEST_WAIT = 200.0


def wait_for_the_other(folder: Path) -> None:
    """Return once two processes have called this with the same folder."""
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + LONGEST_WAIT
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)


def sleep_instead_of_training(
    arguments: TrainingArguments, dataset: Path, model: Path, output: Path, **_: Any
) -> Run:
    assert len(datasets.load_from_disk(str(dataset))) == 512
    if not seen:
        wait_for_the_other(Path(sys.argv[1]).with_name("begun"))
    seen.add((dataset.stat().st_ino, model.stat().st_ino))
    time.sleep(0.4)
    size = arguments.per_device_train_batch_size
    made = make_run("vanilla", size, arguments.run, steps=3, cpu=True)
    return replace(made, training_args=arguments)


conditions.run_condition = sleep_instead_of_training
conditions.dry_pass.check_grid = lambda *_: []
local_run.BUILD = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2, 3])
_, table = workflow.benchmarking_experiment(experiment_args=grid, training_args=TINY, n_runs=3)
print(sorted(table["outcome"].unique()), len(table), "sources:", len(seen))
