"""Faults are planted in real runs, and each is caught by the check that is meant to.

The runs are tiny ones on a CPU, in fp32. Some the run refuses itself, as it proves what it trains;
the others complete, and the analysis calls their cell invalid. Honest arms are called valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.planted import FAULTS, run_planted
from support.tiny import SHORT

from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import VANILLA
from liger_benchmark.run import COMPLETED, Run, read_run, write_run
from liger_benchmark.training import isolated_process
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import ChildFailed, summary

# What a run refuses itself, with the arm's settings and the reason.
REFUSED = {
    "one norm unpatched": (
        replace(SHORT, use_liger=True),
        r"liger_kernels: rms_norm asked for, but not all .*: rms_norm in 4 of 5",
    ),
    "one norm patched": (
        SHORT,
        r"use_liger: false, but Liger's code is active in the live model: rms_norm",
    ),
    "another attention": (
        SHORT,
        r"attn_implementation: sdpa was asked for, and 2 layers use eager",
    ),
    "one layer not checkpointed": (
        replace(SHORT, gradient_checkpointing=True),
        r"gradient_checkpointing: true was asked for, and it is active in 2 of 3 layers",
    ),
    "plain loss for PyTorch's": (
        replace(SHORT, loss_type="torch"),
        r"loss_type: the arm's head is PyTorch's fused linear cross-entropy, and the loss was "
        r"computed by the chunked loss",
    ),
    "all logits for the chunked loss": (
        replace(SHORT, loss_type="chunked_nll"),
        r"loss_type: the arm's head is the chunked loss, and the loss was computed by the plain",
    ),
    "TRL's head for the chunked loss": (
        replace(SHORT, loss_type="chunked_nll"),
        r"loss_type: the arm's head is the chunked loss, and the loss was computed by TRL's fused",
    ),
    "no head in place": (
        replace(SHORT, loss_type="chunked_nll"),
        r"loss_type: chunked_nll was asked for, and the live model computes nll",
    ),
}
GRADIENTS = "gradients at the first step differ"
# What the analysis finds, and the reason.
FOUND = {
    "RoPE left out": GRADIENTS,
    "MLP left out": GRADIENTS,
    "one MLP left out": GRADIENTS,
    "ReLU for SiLU": GRADIENTS,
    "another epsilon in one norm": GRADIENTS,
    "labels shifted in the loss": GRADIENTS,
    "labels shifted in the rows": "trained on other batches",
    "other rows": "trained on other batches",
    "another order": "trained on other batches",
    "another seed": "started from other weights",
    "loss times 1.05": GRADIENTS,
    "loss times 3": GRADIENTS,
    "NaN loss": "loss is not a finite number at step 1",
    "detached head": rf"{GRADIENTS}.*not finite in lm_head",
    "idle optimizer": "optimizer changed no weight",
}
# Arms that compute the same in another way.
HONEST = {
    "nothing": SHORT,
    "Liger": replace(SHORT, use_liger=True),
    "eager": replace(SHORT, attn_implementation="eager"),
    "checkpointed": replace(SHORT, gradient_checkpointing=True),
    "chunked": replace(SHORT, loss_type="chunked_nll"),
    "TRL's head": replace(SHORT, loss_type="trl"),
    "Liger's layers under TRL's head": replace(
        SHORT, use_liger=True, liger_kernels=["rope", "rms_norm", "swiglu"], loss_type="trl"
    ),
    "Liger's fused loss in larger chunks": replace(SHORT, use_liger=True, liger_chunk_mem_const=4),
}

Plant = Callable[[str, TrainingArguments], Run]


@pytest.fixture(scope="module")
def plant(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Plant:
    """Train an arm of that name with the fault of that name, as it is read back from its files."""

    def run(name: str, arguments: TrainingArguments) -> Run:
        folder = tmp_path_factory.mktemp("run")
        trained = (
            run_planted(name, arguments, dataset_folder, model_folder, folder / "model")
            if name in FAULTS
            else run_condition(
                replace(arguments, arm_name=name), dataset_folder, model_folder, folder / "model"
            )
        )
        return read_run(write_run(folder, trained))

    return run


@pytest.fixture(scope="module")
def baseline(plant: Plant) -> Run:
    return plant(VANILLA, SHORT)


@pytest.mark.parametrize("fault", FOUND)
def test_a_fault_in_what_is_computed_makes_its_cell_invalid(
    fault: str, plant: Plant, baseline: Run
) -> None:
    run = plant(fault, SHORT)
    assert run.outcome == COMPLETED
    reasons = invalid_reasons([run, baseline], VANILLA)
    assert reasons.keys() == {(fault, 1)}
    assert re.search(FOUND[fault], reasons[fault, 1]), reasons
    assert "\n" not in reasons[fault, 1]


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_in_what_is_live_fails_the_run_with_the_settings_name(
    fault: str, plant: Plant
) -> None:
    arguments, reason = REFUSED[fault]
    with pytest.raises(ChildFailed) as failure:
        plant(fault, arguments)
    assert re.search(reason, line := summary(failure.value)), line
    assert "\n" not in line


@pytest.mark.parametrize("arm", HONEST)
def test_an_honest_arm_is_valid(arm: str, plant: Plant, baseline: Run) -> None:
    assert invalid_reasons([plant(arm, HONEST[arm]), baseline], VANILLA) == {}


def test_a_compiler_that_is_switched_off_by_the_environment_fails_the_run(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated_process, "PRELOAD", [])
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    with pytest.raises(ChildFailed) as failure:
        plant("compiled", replace(SHORT, torch_compile=True))
    assert "torch_compile: true was asked for, and no graph was compiled" in summary(failure.value)


@pytest.mark.parametrize("fault", [*FOUND, *REFUSED])
def test_a_planted_fault_stands_in_the_page_about_validity(fault: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "validity.md").read_text(encoding="utf-8")
    assert f"[{fault}]`" in page.partition("### In real runs")[2].partition("### In results")[0]
