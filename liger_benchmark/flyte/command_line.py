"""What has to happen between typing `pyflyte run` (or `union run`) and its first task.

The workflow module is imported before the command reads its inputs: the one moment to check the
inputs file whole, and to make a local run independent of any login or configuration.
"""

import os
from pathlib import Path

from flytekit.configuration.file import get_config_file

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.experiment.grid import describe_grid
from liger_benchmark.experiment.inputs_file import InvalidInputsFile, read_inputs_file
from liger_benchmark.flyte.settings import GPU_KIND
from liger_benchmark.training.environment import visible_gpu
from liger_benchmark.validation import InvalidInput

LOCAL_CONFIG = Path(__file__).parent / "local_config.yaml"


def prepare(argv: list[str]) -> None:
    """Check the inputs file that `argv` names, say what it asks for, set what a local run needs.

    Raises:
        SystemExit: with one line that says what is wrong with the inputs file, or what in it
            cannot be run here.
    """
    inputs_file = _inputs_file(argv)
    is_local = "run" in argv and not {"--remote", "-r"} & set(argv)
    if inputs_file is not None:
        try:
            grid = read_inputs_file(inputs_file).grid
            gpu = visible_gpu() if is_local else GPU_KIND
            preflight.check_experiment(grid, on_cluster=not is_local, gpu=gpu)
        except InvalidInput as error:
            # The file's own faults are told with its name; those in it with the key.
            where = "" if isinstance(error, InvalidInputsFile) else f"{inputs_file}: "
            raise SystemExit(f"{where}{error}") from None
        _announce(grid, gpu)
    if is_local:
        # flytekit's cache holds paths, and files go away; a local run keeps its own results.
        os.environ.setdefault("FLYTE_LOCAL_CACHE_ENABLED", "false")
        if LOCAL_CONFIG.is_file() and get_config_file(None) is None:
            # With `union` installed, pyflyte asks for a login even where none is needed.
            os.environ["FLYTECTL_CONFIG"] = str(LOCAL_CONFIG)
            get_config_file.cache_clear()  # it remembers that there was none


def _announce(grid: list[TrainingArguments], gpu: str | None) -> None:
    """Say how large the grid is and, if the model's size is known here, how long it will take."""
    lines = [describe_grid(grid)]
    config = estimate.config_at_hand(grid[0].model_name)
    if config is not None:
        lines.append(estimate.expected(grid, config, gpu))
    print("\n".join(lines), flush=True)


def _inputs_file(argv: list[str]) -> str | None:
    for position, argument in enumerate(argv):
        if argument == "--inputs-file" and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith("--inputs-file="):
            return argument.partition("=")[2]
    return None
