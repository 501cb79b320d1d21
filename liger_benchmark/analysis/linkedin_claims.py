"""LinkedIn's own claims for Liger, and how a grid that fits one of them fares.

A claim is a gain at one batch size. It is judged by the rule for a range of the blog's (see
`judgement`) whose ends are both that gain, at its batch size alone, for the arms called Liger and
vanilla. A grid fits a claim if it trains that model by that method at that batch size a GPU: all
weights, with transformers' loss or Liger's, not compiled and padded. What else differs, cards and
their number, software, data, other settings, is named beside the judgement: it is a reason for
another result, and none to refuse the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from liger_benchmark.analysis.blogs_experiment import other_settings
from liger_benchmark.analysis.claims import Claim, PublishedRange
from liger_benchmark.analysis.judgement import judge_range
from liger_benchmark.analysis.measured_grid import MeasuredGrid
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    BATCH_SIZE,
    FSDP2,
    LIGER,
    VANILLA,
    ZERO3,
)
from liger_benchmark.run import Run
from liger_benchmark.wording import enumerate_words, number, signed

ADAMW = ("adamw_torch", "adamw_torch_fused")
README = "LinkedIn’s README"
PAPER = "the paper (Hsu et al., 2024)"


@dataclass(frozen=True)
class LinkedInClaim:
    """A gain that LinkedIn reports, with its conditions.

    Attributes:
        source: where it is reported.
        model: the model's name for people.
        pattern: a regular expression for the model's short name, in lower case.
        batch_size: sequences a GPU.
        speedup, memory_saving: in percent; of the peak memory.
        gpus, card: what it was measured on.
        method: what the grid has to have in common, by training argument, with the values that do.
        unstated: what the source does not say.
        note: what else is known of it.
    """

    source: str
    model: str
    pattern: str
    batch_size: int
    speedup: float
    memory_saving: float
    gpus: int
    card: str
    method: dict[str, tuple[Any, ...]]
    unstated: str = ""
    note: str = ""


# Settings that are another method wherever they are not the defaults.
_METHOD = (
    *("liger_kernels", "liger_implementation", "use_hub_kernels", "loss_type", "torch_compile"),
    *("peft", "load_in_4bit", "packing", "padding_free", "fp16"),
)
# Settings of which no claim says anything, and those that `_differences` puts in other words.
_NOT_NAMED = ("weight_decay", "n_gpus", "reshard_after_forward", "max_seq_length")
_SHARDED = {"sharding": (FSDP2, ZERO3), "optim": ADAMW, "bf16": (True,)}
_OF_PAPER: dict[str, Any] = {
    "source": PAPER,
    "gpus": 4,
    "card": "A100 80 GB",
    "method": _SHARDED | {"max_seq_length": (512,)},
}
LINKEDIN_CLAIMS = (
    LinkedInClaim(
        source=README,
        model="Llama 3 8B",
        pattern=r"(meta-)?llama-?3-8b(-instruct)?",
        batch_size=8,
        speedup=20.0,
        memory_saving=60.0,
        gpus=8,
        card="A100",
        method=_SHARDED | {"gradient_checkpointing": (True,)},
        unstated="the length of a sequence",
    ),
    LinkedInClaim(
        model="Llama 3 8B",
        pattern=r"(meta-)?llama-?3-8b(-instruct)?",
        batch_size=64,
        speedup=42.8,
        memory_saving=54.8,
        note="in LinkedIn’s own example for transformers vanilla runs out of memory at 64",
        **_OF_PAPER,
    ),
    LinkedInClaim(
        model="Qwen2 7B",
        pattern=r"qwen2-7b(-instruct)?",
        batch_size=48,
        speedup=25.5,
        memory_saving=56.8,
        **_OF_PAPER,
    ),
    LinkedInClaim(
        model="Gemma 7B",
        pattern=r"gemma-(1\.1-)?7b(-it)?",
        batch_size=48,
        speedup=11.9,
        memory_saving=51.8,
        **_OF_PAPER,
    ),
    LinkedInClaim(
        model="Mistral 7B",
        pattern=r"mistral-7b(-instruct)?(-v0\.\d)?",
        batch_size=128,
        speedup=27.0,
        memory_saving=21.0,
        **_OF_PAPER,
    ),
    LinkedInClaim(
        model="Phi-3 mini",
        pattern=r"phi-?3-mini(-4k-instruct)?",
        batch_size=128,
        speedup=17.0,
        memory_saving=13.0,
        **_OF_PAPER,
    ),
)


@dataclass(frozen=True)
class LinkedInJudgement:
    """How a grid fares against one of LinkedIn's claims.

    Attributes:
        claim: the claim that it fits.
        speed, memory: what was measured, and how that is judged.
        differences: what else differs, in words.
    """

    claim: LinkedInClaim
    speed: Claim
    memory: Claim
    differences: tuple[str, ...]


def judge_linkedin(grid: MeasuredGrid) -> list[LinkedInJudgement]:
    """Judge the claims that the grid fits; none for a trial, or without both arms."""
    if grid.hardware.trial or not {LIGER, VANILLA} <= set(grid.arms):
        return []
    return [_judged(claim, grid) for claim in LINKEDIN_CLAIMS if fits(claim, grid.runs)]


def fits(claim: LinkedInClaim, runs: Sequence[Run]) -> bool:
    """Whether Liger and vanilla were run as the claim says."""
    arms = set()
    for run in runs:
        args = run.training_args
        if args.arm in (LIGER, VANILLA) and getattr(args, BATCH_SIZE) == claim.batch_size:
            if not _fits_one(claim, args):
                return False
            arms.add(args.arm)
    return arms == {LIGER, VANILLA}


def _fits_one(claim: LinkedInClaim, args: TrainingArguments) -> bool:
    if re.fullmatch(claim.pattern, args.short_model_name.lower()) is None:
        return False
    same = all(getattr(args, name) in values for name, values in claim.method.items())
    return same and not any(name in other_settings(args) for name in _METHOD)


def _judged(claim: LinkedInClaim, grid: MeasuredGrid) -> LinkedInJudgement:
    speed = PublishedRange(
        "throughput", "Throughput", f"{signed(claim.speedup)}%", "speedup", (claim.speedup,) * 2
    )
    memory = PublishedRange(
        "memory",
        "Peak reserved memory",
        f"{number(claim.memory_saving, 1)}% less",
        "memory_saving",
        (claim.memory_saving,) * 2,
    )
    cells = grid.cells[grid.cells[BATCH_SIZE] == claim.batch_size]
    rows = grid.published[grid.published[BATCH_SIZE] == claim.batch_size]
    out = [
        arm
        for arm in (VANILLA, LIGER)
        if cells.loc[cells["arm"] == arm, "n_out_of_memory"].sum() > 0
    ]
    judged = []
    for published in (speed, memory):
        result = judge_range(published, rows, cells)
        if out and not rows["speedup_percent"].notna().any():
            verb = "runs" if len(out) == 1 else "run"
            words = f"nothing: {enumerate_words(out)} {verb} out of memory at {claim.batch_size}"
            result = published.judged(words, result.judgement)
        judged.append(result)
    of_speed, of_memory = judged
    return LinkedInJudgement(claim, of_speed, of_memory, tuple(_differences(claim, grid)))


def _differences(claim: LinkedInClaim, grid: MeasuredGrid) -> Iterator[str]:
    """What differs from the claim's conditions beside model, method and batch size."""
    run = next(
        run
        for run in grid.runs
        if run.training_args.arm in (LIGER, VANILLA)
        and getattr(run.training_args, BATCH_SIZE) == claim.batch_size
    )
    args = run.training_args
    yield f"{claim.gpus} × {claim.card} there, {args.n_gpus} × {grid.hardware.card} here"
    packages = run.record.get("environment", {}).get("packages", {})
    versions = [
        f"{name} {packages[name]}"
        for name in ("torch", "transformers", "liger-kernel")
        if name in packages
    ]
    here = f", and {enumerate_words(versions)} here" if versions else ""
    yield f"FSDP of version 1 and the libraries of 2024 there{here}"
    if claim.unstated:
        yield f"{claim.unstated} is not stated there, {args.max_seq_length} tokens here"
    if run.record.get("weights", {}).get("origin") == "random":
        yield "weights drawn at random here"
    if args.dataset_name != "tatsu-lab/alpaca":
        yield f"Alpaca’s rows there, {args.dataset_name} here"
    for name, value in other_settings(args).items():
        if name not in (*claim.method, *_NOT_NAMED):
            yield f"{name}: {value} here"
    if claim.note:
        yield claim.note
