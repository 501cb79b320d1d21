"""`pyflyte run` of the workflow, as flytekit's own command line reads it, and a copy to run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flytekit.remote import FlyteRemote

from liger_benchmark.flyte import command_line

PROJECT = Path(__file__).parents[2]
TRAINING = {
    "model_name": "builtin:phi3-tiny",
    "dataset_name": "builtin:instructions",
    "max_seq_length": 16,
    "bf16": False,
    "max_steps": 2,
    "n_warmup_steps": 1,
}
GOOD = {
    "experiment_args": {"use_liger": [False], "per_device_train_batch_size": [1]},
    "training_args": TRAINING,
    "n_runs": 1,
}


@dataclass
class Typed:
    """What came of a command.

    Attributes:
        exit_code: 0 if the workflow was started.
        lines: standard output and standard error.
        inputs: what the workflow was started with; for a start that was left out.
    """

    exit_code: int
    lines: list[str]
    inputs: list[dict[str, Any]] = field(default_factory=list)


def type_command(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    options: tuple[str, ...] = (),
    standard_input: str | None = None,
    starts: bool = False,
) -> Typed:
    """Type `pyflyte run OPTIONS liger_kernel_finetuning.py benchmarking_experiment ARGUMENTS`.

    Args:
        starts: whether a local workflow is really started. With `--remote` it never is.
    """
    inputs: list[dict[str, Any]] = []
    flytekit_run = importlib.import_module("flytekit.clis.sdk_in_container.run")
    pyflyte = importlib.import_module("flytekit.clis.sdk_in_container.pyflyte")
    checked = command_line.checked_command(flytekit_run)
    with monkeypatch.context() as patch:
        # As the import of the workflow does where flytekit's command line came first.
        patch.setattr(flytekit_run, "YamlFileReadingCommand", checked)
        patch.setattr(FlyteRemote, "register_script", lambda *_, **__: None)
        patch.setattr(flytekit_run, "run_remote", lambda *given, **__: inputs.append(given[4]))
        if not starts and "--remote" not in options:
            patch.setattr(flytekit_run, "run_command", lambda *_: lambda **kw: inputs.append(kw))
        result = CliRunner().invoke(
            pyflyte.main,
            [
                *("--config", str(command_line.LOCAL_CONFIG), "run", *options),
                *(str(PROJECT / "liger_kernel_finetuning.py"), "benchmarking_experiment"),
                *arguments,
            ],
            input=standard_input,
        )
    return Typed(result.exit_code, result.output.splitlines(), inputs)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
