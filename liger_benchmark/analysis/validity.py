"""The gate that every cell of a grid passes before it is compared: valid, or invalid with a reason.

That a run completed does not make it valid: a wrong kernel is fast. A cell, the runs of an arm at a
batch size, is invalid if one of its runs that completed or ran out of memory

- has a loss or gradient norm that is not finite;
- was not proved to train what its arm says (see `training.proof` and `training.activation`);
- or, held against another arm's run of the same batch size and repeat, ran with other software or
  on another kind of card, started from other weights, trained on other batches, or computed other
  gradients or losses than rounding explains, where the two arms should agree;
- or started from other weights or trained on other batches than another repeat.

The other arm is the baseline wherever the baseline has a valid run and should agree. Elsewhere it
is the first arm that has and should: where the baseline ran out of memory, or where the grid has an
axis, such as the optimiser, on which arms compute different things.

What was not recorded is not held against a run: results of earlier versions have fewer proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from liger_benchmark.analysis.arms import (
    DECIDES_ROWS,
    DECIDES_WEIGHTS,
    arguments_by_arm,
    same_gradients,
    same_maths,
)
from liger_benchmark.analysis.gradient_difference import gradient_difference
from liger_benchmark.analysis.loss_difference import loss_bound, loss_difference
from liger_benchmark.analysis.other_conditions import other_conditions
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import LIGER_KERNELS
from liger_benchmark.run import COMPLETED, OUT_OF_MEMORY, Run
from liger_benchmark.training.liger_kernels import is_default_set
from liger_benchmark.training.proof import mismatch
from liger_benchmark.wording import small_fraction

Cell = tuple[str, int]
_ShouldAgree = Callable[[TrainingArguments, TrainingArguments], bool]
# Of a run, another arm's run and what to call that arm: the differences in words.
_Differences = Callable[[Run, Run, str], Iterator[str]]


@dataclass(frozen=True)
class Doubt:
    """What makes a run's cell invalid.

    Attributes:
        reason: in one line.
        reference: the run that it was held against; None if it is wrong by itself.
        of_rows: the two trained on other rows, so that nothing of the grid may be compared.
    """

    run: Run
    reason: str
    reference: Run | None = None
    of_rows: bool = False


def invalid_reasons(runs: Sequence[Run], baseline: str) -> dict[Cell, str]:
    """The invalid cells of a grid, by arm and batch size, each with its reason in one line.

    Args:
        baseline: the arm that the others are held against first.
    """
    reasons: dict[Cell, str] = {}
    for doubt in find_doubts(runs, baseline):
        args = doubt.run.training_args
        reasons.setdefault((args.arm, args.per_device_train_batch_size), doubt.reason)
    return reasons


def find_doubts(runs: Sequence[Run], baseline: str) -> Iterator[Doubt]:
    """The first doubt about each run of a grid, by arm, the baseline first.

    Args:
        baseline: as in `invalid_reasons`.
    """
    arms = arguments_by_arm(runs)
    order = sorted(arms, key=lambda arm: (arm != baseline, arms[arm].use_liger))
    # By batch size the valid runs so far, in `order`.
    references: dict[int, list[Run]] = {}
    for run in sorted(runs, key=lambda run: order.index(run.training_args.arm)):
        if run.outcome not in (COMPLETED, OUT_OF_MEMORY):
            continue
        of_size = references.setdefault(run.training_args.per_device_train_batch_size, [])
        doubt = next((Doubt(run, reason) for reason in _doubts(run)), None)
        doubt = doubt or next(_differences(run, of_size, baseline), None)
        if doubt is None:
            of_size.append(run)
        else:
            yield doubt


def _doubts(run: Run) -> Iterator[str]:
    """What speaks against a run by itself."""
    yield from _not_finite(run)
    yield from _not_proved(run)


def _differences(run: Run, of_size: Sequence[Run], baseline: str) -> Iterator[Doubt]:
    """What speaks against a run beside the first of `of_size` that should agree with it.

    Rows and start are the same in all repeats; everything else is compared within one.
    """
    repeat = run.training_args.run
    references = [other for other in of_size if other.training_args.run == repeat]
    others = [other for other in of_size if other.training_args.run != repeat]
    is_whole = run.outcome == COMPLETED
    completed = [other for other in references if is_whole and other.outcome == COMPLETED]
    comparisons: tuple[tuple[Sequence[Run], _ShouldAgree, _Differences], ...] = (
        (references, lambda one, other: True, other_conditions),
        (completed, lambda one, other: one.max_steps == other.max_steps, _missing_parts),
        (references, _agree_in(DECIDES_WEIGHTS), _other_start),
        (others, _agree_in(DECIDES_WEIGHTS), _other_start),
        (references, _agree_in(DECIDES_ROWS), _other_rows),
        (others, _agree_in(DECIDES_ROWS), _other_rows),
        (completed, same_gradients, _other_gradients),
        (completed, same_maths, _other_losses),
    )
    for candidates, should_agree, differences in comparisons:
        for reference in candidates:
            if should_agree(run.training_args, reference.training_args):
                whom = _called(reference, run, baseline)
                of_rows = differences is _other_rows
                for reason in differences(run, reference, whom):
                    yield Doubt(run, reason, reference, of_rows)
                break


def _called(reference: Run, run: Run, baseline: str) -> str:
    """What to call the run that `run` is held against: its arm, or its repeat."""
    arm, repeat = reference.training_args.arm, reference.training_args.run
    if repeat == run.training_args.run:
        return "the baseline" if arm == baseline else arm
    return f"repeat {repeat}" if arm == run.training_args.arm else f"{arm}'s repeat {repeat}"


def _not_finite(run: Run) -> Iterator[str]:
    for column, words in (("loss", "loss"), ("grad_norm", "gradient norm")):
        if column not in run.history or (column == "grad_norm" and run.training_args.fp16):
            continue  # fp16's scaler skips a step whose scaled gradients overflow
        values = run.history[column].to_numpy(dtype=float)
        if not np.isfinite(values).all():
            step = run.history["step"].iloc[int(np.argmin(np.isfinite(values)))]
            yield f"the {words} is not a finite number at step {step}"


def _not_proved(run: Run) -> Iterator[str]:
    args = run.training_args
    if liger := run.record.get("liger"):
        yield from _other_kernels(liger, args)
    loss = run.record.get("loss")
    if loss is not None and loss != args.loss_type:
        yield f"loss_type: {args.loss_type} was asked for, and the live model computed {loss}"
    proof = run.record.get("proof", {})
    if problem := mismatch(proof, args) if proof else None:
        yield problem
    yield from _ranks_disagree(run)
    if proof.get("weights_changed") is False:
        yield "the optimizer changed no weight: it does nothing, or the learning rate is too small"


def _ranks_disagree(run: Run) -> Iterator[str]:
    """What the ranks of a group have to have in common and did not."""
    group = run.record.get("group", {})
    for what in ("weights", "losses", "gradients"):
        if group.get(f"{what}_agree") is False:
            yield f"the ranks of its group had different {what}"


def _other_kernels(liger: dict[str, Any], args: TrainingArguments) -> Iterator[str]:
    """Kernels of Liger that were active without having been asked for, or not in all places.

    Of the default set an architecture may lack kernels, or Liger may have none of them for it:
    `expected` has the places that are left, see `training.activation.expected_parts`. A record of
    an earlier version has no such part; there all places of a kernel that was asked for count.
    """
    active = {part: liger[part] for part in LIGER_KERNELS if liger.get(part)}
    if not args.use_liger:
        if active:
            yield f"parts of Liger were active: {', '.join(sorted(active))}"
        return
    if not active:
        yield "no part of Liger was active"
    asked = set(liger.get("expected", args.liger_kernels))
    if not is_default_set(args.liger_kernels) and (missing := sorted(asked - set(active))):
        yield f"parts of Liger were not active: {', '.join(missing)}"
    if unasked := sorted(set(active) - asked):
        yield f"parts of Liger were active that it did not ask for: {', '.join(unasked)}"
    for part in sorted(asked):
        n = active.get(part, 0)
        present = liger.get("parts", {}).get(part, n)
        if n < present:
            yield f"Liger's {part} was active in {n} of {present} places"


# What a completed run records of itself, and what it is called.
_PARTS = {
    "environment": "environment",
    "weights": "weights",
    "liger": "parts of Liger that were active",
    "proof": "proof of what was live",
    "batches": "batches",
    "gradients": "gradients",
}


def _missing_parts(run: Run, reference: Run, whom: str) -> Iterator[str]:
    """What the reference's run recorded and this one did not: it cannot be held against it.

    A run without any record is of another origin, and says nothing either way.
    """
    if not run.record:
        return
    for part, words in _PARTS.items():
        if reference.record.get(part) and not run.record.get(part):
            yield f"it recorded no {words}, and {whom} did"
    if len(run.history) != len(reference.history):
        yield f"it has {len(run.history)} steps, and {whom} has {len(reference.history)}"


def _other_start(run: Run, reference: Run, whom: str) -> Iterator[str]:
    if _differs(run, reference, "weights", "checksum"):
        yield f"it started from other weights than {whom}"
    if _differs(run, reference, "weights", "n_parameters"):
        yield f"its model has another number of parameters than {whom}'s"


def _other_rows(run: Run, reference: Run, whom: str) -> Iterator[str]:
    if _differs(run, reference, "batches", "checksum"):
        yield f"it trained on other batches than {whom}"
    if run.training_args.padding_free == reference.training_args.padding_free and _differs(
        run, reference, "batches", "padding_fraction"
    ):
        yield f"its batches have another share of padding than {whom}'s"
    if _differs(run, reference, "dataset", "checksum"):
        yield f"it was given other rows than {whom}"


def _other_gradients(run: Run, reference: Run, whom: str) -> Iterator[str]:
    one, other = (r.record.get("gradients") for r in (run, reference))
    if not one or not other:
        return
    difference = gradient_difference(one, other, run.training_args.is_rounded)
    if difference.above_bound:
        yield (
            f"its gradients at the first step differ from {whom}'s by "
            f"{small_fraction(difference.value)} in {difference.parameter} "
            f"({difference.measure}; rounding explains {small_fraction(difference.bound)})"
        )


def _other_losses(run: Run, reference: Run, whom: str) -> Iterator[str]:
    bound, of_losses = loss_bound(run.training_args), loss_difference(run, reference)
    if of_losses is not None and not of_losses <= bound:
        yield (
            f"its losses differ from {whom}'s by up to {small_fraction(of_losses)}, and "
            f"rounding explains {small_fraction(bound)}"
        )


def _agree_in(names: Sequence[str]) -> _ShouldAgree:
    return lambda one, other: all(getattr(one, name) == getattr(other, name) for name in names)


def _differs(one: Run, other: Run, part: str, key: str) -> bool:
    values = [run.record.get(part, {}).get(key) for run in (one, other)]
    return None not in values and values[0] != values[1]
