"""What the live trainer and model of an arm are set to, compared field by field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support import isolated_training
from support.tiny import SHORT, TINY

from liger_benchmark.training.isolated_process import run_isolated


def test_the_arms_differ_in_nothing_but_liger(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    """Field by field: trainer's and model's configuration, what is called, what is logged."""
    found = {}
    for use_liger in (True, False):
        arguments = replace(SHORT, use_liger=use_liger)
        found[use_liger], _ = run_isolated(
            isolated_training.effective_configuration,
            arguments,
            dataset_folder,
            model_folder,
            tmp_path,
            on_message=lambda message: None,
        )
    assert found[True].keys() == found[False].keys()
    differing = {key for key in found[True] if found[True][key] != found[False][key]}
    assert differing == {"forward"}
    assert found[False]["forward"].startswith("transformers.")
    assert found[True]["forward"].startswith("liger_kernel.")
    # The comparison has to be of something: these are among what is compared.
    assert found[True]["args.optim"] == "sgd"
    assert found[True]["model.dtype"] == "float32"
    assert found[True]["attention"] == "sdpa"
    assert found[False]["losses that trl worked out, with entropy and accuracy"] == 0


@pytest.mark.parametrize(("loss_type", "n_losses"), [("chunked_nll", 0), ("trl", TINY.max_steps)])
def test_only_the_arm_of_trls_head_computes_entropy_and_accuracy(
    loss_type: str, n_losses: int, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    found, _ = run_isolated(
        isolated_training.effective_configuration,
        *(replace(TINY, loss_type=loss_type), dataset_folder, model_folder, tmp_path),
        on_message=lambda message: None,
    )
    assert found["losses that trl worked out, with entropy and accuracy"] == n_losses


def test_an_arms_settings_are_active_in_the_live_trainer(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    plain, other = (
        run_isolated(
            isolated_training.effective_configuration,
            *(arguments, dataset_folder, model_folder, tmp_path),
            on_message=lambda message: None,
        )[0]
        for arguments in (
            TINY,
            replace(TINY, torch_compile=True, gradient_checkpointing=True, optim="adamw_torch"),
        )
    )
    for key, of_plain, of_other in (
        ("checkpoints activations", False, True),
        ("compiled", False, True),
        ("optimizer class", "SGD", "AdamW"),
    ):
        assert (plain[key], other[key]) == (of_plain, of_other), key
