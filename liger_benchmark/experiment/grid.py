"""The grid of an experiment: its axes, the arms that they make, and how many hours it will take.

A field of the training arguments becomes an axis by being listed. The batch size is what results
are plotted against; all other axes together make the arms.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liger_benchmark.arguments import (
    BATCH_SIZE,
    DEFAULT_LIGER_KERNELS,
    LIGER,
    VANILLA,
    TrainingArguments,
)
from liger_benchmark.validation import (
    InvalidInput,
    check_field,
    did_you_mean,
    known_keys,
    read_fields,
    refuse_repeated,
    show,
)

MAX_GRID = 10_000

# What is no axis, and why.
NO_AXIS = {
    "model_name": "an experiment is about one model; run the command once for each",
    "dataset_name": "an experiment is about one dataset; run the command once for each",
    "report_to": "it changes nothing about a run",
    "require_idle_gpu": "it changes nothing about a run",
    "run": "n_runs counts the runs",
    "arm_name": "arms are named by their axes",
}
# Their values say what they are about.
_TELLING = ("optim", "loss_type", "attn_implementation", "lr_scheduler_type", "dataset_format")


def _axis(*values: Any) -> Any:
    return field(default_factory=lambda: list(values) or None)


@dataclass(frozen=True)
class ExperimentArguments:
    """The axes of the grid: every combination of the listed values is a condition.

    `arms` names those of the combinations that are to be run, all by default; `baseline` the one
    that the others are compared with: vanilla if it is there, else the first without
    Liger, else the first.

    Raises:
        InvalidInput: if an axis is empty, names a value twice or holds one that cannot be run.
    """

    use_liger: list[bool] = _axis(True, False)
    per_device_train_batch_size: list[int] = _axis(16, 24, 32, 40, 48, 56)
    liger_kernels: list[list[str]] | None = _axis()
    torch_compile: list[bool] | None = _axis()
    loss_type: list[str] | None = _axis()
    attn_implementation: list[str] | None = _axis()
    gradient_checkpointing: list[bool] | None = _axis()
    optim: list[str] | None = _axis()
    max_seq_length: list[int] | None = _axis()
    gradient_accumulation_steps: list[int] | None = _axis()
    bf16: list[bool] | None = _axis()
    learning_rate: list[float] | None = _axis()
    weight_decay: list[float] | None = _axis()
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
    gpu_memory_limit_gib: list[float | None] | None = _axis()
    arms: list[str] | None = None
    baseline: str | None = None

    def __post_init__(self) -> None:
        for name in AXES:
            _check_axis(f"experiment_args.{name}", name, getattr(self, name))
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
        return cls(**read_fields(cls, where, mapping))

    @classmethod
    def from_json(cls, text: str, **_: Any) -> ExperimentArguments:
        """The reader flytekit's command line looks for: as strict as `from_mapping`."""
        given = json.loads(text)
        if isinstance(given, dict):  # flytekit writes an axis that is not listed as null
            given = {k: v for k, v in given.items() if v is not None}
        return cls.from_mapping(given)

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of every axis that is listed, the batch size and `use_liger` among them."""
        given = {name: getattr(self, name) for name in AXES}
        return {name: values for name, values in given.items() if values is not None}


AXES = tuple(
    f.name for f in dataclasses.fields(ExperimentArguments) if f.name not in ("arms", "baseline")
)


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
    # The order of a list within an axis, of kernels, means nothing.
    refuse_repeated(key, [sorted(v) if isinstance(v, list) else v for v in values])


def expand_grid(
    experiment_args: ExperimentArguments, training_args: TrainingArguments, n_runs: int
) -> list[TrainingArguments]:
    """Every condition of the experiment, in the order in which they run.

    Repeats are outermost and arms innermost: whatever drifts during an hour (temperature, clocks,
    a neighbour) then touches all arms alike.

    Returns:
        n_runs * batch sizes * arms arguments, no two alike. Combinations that differ in nothing
        that is run (vanilla with other `liger_kernels`) are one arm.

    Raises:
        InvalidInput: if `n_runs` is below 1, the grid is too large to be meant, an arm cannot be
            run, or `arms` or `baseline` names one that is not there.
    """
    if isinstance(n_runs, bool) or not isinstance(n_runs, int) or n_runs < 1:
        raise InvalidInput(f"n_runs: {show(n_runs)} must be 1 or more")
    arms = arms_of(experiment_args, training_args.liger_kernels)
    sizes = experiment_args.per_device_train_batch_size
    size = len(arms) * len(sizes) * n_runs
    if size > MAX_GRID:
        raise InvalidInput(
            f"n_runs: {n_runs} makes a grid of {size} runs; at most {MAX_GRID} are allowed"
        )
    for name, settings in arms.items():
        try:
            dataclasses.replace(training_args, **settings)
        except InvalidInput as error:
            if len(arms) == 1 or _is_alone_wrong(settings):
                raise
            reason = str(error).removeprefix("training_args.")
            raise InvalidInput(
                f"experiment_args: the arm {show(name)} cannot be run ({reason}), "
                "or name the arms to run in experiment_args.arms"
            ) from None
    grid = [
        dataclasses.replace(
            training_args,
            **{"run": run, BATCH_SIZE: batch_size, "arm_name": _unless_plain(name)} | settings,
        )
        for run, batch_size, (name, settings) in itertools.product(
            range(1, n_runs + 1), sizes, arms.items()
        )
    ]
    _refuse_equal_folders(grid)
    return grid


def _refuse_equal_folders(grid: Sequence[TrainingArguments]) -> None:
    """Two conditions whose names differ in signs that no folder's name has would be one result."""
    arms: dict[str, str] = {}
    for arguments in grid:
        other = arms.setdefault(arguments.slug, arguments.arm)
        if other != arguments.arm:
            raise InvalidInput(
                f"experiment_args: the arms {show(other)} and {show(arguments.arm)} would be one "
                "folder; choose values that differ in more than a sign, or run them apart"
            )


def arms_of(
    experiment_args: ExperimentArguments, liger_kernels: Sequence[str] = DEFAULT_LIGER_KERNELS
) -> dict[str, dict[str, Any]]:
    """The arms of the grid by name, each with its values on every axis but the batch size.

    Args:
        liger_kernels: those of all arms with Liger, unless they are an axis.

    Raises:
        InvalidInput: if there are too many, none is left, or a name is not one of theirs.
    """
    axes = {name: values for name, values in experiment_args.axes.items() if name != BATCH_SIZE}
    n_combinations = 1
    for values in axes.values():
        n_combinations *= len(values)
    if n_combinations > MAX_GRID:
        raise InvalidInput(
            f"experiment_args: its axes make {n_combinations} arms; at most {MAX_GRID} runs are "
            "allowed"
        )
    varying = [name for name, values in axes.items() if len(values) > 1]
    arms: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*axes.values()):
        settings = dict(zip(axes, combination, strict=True))
        if not settings["use_liger"]:
            settings.pop("liger_kernels", None)
        arms.setdefault(_arm_name(settings, varying, liger_kernels), settings)
    if experiment_args.arms is not None:
        refuse_repeated("experiment_args.arms", experiment_args.arms)
        for name in experiment_args.arms:
            _refuse_unknown_arm("arms", name, arms)
        arms = {name: arms[name] for name in arms if name in experiment_args.arms}
        if not arms:
            raise InvalidInput("experiment_args.arms: [] is empty; list at least one arm")
    if experiment_args.baseline is not None:
        _refuse_unknown_arm("baseline", experiment_args.baseline, arms)
    return arms


def _refuse_unknown_arm(key: str, name: str, arms: Mapping[str, Any]) -> None:
    if name not in arms:
        raise InvalidInput(
            f"experiment_args.{key}: {show(name)} is no arm of this grid"
            f"{did_you_mean(name, arms)}; its arms are {', '.join(arms)}"
        )


def describe_grid(grid: list[TrainingArguments]) -> str:
    """The grid's size in words: `36 runs: 2 arms (Liger, vanilla) × 6 batch sizes × 3 repeats`."""
    arms = list(dict.fromkeys(arguments.arm for arguments in grid))
    sizes = {arguments.per_device_train_batch_size for arguments in grid}
    repeats = max(arguments.run for arguments in grid)

    def count(n: int, thing: str) -> str:
        return f"{n} {thing}" if n == 1 else f"{n} {thing}s"

    return (
        f"{count(len(grid), 'run')}: {count(len(arms), 'arm')} ({', '.join(arms)}) × "
        f"{count(len(sizes), 'batch size')} × {count(repeats, 'repeat')}"
    )


def _arm_name(settings: Mapping[str, Any], varying: list[str], liger_kernels: Sequence[str]) -> str:
    """A name from what varies: `Liger`, `vanilla + torch_compile`, `Liger (rope) + seed=7`.

    A value that is the field's default goes without saying.
    """
    defaults = TrainingArguments()
    base = VANILLA
    if settings["use_liger"]:
        kernels = settings.get("liger_kernels", liger_kernels)
        plain = sorted(kernels) == sorted(DEFAULT_LIGER_KERNELS)
        base = LIGER if plain else f"{LIGER} ({', '.join(kernels)})"
    return " + ".join([base, *_labels(settings, varying, defaults)])


def _labels(
    settings: Mapping[str, Any], varying: list[str], defaults: TrainingArguments
) -> Iterator[str]:
    for name in varying:
        if name in ("use_liger", "liger_kernels"):
            continue
        value = settings[name]
        if value == getattr(defaults, name):
            continue
        if isinstance(value, bool) or value is None:
            yield name if value else f"no {name}"
        elif name in _TELLING:
            yield str(value)
        else:
            # As short as it can be and still be told from every other value.
            short = format(value, ".6g") if isinstance(value, float) else str(value)
            yield f"{name}={short if short == str(value) or float(short) == value else value}"


def _unless_plain(name: str) -> str:
    """Empty for an arm whose name says no more than its `use_liger`: `arm` then works it out."""
    return "" if name in (VANILLA, LIGER) else name


def _is_alone_wrong(settings: Mapping[str, Any]) -> bool:
    """Whether an arm's Liger settings contradict each other whatever else the grid holds."""
    try:
        TrainingArguments(
            use_liger=settings["use_liger"],
            liger_kernels=settings.get("liger_kernels", list(DEFAULT_LIGER_KERNELS)),
        )
    except InvalidInput:
        return True
    return False
