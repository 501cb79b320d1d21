"""The gate that every cell of a grid passes before it is compared: valid, or invalid with a reason.

That a run completed does not make it valid: a wrong kernel is fast. A cell, the runs of an arm at a
batch size, is invalid if one of its completed runs

- has a loss or gradient norm that is not finite;
- was not proved to train what its arm says (see `training.proof` and `training.activation`);
- or, held against the baseline's run of the same batch size and repeat, ran with other software or
  on another kind of card, started from other weights, trained on other batches, or computed other
  gradients or losses than rounding explains, where the two arms should agree.

What was not recorded is not held against a run: results of earlier versions have fewer proofs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from liger_benchmark.analysis.arms import (
    DECIDES_ROWS,
    DECIDES_WEIGHTS,
    same_gradients,
    same_maths,
)
from liger_benchmark.analysis.gradient_difference import gradient_difference
from liger_benchmark.analysis.intervals import largest_relative_difference
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.training.proof import mismatch
from liger_benchmark.wording import small_fraction

# Largest relative difference of two arms' losses that rounding explains.
# fp32: Liger's kernels agree with transformers' to 5e-7 in one step (measured); forty SGD steps
# carry the difference on, and 1e-4 leaves two hundred times that.
FP32_LOSS_BOUND = 1e-4
# bf16 has 8 significant bits: rounding one number is off by up to 2**-9 = 2e-3 of it. A loss is a
# mean over thousands of tokens, in which single roundings average out, so the arms should stay
# closer than one rounding; on an H100 (results/) they stay within 3.2e-4 over forty steps.
BF16_LOSS_BOUND = 2e-3

Cell = tuple[str, int]


def invalid_reasons(runs: Sequence[Run], baseline: str) -> dict[Cell, str]:
    """The invalid cells of a grid, by arm and batch size, each with its reason in one line.

    Args:
        baseline: the arm that the others are held against.
    """
    completed = [run for run in runs if run.outcome == COMPLETED and len(run.history)]
    references = {
        (args.per_device_train_batch_size, args.run): run
        for run in completed
        if (args := run.training_args).arm == baseline
    }
    reasons: dict[Cell, str] = {}
    for run in completed:
        args = run.training_args
        cell = (args.arm, args.per_device_train_batch_size)
        reference = references.get((args.per_device_train_batch_size, args.run))
        reason = _reason(run, reference if reference is not run else None)
        if reason is not None:
            reasons.setdefault(cell, reason)
    return reasons


def loss_bound(args: TrainingArguments) -> float:
    """The largest relative difference of losses that rounding explains."""
    return BF16_LOSS_BOUND if args.bf16 else FP32_LOSS_BOUND


def loss_difference(one: Run, other: Run) -> float | None:
    """The largest relative difference of two runs' losses at the same step; None without steps."""
    if not len(one.history) or not len(other.history):
        return None
    losses = [run.history.set_index("step")["loss"] for run in (one, other)]
    steps = losses[0].index.intersection(losses[1].index)
    return largest_relative_difference(losses[0][steps], losses[1][steps])


def _reason(run: Run, reference: Run | None) -> str | None:
    """Why the run is invalid, the gravest reason; None if it is valid.

    A run is not held against one that is itself invalid.
    """
    of_itself = next(_doubts(run), None)
    if of_itself is not None or reference is None or next(_doubts(reference), None) is not None:
        return of_itself
    return next(_differences(run, reference), None)


def _doubts(run: Run) -> Iterator[str]:
    """What speaks against a run by itself."""
    yield from _not_finite(run)
    yield from _not_proved(run)


def _differences(run: Run, reference: Run) -> Iterator[str]:
    """What speaks against a run beside the baseline's."""
    yield from _other_conditions(run, reference)
    yield from _other_numbers(run, reference)


def _not_finite(run: Run) -> Iterator[str]:
    for column, words in (("loss", "loss"), ("grad_norm", "gradient norm")):
        if column not in run.history:
            continue
        values = run.history[column].to_numpy(dtype=float)
        if not np.isfinite(values).all():
            step = run.history["step"].iloc[int(np.argmin(np.isfinite(values)))]
            yield f"the {words} is not a finite number at step {step}"


def _not_proved(run: Run) -> Iterator[str]:
    args = run.training_args
    liger = run.record.get("liger")
    if liger:
        active = {part for part, n in liger.items() if part != "parts" and n}
        if active and not args.use_liger:
            yield f"parts of Liger were active: {', '.join(sorted(active))}"
        if args.use_liger and not active:
            yield "no part of Liger was active"
        if args.use_liger:
            yield from _partly_active(liger)
    loss = run.record.get("loss")
    if loss is not None and loss != args.loss_type:
        yield f"loss_type: {args.loss_type} was asked for, and the live model computed {loss}"
    proof = run.record.get("proof", {})
    if problem := mismatch(proof, args) if proof else None:
        yield problem
    if proof.get("weights_changed") is False:
        yield "the optimizer changed no weight: it does nothing, or the learning rate is too small"


def _partly_active(liger: dict[str, Any]) -> Iterator[str]:
    """Parts of which Liger's kernel runs in some places and not in others."""
    expected = liger.get("expected", {})
    for part, n in expected.items():
        if liger.get(part, 0) != n:
            yield f"Liger's {part} was active in {liger.get(part, 0)} of {n} places"


# What of two runs' environments has to be equal, and what it is called.
_ENVIRONMENT = {
    "code": "the benchmark's code",
    "python": "the version of Python",
    "packages": "the versions of packages",
    "variables": "the environment variables",
    "triton_interpreter": "the use of Triton's interpreter",
}
_GPU = {"name": "the GPU", "memory_GiB": "the GPU's memory", "driver": "the driver",
        "power_limit_W": "the power limit"}  # fmt: skip
# Packages that only watch or transport a run.
_NOT_MEASURED = ("flytekit", "wandb")


def _other_conditions(run: Run, reference: Run) -> Iterator[str]:
    """Differences of software, card, start and batches from the baseline's run."""
    one, other = (r.record.get("environment", {}) for r in (run, reference))
    for key, words in _ENVIRONMENT.items():
        if key in one and key in other and _compared(one[key]) != _compared(other[key]):
            yield f"{words} differ from the baseline's: {_difference(one[key], other[key])}"
    cards = [environment.get("gpu") or {} for environment in (one, other)]
    for key, words in _GPU.items():
        if None not in (cards[0].get(key), cards[1].get(key)) and cards[0][key] != cards[1][key]:
            yield f"{words} differs from the baseline's: {cards[0][key]}, not {cards[1][key]}"
    args, reference_args = run.training_args, reference.training_args
    if _same(args, reference_args, DECIDES_WEIGHTS):
        if _differs(run, reference, "weights", "checksum"):
            yield "it started from other weights than the baseline"
        if _differs(run, reference, "weights", "n_parameters"):
            yield "its model has another number of parameters than the baseline's"
    if _same(args, reference_args, DECIDES_ROWS):
        if _differs(run, reference, "batches", "checksum"):
            yield "it trained on other batches than the baseline"
        if _differs(run, reference, "dataset", "checksum"):
            yield "it was given other rows than the baseline"


def _other_numbers(run: Run, reference: Run) -> Iterator[str]:
    """Gradients and losses that differ from the baseline's by more than rounding explains."""
    args, reference_args = run.training_args, reference.training_args
    one, other = (r.record.get("gradients") for r in (run, reference))
    if one and other and same_gradients(args, reference_args):
        difference = gradient_difference(one, other, args.bf16)
        if difference.above_bound:
            yield (
                "its gradients at the first step differ from the baseline's by "
                f"{small_fraction(max(difference.direction, difference.norm))} in "
                f"{difference.parameter}"
            )
    if same_maths(args, reference_args):
        of_losses = loss_difference(run, reference)
        if of_losses is not None and not of_losses <= loss_bound(args):
            yield (
                f"its losses differ from the baseline's by up to {small_fraction(of_losses)}, and "
                f"rounding explains {small_fraction(loss_bound(args))}"
            )


def _same(one: TrainingArguments, other: TrainingArguments, names: Sequence[str]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _differs(one: Run, other: Run, part: str, key: str) -> bool:
    values = [run.record.get(part, {}).get(key) for run in (one, other)]
    return None not in values and values[0] != values[1]


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
