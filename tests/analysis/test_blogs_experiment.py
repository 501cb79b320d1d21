"""The blog's claims are judged only on grids whose Liger and vanilla are the blog's experiment."""

from __future__ import annotations

from typing import Any

import pytest
from support import grids
from support.commands import PROJECT

from liger_benchmark.analysis.claims import NOT_TESTED
from liger_benchmark.analysis.judgement import why_not_judged
from liger_benchmark.analysis.tables import analyse, read_experiment
from liger_benchmark.report.blog import claims_apply, claims_section


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"peft": "lora"}, 'peft is "lora"'),
        ({"torch_compile": True}, "torch_compile is true"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing is true"),
        ({"attn_implementation": "eager"}, 'attn_implementation is "eager"'),
        ({"packing": True, "attn_implementation": "flex_attention"}, "attn_implementation is"),
        ({"weights_dtype": "fp32"}, 'weights_dtype is "fp32"'),
        ({"sharding": "fsdp2"}, 'sharding is "fsdp2"'),
        ({"weight_decay": 0.0}, "weight_decay is 0.0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0.0"),
        ({"dataset_format": "messages"}, 'dataset_format is "messages"'),
        ({"dataset_name": "org/other"}, 'dataset_name is "org/other"'),
        ({"model_name": "builtin:qwen3-0.6b"}, 'model_name is "builtin:qwen3-0.6b"'),
        ({"max_seq_length": 2048}, "max_seq_length is 2048"),
        ({"optim": "adamw_torch"}, 'optim is "adamw_torch"'),
    ],
)
def test_another_model_method_or_dataset_is_named_and_nothing_is_judged(
    settings: dict[str, Any], named: str
) -> None:
    analysis = analyse(grids.grid(sizes=(16,), **settings))
    assert analysis.verdict == NOT_TESTED
    assert {claim.judgement for claim in analysis.claims} == {NOT_TESTED}
    assert f"and here {named}" in analysis.claims[0].not_tested_because
    assert not claims_apply(analysis)
    assert "The published gains were not tested: they are about" in claims_section(analysis)


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 7},
        {"max_steps": 12, "n_warmup_steps": 4},
        {"gpu_memory_limit_gib": None},
        {"learning_rate": 2e-5, "lr_scheduler_type": "linear"},
        {"model_name": "microsoft/Phi-3-mini-4k-instruct", "dataset_name": "tatsu-lab/alpaca"},
        {"dataset_name": "data/alpaca-sample"},
        {"dataset_format": "auto"},
        # Without effect beside the other settings.
        {"lora_r": 64, "torch_compile_mode": "max-autotune"},
    ],
)
def test_what_does_not_change_the_experiment_does_not_stop_the_judgement(
    settings: dict[str, Any],
) -> None:
    analysis = analyse(grids.grid(sizes=(16, 24), **settings))
    assert why_not_judged(analysis) == "" and analysis.verdict != NOT_TESTED


def test_other_arms_settings_do_not_stop_the_judgement_of_liger_and_vanilla() -> None:
    for name in ("six_arms", "four_arms", "many_bars"):
        assert why_not_judged(analyse(grids.ALL[name]())) == ""


@pytest.mark.parametrize(
    ("folder", "verdict"),
    [
        ("phi3-mini-h100-39gib", "not reproduced"),
        ("phi3-mini-h100-39gib-alpaca-rows", "undecided"),
        ("phi3-mini-h100-stack-128", "exceeded"),
        ("phi3-mini-h200-fastest-128", "reproduced"),
        ("phi3-mini-h100-stack-2048", NOT_TESTED),
        ("phi3-mini-h200-fastest-2048", NOT_TESTED),
    ],
)
def test_published_grids_are_judged_as_their_pages_say(folder: str, verdict: str) -> None:
    assert analyse(read_experiment([PROJECT / "results" / folder])).verdict == verdict
