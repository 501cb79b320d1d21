"""What an experiment is: its arguments, how they are checked, and the grid they span.

The dataclasses are the workflow's inputs. They check themselves, wherever they are made: from the
command line, from a YAML file, in a container. Nothing heavy is imported, so that a mistake in a
file is reported in the moment the command is typed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from liger_benchmark.builtin import DATASETS, MODELS
from liger_benchmark.checks import (
    Check,
    InvalidInput,
    at_least,
    check_field,
    fraction,
    known_keys,
    one_line,
    one_of,
    positive,
    read_fields,
    setting,
    show,
)

__all__ = [
    "ExperimentArguments",
    "ExperimentInputs",
    "InvalidInput",
    "TrainingArguments",
    "expand_grid",
    "read_inputs_file",
]

# The names transformers gives them. Only optimisers that need no package beyond requirements.txt;
# a test holds both tuples against the installed library.
OPTIMIZERS = (
    "adamw_torch",
    "adamw_torch_fused",
    "adafactor",
    "sgd",
    "adagrad",
    "rmsprop",
)
LR_SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
STRATEGIES = ("no", "steps", "epoch")
TRACKERS = ("none", "wandb")

MAX_GRID = 10_000


def _source(builtin_names: Iterable[str]) -> Check:
    builtins = tuple(f"builtin:{name}" for name in builtin_names)

    def check(value: str) -> str | None:
        if not value.strip() or value != value.strip():
            return "must be a Hub id, a folder or builtin:NAME, without blanks around it"
        if not value.isprintable():
            return "must not hold control characters"
        return one_of(builtins)(value) if value.startswith("builtin:") else None

    return check


def _only_one(value: int) -> str | None:
    return None if value == 1 else "must be 1: every step is measured, so every step is logged"


@dataclass(frozen=True)
class TrainingArguments:
    """The settings of one training run. The defaults are the blog's experiment.

    Lengths are in tokens, batch sizes in sequences, GPU memory in GiB (2**30 bytes).

    Raises:
        InvalidInput: if a value is of the wrong type or out of range.
    """

    model_name: str = setting("microsoft/Phi-3-mini-4k-instruct", _source(MODELS))
    dataset_name: str = setting("tatsu-lab/alpaca", _source(DATASETS))
    use_liger: bool = setting(False)
    max_seq_length: int = setting(128, at_least(1))
    bf16: bool = setting(True)
    max_steps: int = setting(40, at_least(1))
    num_train_epochs: float = setting(1.0, positive)
    optim: str = setting("sgd", one_of(OPTIMIZERS))
    per_device_train_batch_size: int = setting(16, at_least(1))
    per_device_eval_batch_size: int = setting(16, at_least(1))
    gradient_accumulation_steps: int = setting(1, at_least(1))
    eval_strategy: str = setting("no", one_of(STRATEGIES))
    save_strategy: str = setting("no", one_of(STRATEGIES))
    learning_rate: float = setting(6e-4, positive)
    weight_decay: float = setting(0.05, at_least(0))
    warmup_ratio: float = setting(0.1, fraction)
    lr_scheduler_type: str = setting("cosine", one_of(LR_SCHEDULERS))
    logging_steps: int = setting(1, _only_one)
    include_num_input_tokens_seen: bool = setting(True)
    report_to: str = setting("none", one_of(TRACKERS))
    seed: int = setting(42, at_least(0))
    n_warmup_steps: int = setting(2, at_least(0))
    gpu_memory_limit_gib: float | None = setting(None, positive)
    require_idle_gpu: bool = setting(False)
    run: int = setting(1, at_least(1))

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            check_field(type(self), "training_args", f.name, getattr(self, f.name))
        if self.n_warmup_steps >= self.max_steps:
            raise InvalidInput(
                f"training_args.n_warmup_steps: {self.n_warmup_steps} leaves no step to measure; "
                f"it must be less than max_steps, {self.max_steps}"
            )

    @classmethod
    def from_mapping(cls, mapping: Any) -> TrainingArguments:
        """Read a mapping as it comes out of YAML or JSON.

        Raises:
            InvalidInput: if a key is unknown or a value does not fit.
        """
        return cls(**read_fields(cls, "training_args", mapping))

    @classmethod
    def from_json(cls, text: str, **_: Any) -> TrainingArguments:
        """The reader flytekit's command line looks for: as strict as `from_mapping`."""
        return cls.from_mapping(json.loads(text))

    @property
    def arm(self) -> str:
        """The name of the condition's arm: what its bars, curves and rows are labelled with."""
        return "Liger" if self.use_liger else "vanilla"

    @property
    def short_model_name(self) -> str:
        """`phi3-mini` for `builtin:phi3-mini`, the last part of a Hub id or of a folder."""
        return re.split(r"[:/]", self.model_name.rstrip("/"))[-1][:60]

    @property
    def condition(self) -> str:
        """A name that reads: `Phi-3-mini-4k-instruct bs=40 liger run=2`."""
        return (
            f"{self.short_model_name} bs={self.per_device_train_batch_size} "
            f"{self.arm.lower()} run={self.run}"
        )

    @property
    def slug(self) -> str:
        """The condition's name as a folder: letters, digits, dots and dashes, nothing else."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", self.condition).strip("-.").lower()


@dataclass(frozen=True)
class ExperimentArguments:
    """The axes of the grid: every combination of these values is a condition.

    Raises:
        InvalidInput: if an axis is empty, names a value twice or holds one that cannot be run.
    """

    use_liger: list[bool] = field(default_factory=lambda: [True, False])
    per_device_train_batch_size: list[int] = field(default_factory=lambda: [16, 24, 32, 40, 48, 56])

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            key = f"experiment_args.{f.name}"
            values = getattr(self, f.name)
            if not isinstance(values, list):
                raise InvalidInput(f"{key}: {show(values)} is not a list; write [{show(values)}]")
            if not values:
                raise InvalidInput(f"{key}: [] is empty; list at least one value")
            for value in values:
                check_field(TrainingArguments, "experiment_args", f.name, value)
            repeated = next((v for i, v in enumerate(values) if v in values[:i]), None)
            if repeated is not None:
                raise InvalidInput(f"{key}: {show(repeated)} is listed twice; list each value once")

    @classmethod
    def from_mapping(cls, mapping: Any) -> ExperimentArguments:
        """Read a mapping as it comes out of YAML or JSON.

        Raises:
            InvalidInput: if a key is unknown or a value does not fit.
        """
        return cls(**read_fields(cls, "experiment_args", mapping))

    @classmethod
    def from_json(cls, text: str, **_: Any) -> ExperimentArguments:
        """The reader flytekit's command line looks for: as strict as `from_mapping`."""
        return cls.from_mapping(json.loads(text))


@dataclass(frozen=True)
class ExperimentInputs:
    """All that an inputs file may say: the workflow's own inputs."""

    experiment_args: ExperimentArguments = field(default_factory=ExperimentArguments)
    training_args: TrainingArguments = field(default_factory=TrainingArguments)
    n_runs: int = setting(3, at_least(1))
    attempt: int = setting(1, at_least(1))


def expand_grid(
    experiment_args: ExperimentArguments, training_args: TrainingArguments, n_runs: int
) -> list[TrainingArguments]:
    """Every condition of the experiment, in the order in which they run.

    Repeats are outermost and arms innermost: whatever drifts during an hour (temperature, clocks,
    a neighbour) then touches both arms alike.

    Returns:
        len(use_liger) * len(per_device_train_batch_size) * n_runs arguments, no two alike.

    Raises:
        InvalidInput: if `n_runs` is below 1, or the grid is too large to be meant.
    """
    check_field(ExperimentInputs, "", "n_runs", n_runs)
    size = (
        len(experiment_args.use_liger) * len(experiment_args.per_device_train_batch_size) * n_runs
    )
    if size > MAX_GRID:
        raise InvalidInput(
            f"n_runs: {n_runs} makes a grid of {size} runs; at most {MAX_GRID} are allowed"
        )
    return [
        dataclasses.replace(
            training_args, run=run, per_device_train_batch_size=batch_size, use_liger=use_liger
        )
        for run, batch_size, use_liger in itertools.product(
            range(1, n_runs + 1),
            experiment_args.per_device_train_batch_size,
            experiment_args.use_liger,
        )
    ]


def _refuse_repeated_keys(node: yaml.Node | None) -> None:
    """YAML takes the last of two equal keys in silence; one of them is a mistake."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise InvalidInput(f"{one_line(key.value)} is given twice, again at line {line}")
            seen.add(str(key.value))
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item)


def read_inputs_file(path: str | Path) -> ExperimentInputs:
    """Read and check an inputs file, whole.

    Raises:
        InvalidInput: if the file cannot be read, or anything in it cannot be run.
    """
    name = Path(path).name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInput(f"{name}: cannot be read: {reason}") from None
    try:
        content = yaml.safe_load(text)
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise InvalidInput(f"{name}: {one_line(problem)}{where}") from None
    if content is None:
        raise InvalidInput(f"{name}: is empty; see phi3_inputs.yaml for what belongs in it")
    if not isinstance(content, dict):
        raise InvalidInput(
            f"{name}: {show(content)} is not a mapping; "
            f"its keys are {', '.join(f.name for f in dataclasses.fields(ExperimentInputs))}"
        )
    values = known_keys(ExperimentInputs, "", content)
    readers = {"experiment_args": ExperimentArguments, "training_args": TrainingArguments}
    for key, value in values.items():
        if key in readers:
            values[key] = readers[key].from_mapping(value)  # type: ignore[attr-defined]
        else:
            check_field(ExperimentInputs, "", key, value)
    inputs = ExperimentInputs(**values)
    axes = {f.name for f in dataclasses.fields(ExperimentArguments)}
    given = content.get("training_args") or {}
    for key in ("run", *sorted(axes)):
        if key in given:
            cure = "n_runs counts the runs" if key == "run" else f"list it in experiment_args.{key}"
            raise InvalidInput(
                f"training_args.{key}: {show(given[key])} would have no effect here; {cure}"
            )
    expand_grid(inputs.experiment_args, inputs.training_args, inputs.n_runs)
    return inputs
