"""Whether two runs had the same software and card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from liger_benchmark.run import Run

# What of two runs' environments has to be equal, and what it is called.
_ENVIRONMENT = {
    "code": "the benchmark's code",
    "python": "the version of Python",
    "packages": "the versions of packages",
    "variables": "the environment variables",
    "triton_interpreter": "the use of Triton's interpreter",
}
_OF_ENVIRONMENT = ("python", "packages")
_GPU = {"name": "the GPU", "memory_GiB": "the GPU's memory", "driver": "the driver",
        "power_limit_W": "the power limit"}  # fmt: skip
# Packages that only watch or transport a run.
_NOT_MEASURED = ("flytekit", "wandb")


def other_conditions(run: Run, reference: Run, whom: str) -> Iterator[str]:
    """Differences of software and card from the reference's run; `whom` names its arm."""
    one, other = (r.record.get("environment", {}) for r in (run, reference))
    others = run.training_args.environment != reference.training_args.environment
    for key, words in _ENVIRONMENT.items():
        if others and key in _OF_ENVIRONMENT:
            continue  # that is what the arms are compared for
        if key in one and key in other and _compared(one[key]) != _compared(other[key]):
            yield f"{words} differ from {whom}'s: {_difference(one[key], other[key])}"
    cards = [environment.get("gpu") or {} for environment in (one, other)]
    for key, words in _GPU.items():
        if None not in (cards[0].get(key), cards[1].get(key)) and cards[0][key] != cards[1][key]:
            yield f"{words} differs from {whom}'s: {cards[0][key]}, not {cards[1][key]}"


def _compared(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: v for key, v in value.items() if key not in _NOT_MEASURED}


def _difference(one: Any, other: Any) -> str:
    """The first difference of two values in words: `torch 2.13.0, not 2.11.0`."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return f"{one}, not {other}"
    for key in dict.fromkeys((*one, *other)):
        if key not in _NOT_MEASURED and one.get(key) != other.get(key):
            return f"{key} {one.get(key, 'unset')}, not {other.get(key, 'unset')}"
    return ""
