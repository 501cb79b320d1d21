"""The inputs file: read and checked before anything is downloaded or started."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.experiment.axes import AXES, NO_AXIS, ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.validation import (
    InvalidInput,
    at_least,
    check_field,
    known_keys,
    one_line,
    setting,
    show,
)


@dataclass(frozen=True)
class ExperimentInputs:
    """The contents of an inputs file, which are the workflow's inputs.

    Raises:
        InvalidInput: if `n_runs` or `attempt` is not a whole number above 0.
    """

    experiment_args: ExperimentArguments = field(default_factory=ExperimentArguments)
    training_args: TrainingArguments = field(default_factory=TrainingArguments)
    n_runs: int = setting(3, at_least(1))
    attempt: int = setting(1, at_least(1))

    def __post_init__(self) -> None:
        for name in ("n_runs", "attempt"):
            check_field(ExperimentInputs, "", name, getattr(self, name))

    @functools.cached_property
    def grid(self) -> list[TrainingArguments]:
        """The conditions that the inputs ask for; see `expand_grid`."""
        return expand_grid(self.experiment_args, self.training_args, self.n_runs)


class InvalidInputsFile(InvalidInput):
    """A fault of the file itself rather than of a key in it. Its message begins with its name."""


def read_inputs_file(path: str | Path) -> ExperimentInputs:
    """Read and check an inputs file.

    Raises:
        InvalidInputsFile: if the file cannot be read.
        InvalidInput: if anything in it cannot be run.
    """
    return read_inputs(read_content(path))


def read_inputs(content: Mapping[Any, Any]) -> ExperimentInputs:
    """Check the contents of an inputs file, or what was given in place of one.

    Raises:
        InvalidInput: naming the key of the first value that cannot be run.
    """
    values = known_keys(ExperimentInputs, "", content)
    readers = {"experiment_args": ExperimentArguments, "training_args": TrainingArguments}
    for key, reader in readers.items():
        if key in values:
            values[key] = reader.from_mapping(values[key])  # type: ignore[attr-defined]
    inputs = ExperimentInputs(**values)
    _refuse_arguments_set_by_the_grid(
        content.get("training_args") or {}, content.get("experiment_args") or {}
    )
    _ = inputs.grid  # kept; raises where arguments cannot be run together
    return inputs


def read_content(path: str | Path) -> dict[Any, Any]:
    """The keys and values of a YAML or JSON file, unchecked.

    Raises:
        InvalidInputsFile: as `parse_content`, or if the file cannot be read.
    """
    name = Path(path).name
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInputsFile(f"{name}: cannot be read: {reason}") from None
    return parse_content(text, name)


def parse_content(text: str, name: str) -> dict[Any, Any]:
    """The keys and values of a text in YAML or JSON, unchecked.

    Args:
        name: what the messages call the text.

    Raises:
        InvalidInputsFile: if the text is empty, in neither form, no mapping, or gives a key twice.
    """
    content = _parse(text, name)
    if content is None:
        raise InvalidInputsFile(f"{name}: is empty; see phi3_inputs.yaml for what belongs in it")
    if not isinstance(content, dict):
        raise InvalidInputsFile(
            f"{name}: {show(content)} is not a mapping; "
            f"its keys are {', '.join(f.name for f in dataclasses.fields(ExperimentInputs))}"
        )
    return content


def _parse(text: str, name: str) -> Any:
    # JSON may be indented by tabs, YAML may not. Within a text JSON writes a tab as \\t.
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")
    try:
        content = yaml.safe_load(text)
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), set())
    except InvalidInput as error:
        raise InvalidInputsFile(f"{name}: {error}") from None
    # PyYAML itself stumbles over tags on values that they do not fit, such as `!!int ""`.
    except (
        *(yaml.YAMLError, ValueError, RecursionError),
        *(LookupError, AttributeError, TypeError),
    ) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise InvalidInputsFile(f"{name}: {one_line(problem)}{where}") from None
    return content


def _refuse_repeated_keys(node: yaml.Node | None, seen_nodes: set[int]) -> None:
    """Refuse a mapping that has a key twice, where YAML would take the last without a word."""
    if id(node) in seen_nodes:  # an alias; through nested aliases a node recurs without limit
        return
    seen_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise InvalidInput(f"{one_line(key.value)} is given twice, again at line {line}")
            seen.add(str(key.value))
            _refuse_repeated_keys(value, seen_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, seen_nodes)


def _refuse_arguments_set_by_the_grid(training_args: dict[str, Any], axes: dict[str, Any]) -> None:
    """Refuse a training argument that the grid sets in every run: it would have no effect."""
    set_by_the_grid = {
        "run": NO_AXIS["run"],
        "arm_name": NO_AXIS["arm_name"],
        **{name: f"list it in experiment_args.{name}" for name in ("use_liger", BATCH_SIZE)},
        **{name: f"experiment_args.{name} lists its values" for name in axes if name in AXES},
    }
    for key, suggestion in set_by_the_grid.items():
        if key in training_args:
            raise InvalidInput(
                f"training_args.{key}: {show(training_args[key])} would have no effect here; "
                f"{suggestion}"
            )
