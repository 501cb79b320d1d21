"""Run an experiment whose conditions sleep instead of training: `run_experiment.py BUILD_FOLDER`.

It starts once a line arrives on standard input, and prints the outcomes, the number of conditions
and how many different source folders their runs saw.
"""

from __future__ import annotations

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


def sleep_instead_of_training(
    arguments: TrainingArguments, dataset: Path, model: Path, output: Path, **_: Any
) -> Run:
    assert len(datasets.load_from_disk(str(dataset))) == 512
    seen.add((dataset.stat().st_ino, model.stat().st_ino))
    time.sleep(0.2)
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
