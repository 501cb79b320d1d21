"""The axes of an experiment: which fields of the training arguments vary, and over which values.

A field becomes an axis of the grid when its values are listed. The batch size is what results are
plotted against; all other axes together make the arms.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.validation import (
    InvalidInput,
    check_field,
    did_you_mean,
    known_keys,
    read_fields,
    refuse_repeated,
    show,
)

# Runs. A larger grid is taken for a mistake.
MAX_GRID = 10_000

# Fields that cannot be an axis, and why.
NO_AXIS = {
    "model_name": "an experiment is about one model; run the command once for each",
    "dataset_name": "an experiment is about one dataset; run the command once for each",
    "dataset_config": "an experiment is about one dataset; run the command once for each",
    "dataset_split": "an experiment is about one dataset; run the command once for each",
    "environments": "it names them; list the names in experiment_args.environment",
    "columns": "an experiment is about one dataset; run the command once for each",
    "report_to": "it changes nothing about a run",
    "require_idle_gpu": "it changes nothing about a run",
    "parallel_conditions": "it is about the whole grid; set it in training_args",
    "run": "n_runs counts the runs",
    "arm_name": "arms are named by their axes",
}


def _axis(*values: Any) -> Any:
    """A dataclass field that lists `values` by default; None, for no axis, if there are none."""
    return field(default_factory=lambda: list(values) or None)


_DEFAULT_ARMS = [True, False]


@dataclass(frozen=True)
class ExperimentArguments:
    """The axes of the grid: every combination of the listed values is a condition.

    Attributes:
        arms: the names of the arms to run; all combinations by default.
        ladder: a cumulative ablation in place of the axes: for each step after the first its name
            and, as a mapping in JSON, the settings that it adds to those before it; see `steps`.
        baseline: the name of the arm that the others are compared with; by default vanilla if it
            is an arm, else the first arm without Liger, else the first arm.

    Raises:
        InvalidInput: if an axis is empty, lists a value twice or lists one that cannot be run.
    """

    use_liger: list[bool] = _axis(*_DEFAULT_ARMS)
    per_device_train_batch_size: list[int] = _axis(16, 24, 32, 40, 48, 56)
    liger_kernels: list[list[str]] | None = _axis()
    torch_compile: list[bool] | None = _axis()
    torch_compile_mode: list[str] | None = _axis()
    loss_type: list[str] | None = _axis()
    liger_chunk_mem_const: list[int] | None = _axis()
    liger_implementation: list[str] | None = _axis()
    use_hub_kernels: list[bool] | None = _axis()
    attn_implementation: list[str] | None = _axis()
    gradient_checkpointing: list[bool] | None = _axis()
    peft: list[str | None] | None = _axis()
    lora_r: list[int] | None = _axis()
    lora_alpha: list[int] | None = _axis()
    lora_dropout: list[float] | None = _axis()
    lora_target_modules: list[list[str]] | None = _axis()
    load_in_4bit: list[bool] | None = _axis()
    optim: list[str] | None = _axis()
    max_seq_length: list[int] | None = _axis()
    packing: list[bool] | None = _axis()
    packing_strategy: list[str] | None = _axis()
    padding_free: list[bool] | None = _axis()
    gradient_accumulation_steps: list[int] | None = _axis()
    bf16: list[bool] | None = _axis()
    fp16: list[bool] | None = _axis()
    weights_dtype: list[str | None] | None = _axis()
    autocast: list[bool] | None = _axis()
    learning_rate: list[float] | None = _axis()
    weight_decay: list[float] | None = _axis()
    max_grad_norm: list[float] | None = _axis()
    warmup_ratio: list[float] | None = _axis()
    lr_scheduler_type: list[str] | None = _axis()
    dataset_format: list[str] | None = _axis()
    max_steps: list[int] | None = _axis()
    n_warmup_steps: list[int] | None = _axis()
    num_train_epochs: list[float] | None = _axis()
    per_device_eval_batch_size: list[int] | None = _axis()
    eval_strategy: list[str] | None = _axis()
    save_strategy: list[str] | None = _axis()
    logging_steps: list[int] | None = _axis()
    include_num_input_tokens_seen: list[bool] | None = _axis()
    seed: list[int] | None = _axis()
    n_gpus: list[int] | None = _axis()
    sharding: list[str] | None = _axis()
    reshard_after_forward: list[bool] | None = _axis()
    gpu_memory_limit_gib: list[float | None] | None = _axis()
    environment: list[str] | None = _axis()
    arms: list[str] | None = None
    baseline: str | None = None
    # As JSON, since Flyte has no type for values of any kind.
    ladder: dict[str, str] | None = None

    def __post_init__(self) -> None:
        for name in AXES:
            _check_axis(f"experiment_args.{name}", name, getattr(self, name))
        _check_ladder(self)
        if self.baseline is not None and not isinstance(self.baseline, str):
            raise InvalidInput(f"experiment_args.baseline: {show(self.baseline)} is not a text")
        if self.arms is not None and not (
            isinstance(self.arms, list) and all(isinstance(name, str) for name in self.arms)
        ):
            raise InvalidInput(f"experiment_args.arms: {show(self.arms)} is not a list of names")

    @classmethod
    def from_mapping(cls, mapping: Any) -> ExperimentArguments:
        """Read a mapping as it comes out of YAML or JSON.

        Raises:
            InvalidInput: if a key is unknown or a value does not fit.
        """
        where = "experiment_args"
        if isinstance(mapping, Mapping):
            for key in mapping:
                if key in NO_AXIS:
                    raise InvalidInput(f"{where}.{key}: cannot be an axis: {NO_AXIS[key]}")
            for key, value in known_keys(cls, where, mapping).items():
                if value is None:
                    raise InvalidInput(
                        f"{where}.{key}: null is no value; list some or leave the line out"
                    )
        values = read_fields(cls, where, mapping)
        if isinstance(ladder := values.get("ladder"), Mapping):
            values["ladder"] = {
                step: settings if isinstance(settings, str) else json.dumps(settings, default=str)
                for step, settings in ladder.items()
            }
        return cls(**values)

    @classmethod
    def from_json(cls, text: str, **_: Any) -> ExperimentArguments:
        """Read JSON as strictly as `from_mapping`; flytekit's command line calls this method."""
        given = json.loads(text)
        if isinstance(given, dict):  # flytekit writes null for an axis that is not listed
            given = {k: v for k, v in given.items() if v is not None}
        return cls.from_mapping(given)

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """The settings that each step of the ladder adds, by its name; empty without a ladder."""
        return {step: json.loads(settings) for step, settings in (self.ladder or {}).items()}

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of every axis that is listed, including the batch size and `use_liger`."""
        given = {name: getattr(self, name) for name in AXES}
        return {name: values for name, values in given.items() if values is not None}


AXES = tuple(
    f.name
    for f in dataclasses.fields(ExperimentArguments)
    if f.name not in ("arms", "baseline", "ladder")
)


def _check_ladder(experiment: ExperimentArguments) -> None:
    """Check the steps of a ladder, which stands in place of all axes but the batch size."""
    ladder, key = experiment.ladder, "experiment_args.ladder"
    if ladder is None:
        return
    if not isinstance(ladder, Mapping) or not ladder:
        raise InvalidInput(f"{key}: {show(ladder)} is not a mapping of steps to their settings")
    for name in AXES:
        if name not in ("use_liger", BATCH_SIZE) and getattr(experiment, name) is not None:
            raise InvalidInput(f"experiment_args.{name}: cannot be an axis beside a ladder")
    if experiment.use_liger not in ([False], _DEFAULT_ARMS):
        raise InvalidInput(f"{key}: begins without Liger; set use_liger: true in a step")
    for step, text in ladder.items():
        if not isinstance(step, str) or not step.strip() or not step.isprintable():
            raise InvalidInput(f"{key}: {show(step)} is no name of a step")
        try:
            settings = json.loads(text)
        except (TypeError, ValueError):
            settings = text
        if not isinstance(settings, Mapping) or not settings:
            raise InvalidInput(f"{key}.{step}: {show(settings)} is not a mapping of settings")
        for name, value in settings.items():
            if name not in AXES or name == BATCH_SIZE:
                near = did_you_mean(str(name), AXES)
                raise InvalidInput(f"{key}.{step}: {show(name)} is no setting of a step{near}")
            check_field(TrainingArguments, f"{key}.{step}", name, value)


def _check_axis(key: str, name: str, values: Any) -> None:
    if values is None and name not in ("use_liger", BATCH_SIZE):
        return  # not an axis of this grid
    if not isinstance(values, list):
        raise InvalidInput(f"{key}: {show(values)} is not a list; write [{show(values)}]")
    if not values:
        raise InvalidInput(f"{key}: [] is empty; list at least one value")
    if len(values) > MAX_GRID:
        raise InvalidInput(
            f"{key}: lists {len(values)} values; at most {MAX_GRID} runs are allowed"
        )
    for value in values:
        check_field(TrainingArguments, "experiment_args", name, value)
    # Lists of kernels that differ only in their order are the same value.
    refuse_repeated(key, [sorted(v) if isinstance(v, list) else v for v in values])
