"""Every architecture that Liger knows goes through the dry pass, and the docs' table says how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.architectures import kernels, outcomes

from liger_benchmark.training.causal_models import causal_models
from liger_benchmark.training.environment import visible_gpu
from liger_benchmark.training.liger_kernels import liger_architectures

PAGE = Path(__file__).parents[2] / "docs" / "models-and-data.md"
CAUSAL = sorted(liger_architectures().keys() & causal_models().keys())


def rows_of_the_table() -> dict[str, list[str]]:
    """By `model_type` the kernels, and the outcome of the dry pass."""
    _, _, table = PAGE.read_text(encoding="utf-8").partition("| `model_type` |")
    table = table.partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", table, flags=re.MULTILINE)
    assert len(rows) == len({name for name, *_ in rows})
    return {name: cells for name, *cells in rows}


def test_the_table_lists_every_architecture_of_the_installed_liger_with_its_kernels() -> None:
    table = rows_of_the_table()
    assert table.keys() == liger_architectures().keys()
    for model_type, (turned_on, _) in table.items():
        assert turned_on == kernels(model_type), model_type


def test_the_table_refuses_what_is_no_causal_language_model() -> None:
    for model_type, (_, said) in rows_of_the_table().items():
        refused = said == "refused: no causal language model in transformers"
        assert refused == (model_type not in CAUSAL), model_type


def test_the_page_counts_them() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert (
        f"has kernels for {len(liger_architectures())} model types, {len(CAUSAL)} of them" in text
    )


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    return outcomes(CAUSAL)


@pytest.mark.parametrize("model_type", CAUSAL)
def test_the_dry_pass_of_both_arms_is_as_the_table_says(
    model_type: str, said: dict[str, str]
) -> None:
    in_table = rows_of_the_table()[model_type][1]
    if visible_gpu() is not None and in_table == "on a GPU":
        in_table = "yes"
    assert said[model_type] == in_table
