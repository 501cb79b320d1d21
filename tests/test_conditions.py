"""A grid's conditions: their order, and their names as people and folders have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.store import experiment_folder
from liger_benchmark.validation import InvalidInput


def test_the_grid_is_every_combination_once_with_repeats_outermost_and_arms_innermost() -> None:
    experiment = ExperimentArguments(use_liger=[True, False], per_device_train_batch_size=[4, 8])
    grid = expand_grid(experiment, TrainingArguments(seed=7), n_runs=2)
    assert [(a.run, a.per_device_train_batch_size, a.use_liger) for a in grid] == [
        (1, 4, True),
        (1, 4, False),
        (1, 8, True),
        (1, 8, False),
        # The arms take turns at going first.
        (2, 4, False),
        (2, 4, True),
        (2, 8, False),
        (2, 8, True),
    ]
    assert {a.seed for a in grid} == {7}


def test_the_grid_refuses_fewer_than_one_repeat() -> None:
    with pytest.raises(InvalidInput, match="n_runs: 0"):
        expand_grid(ExperimentArguments(), TrainingArguments(), n_runs=0)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b/c", "evil\\name", "name with spaces", "ünï/cödé", "x" * 300]
)
def test_a_conditions_folder_name_cannot_lead_to_another_folder(name: str) -> None:
    slug = TrainingArguments(model_name=name).slug
    assert "/" not in slug and "\\" not in slug and ".." not in slug
    assert slug.isascii() and not slug.startswith(".") and len(slug) < 200


def test_a_condition_has_a_readable_name_and_a_slug() -> None:
    arguments = TrainingArguments(
        model_name="builtin:phi3-mini", use_liger=True, per_device_train_batch_size=40, run=2
    )
    assert arguments.condition == "phi3-mini bs=40 liger run=2"
    assert arguments.slug == "phi3-mini-bs-40-liger-run-2"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("microsoft/Phi-3-mini-4k-instruct", "phi-3-mini-4k-instruct"),
        ("builtin:phi3-mini", "phi3-mini"),
        ("my/model-bs-8-tuned", "model-bs-8-tuned"),
        ("日本/語", "model"),
    ],
)
def test_a_models_slug_is_its_short_name_as_a_part_of_a_folder_name(
    name: str, slug: str, tmp_path: Path
) -> None:
    arguments = TrainingArguments(model_name=name)
    assert arguments.model_slug == slug
    assert f"-{slug}-" in experiment_folder(tmp_path, [arguments]).name
