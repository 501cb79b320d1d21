"""A first answer for a model without writing an inputs file: it is written here and run.

    liger-benchmark quick MODEL [--batch-size N] [--dataset D] [--dataset-format F]

The settings are those of `examples/quick.yaml`; without a GPU they are a short trial in fp32.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from liger_benchmark import folders
from liger_benchmark.files import atomic_file
from liger_benchmark.training.environment import visible_gpu

PROJECT = Path(__file__).resolve().parents[1]
# As `examples/quick.yaml`.
ON_A_GPU = {
    "dataset_format": "auto",
    "max_seq_length": 512,
    "max_steps": 10,
    "n_warmup_steps": 2,
    "report_to": "none",
}
# As `examples/smoke_inputs.yaml`, which takes a minute with a tiny model.
ON_A_CPU = ON_A_GPU | {"max_seq_length": 32, "bf16": False, "max_steps": 3, "n_warmup_steps": 1}
BATCH_SIZE_ON_A_GPU = 8
BATCH_SIZE_ON_A_CPU = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the inputs file, say where it is, and run it as `make run` does; its exit status."""
    parser = argparse.ArgumentParser(
        prog="liger-benchmark quick",
        description="Benchmark a model at one batch size: 2 repeats of 10 steps, minutes on a GPU. "
        "Without a GPU it is a trial: it shows whether both arms compute the same.",
    )
    parser.add_argument("model", metavar="MODEL", help="a Hub id, a folder or builtin:NAME")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help=f"default: {BATCH_SIZE_ON_A_GPU}; {BATCH_SIZE_ON_A_CPU} on a CPU",
    )
    parser.add_argument(
        "--dataset",
        metavar="D",
        default="builtin:instructions",
        help="a Hub id, a folder, a file of rows or builtin:NAME (default: %(default)s)",
    )
    parser.add_argument(
        "--dataset-format",
        metavar="F",
        help="text, prompt_completion or messages (default: told by the rows' columns)",
    )
    options = parser.parse_args(arguments)
    inputs = quick_inputs(
        options.model,
        options.dataset,
        options.batch_size,
        options.dataset_format,
        on_gpu=visible_gpu() is not None,
    )
    path = _write(inputs)
    print(f"{path}: copy and edit this inputs file to change more", flush=True)
    return _run(path)


def quick_inputs(
    model: str,
    dataset: str,
    batch_size: int | None = None,
    dataset_format: str | None = None,
    *,
    on_gpu: bool,
) -> dict[str, Any]:
    """The content of the inputs file. What is not given is the default of GPU or CPU."""
    usual_size = BATCH_SIZE_ON_A_GPU if on_gpu else BATCH_SIZE_ON_A_CPU
    settings = dict(ON_A_GPU if on_gpu else ON_A_CPU)
    if dataset_format is not None:
        settings["dataset_format"] = dataset_format
    return {
        "experiment_args": {
            "use_liger": [True, False],
            "per_device_train_batch_size": [usual_size if batch_size is None else batch_size],
        },
        "training_args": {
            "model_name": _absolute(model),
            "dataset_name": _absolute(dataset),
            **settings,
        },
        "n_runs": 2,
    }


def _absolute(name: str) -> str:
    """A path on this machine as an absolute one, since the run starts in the project's folder."""
    path = Path(name).expanduser()
    is_path = path.exists() or name.startswith((".", "~"))
    return os.path.abspath(path) if is_path else name


def _write(inputs: dict[str, Any]) -> Path:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", inputs["training_args"]["model_name"]).strip("-.").lower()
    path = folders.BUILD / "inputs" / f"quick-{name[-60:].strip('-.')}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        text = yaml.safe_dump(inputs, sort_keys=False, allow_unicode=True)
        partial.write_text(text, encoding="utf-8")
    return path


def _run(inputs_file: Path) -> int:
    """Run the workflow with the inputs file; the status of an interrupted run is 130."""
    command = [
        *(str(Path(sys.executable).with_name("pyflyte")), "run", "liger_kernel_finetuning.py"),
        *("benchmarking_experiment", "--inputs-file", str(inputs_file)),
    ]
    child = subprocess.Popen(command, cwd=PROJECT)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The terminal interrupts the run as well, which says what is kept.
            continue
