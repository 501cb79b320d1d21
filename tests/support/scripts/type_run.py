"""Type `pyflyte run` on one-second conditions: `type_run.py BUILD_FOLDER INPUTS_FILE [FAULT]`.

FAULT is "interrupt" (Ctrl-C in the second condition), "interrupt-later" (in the first that is
trained), "interrupt-download" (in that of the model), "interrupt-dry-pass", "exit" (a library ends
the process with a text), "no-network" (the Hub cannot be reached) or "crash" (every condition
fails).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from flytekit.clis.sdk_in_container.pyflyte import main
from support.grids import make_run

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import conditions, local_run
from liger_benchmark.report import result_folder
from liger_benchmark.run import Run
from liger_benchmark.sources import fetch
from liger_benchmark.sources.fetch import SourceUnavailable
from liger_benchmark.training import dry_pass
from liger_benchmark.training.isolated_process import ChildFailed

build, inputs, fault = Path(sys.argv[1]), sys.argv[2], (*sys.argv[3:], "")[0]
started: list[str] = []


def no_training(
    arguments: TrainingArguments, dataset: Path, model: Path, output: Path, **_: Any
) -> Run:
    started.append(arguments.condition)
    if (fault, len(started)) in (("interrupt", 2), ("interrupt-later", 1)):
        interrupt()
    if fault == "exit":
        sys.exit("the library says why")
    if fault == "crash":
        raise ChildFailed({"type": "RuntimeError", "message": "it broke", "traceback": "child's"})
    arm = "Liger" if arguments.use_liger else "vanilla"
    size = arguments.per_device_train_batch_size
    made = make_run(arm, size, arguments.run, steps=3, cpu=True)
    return replace(made, training_args=arguments)


def interrupt(*_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)


def no_network(*_: Any) -> Path:
    raise SourceUnavailable("training_args.model_name: the Hub cannot be reached;\n try a folder")


conditions.run_condition = no_training
local_run.BUILD = build
result_folder.render_page = lambda analysis, notice="": f"<main>{notice} page</main>"
if fault == "no-network":
    fetch.fetch_model = no_network
if fault == "interrupt-download":
    fetch.fetch_model = interrupt
if fault == "interrupt-dry-pass":
    dry_pass.check_grid = interrupt
project = Path(__file__).parents[3]
workflow = [str(project / "liger_kernel_finetuning.py"), "benchmarking_experiment"]
config = str(project / "liger_benchmark" / "flyte" / "local_config.yaml")
main(["--config", config, "run", *workflow, "--inputs-file", inputs])
