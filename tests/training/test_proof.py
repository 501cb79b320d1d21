"""Each contradiction between an arm's arguments and its live trainer is named, with the setting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training.proof import mismatch

PLAIN = {
    "graphs": 0,
    "graph_breaks": 0,
    "optimizer": "torch.optim.sgd.SGD",
    "optimizer_expected": "torch.optim.sgd.SGD",
    "checkpointing": {"active": 0, "present": 3},
    "attention": {"sdpa": 2},
}
COMPILED = replace(TINY, torch_compile=True)
CHECKPOINTED = replace(TINY, gradient_checkpointing=True)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (TINY, {}),
        (COMPILED, {"graphs": 5, "graph_breaks": 2}),
        (CHECKPOINTED, {"checkpointing": {"active": 3, "present": 3}}),
        (replace(TINY, attn_implementation="eager"), {"attention": {"eager": 2}}),
        (TINY, {"checkpointing": {"active": 0, "present": 0}, "attention": {}}),
        (TINY, {"head": {"expected": "nll", "seen": "nll", "functions": []}, "autocast": "no"}),
        (replace(TINY, bf16=True), {"autocast": "bf16"}),
        (replace(TINY, bf16=True, autocast=False), {"autocast": "no"}),
        (
            replace(COMPILED, torch_compile_mode="max-autotune"),
            {"graphs": 5, "compile_mode": "max-autotune"},
        ),
        (replace(TINY, use_hub_kernels=True), {"hub_kernels": {"active": {"RMSNorm": 5}}}),
    ],
)
def test_an_arm_that_does_what_it_says_contradicts_nothing(
    arguments: TrainingArguments, facts: dict[str, Any]
) -> None:
    assert mismatch(PLAIN | facts, arguments) is None


@pytest.mark.parametrize(
    ("arguments", "facts", "problem"),
    [
        (COMPILED, {}, "torch_compile: true was asked for, and no graph was compiled"),
        (TINY, {"graphs": 5}, "torch_compile: false was asked for, and 5 graphs were compiled"),
        (
            TINY,
            {"optimizer": "mine.Lazy"},
            "optim: sgd means torch.optim.sgd.SGD, and the trainer uses mine.Lazy",
        ),
        (
            TINY,
            {"checkpointing": {"active": 1, "present": 3}},
            "gradient_checkpointing: false was asked for, and it is active in 1 of 3 layers",
        ),
        (
            CHECKPOINTED,
            {"checkpointing": {"active": 2, "present": 3}},
            "gradient_checkpointing: true was asked for, and it is active in 2 of 3 layers",
        ),
        (
            CHECKPOINTED,
            {"checkpointing": {"active": 0, "present": 0}},
            "gradient_checkpointing: true was asked for, and it is active in 0 of 0 layers",
        ),
        (
            TINY,
            {"attention": {"sdpa": 1, "eager": 1}},
            "attn_implementation: sdpa was asked for, and 1 layers use eager",
        ),
        (
            replace(TINY, loss_type="cce", bf16=True),
            {"head": {"expected": "cce", "seen": "chunked_nll"}},
            "loss_type: the arm's head is cut-cross-entropy, and the loss was computed by the "
            "chunked loss",
        ),
        (
            replace(TINY, bf16=True, autocast=False),
            {"autocast": "bf16"},
            "autocast: false was asked for, and autocast's dtype is bf16",
        ),
        (
            replace(TINY, bf16=True),
            {"autocast": "no"},
            "autocast: true was asked for, and autocast's dtype is no",
        ),
        (
            COMPILED,
            {"graphs": 5, "compile_mode": "reduce-overhead"},
            "torch_compile_mode: default was asked for, and it is reduce-overhead",
        ),
        (
            replace(TINY, use_hub_kernels=True),
            {"hub_kernels": {"active": {}, "present": {"RMSNorm": 5}}},
            "use_hub_kernels: true was asked for, and no layer of the live model runs one",
        ),
        (
            replace(TINY, use_liger=True, liger_implementation="cutedsl"),
            {"liger_implementation": "triton"},
            "liger_implementation: cutedsl was asked for, and the live one is triton",
        ),
    ],
)
def test_a_contradiction_names_the_setting_and_what_is_live_instead(
    arguments: TrainingArguments, facts: dict[str, Any], problem: str
) -> None:
    assert mismatch(PLAIN | facts, arguments) == problem


def test_facts_that_were_not_recorded_contradict_nothing() -> None:
    for arguments in (TINY, COMPILED, CHECKPOINTED):
        assert mismatch({}, arguments) is None
