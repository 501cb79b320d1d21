"""LinkedIn's claims: which grids fit one, and how they fare."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.runs import make_run

from liger_benchmark.analysis.claims import EXCEEDED, NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.report.linkedin import linkedin_section
from liger_benchmark.run import OUT_OF_MEMORY, Run

LLAMA = {
    "model_name": "builtin:llama-3-8b",
    "max_seq_length": 512,
    "optim": "adamw_torch_fused",
    "gradient_checkpointing": True,
    "sharding": "fsdp2",
    "n_gpus": 2,
    "bf16": True,
}


def analysed(size: int, speedup: float, saving: float, out: str = "", **settings: Any) -> Analysis:
    """Three repeats of both arms at one batch size, with the gains in percent."""
    runs: list[Run] = []
    for repeat in (1, 2, 3):
        for arm in ("Liger", "vanilla"):
            rate = (
                10_000
                * (1 + (repeat - 2) / 100 * (arm == "Liger"))
                * (1 + speedup / 100 * (arm == "Liger"))
            )
            memory = 50_000 * (1 - saving / 100 * (arm == "Liger"))
            run = make_run(arm, size, repeat, rate=rate, memory_mb=memory, steps=4)
            arguments = dataclasses.replace(run.training_args, **(LLAMA | settings))
            run = dataclasses.replace(run, training_args=arguments)
            run.record.pop("proof", None)  # of the arguments that were replaced
            if arm == out:
                run.outcome, run.record["out_of_memory"] = OUT_OF_MEMORY, {"step": 1}
            runs.append(run)
    return analyse(runs)


@pytest.mark.parametrize(
    ("size", "speedup", "saving", "expected"),
    [
        (8, 25.0, 61.0, (EXCEEDED, EXCEEDED)),
        (8, 20.3, 60.0, (REPRODUCED, REPRODUCED)),
        (8, 10.0, 11.6, (NOT_REPRODUCED, NOT_REPRODUCED)),
        (64, 50.0, 40.0, (EXCEEDED, NOT_REPRODUCED)),
    ],
)
def test_a_grid_that_fits_is_judged_at_the_claims_batch_size(
    size: int, speedup: float, saving: float, expected: tuple[str, str]
) -> None:
    (judged,) = analysed(size, speedup, saving).linkedin
    assert judged.claim.batch_size == size
    assert (judged.speed.judgement, judged.memory.judgement) == expected


def test_what_differs_is_named_beside_the_judgement() -> None:
    analysis = analysed(8, 10.0, 11.6)
    text = "; ".join(analysis.linkedin[0].differences)
    assert "8 × A100 there, 2 × " in text
    assert "512 tokens here" in text
    page = linkedin_section(analysis)
    assert "not reproduced" in page and "8 × A100 there" in page
    other = analysed(8, 10.0, 11.6, attn_implementation="eager", autocast=False)
    assert {"attn_implementation: eager here", "autocast: False here"} <= set(
        other.linkedin[0].differences
    )
    assert not any("here" in text and ": " in text for text in analysis.linkedin[0].differences)


def test_vanilla_out_of_memory_where_the_paper_has_a_number_is_said() -> None:
    (judged,) = analysed(64, 40.0, 50.0, out="vanilla").linkedin
    assert judged.speed.judgement == NOT_TESTED
    assert judged.speed.measured == "nothing: vanilla runs out of memory at 64"
    assert "own example" in "; ".join(judged.differences)


@pytest.mark.parametrize(
    "settings",
    [
        {"model_name": "builtin:phi3-mini"},
        {"max_seq_length": 128, "gradient_checkpointing": False},
        {"optim": "sgd"},
        {"sharding": "ddp"},
        {"peft": "lora"},
        {"torch_compile": True},
        {"packing": True, "attn_implementation": "flex_attention"},
        {"liger_kernels": ["rms_norm"]},
    ],
)
def test_another_model_or_method_fits_no_claim(settings: dict[str, Any]) -> None:
    analysis = analysed(8, 20.0, 60.0, **settings)
    assert analysis.linkedin == []
    assert linkedin_section(analysis) == ""
    assert analysed(7, 20.0, 60.0).linkedin == []
