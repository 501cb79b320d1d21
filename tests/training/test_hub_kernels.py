"""The Hub's kernels: which layers run them is seen in the live model, what cannot be is one line.

There is no network: a kernel in a local folder stands for the Hub's, and a mapping for the CPU for
transformers' own, which has GPUs only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liger_benchmark.catalog import MODELS
from liger_benchmark.training import hub_kernels
from liger_benchmark.validation import InvalidInput


def _usable() -> bool:
    """Whether the installed transformers would use the installed package."""
    try:
        hub_kernels.check_installed()
    except InvalidInput:
        return False
    return True


NEEDS_KERNELS = pytest.mark.skipif(
    not _usable(), reason="transformers supports no installed version of the package kernels"
)

NORM = """
import torch

class _Norm(torch.nn.Module):
    weight: torch.Tensor
    variance_epsilon: float
    has_backward = True
    can_torch_compile = False

    def forward(self, hidden_states):
        return torch.nn.functional.rms_norm(
            hidden_states, (hidden_states.shape[-1],), self.weight, self.variance_epsilon
        )

class layers:
    LocalRMSNorm = _Norm
    _Norm.__name__ = "LocalRMSNorm"
"""


@pytest.fixture
def model() -> Any:
    import transformers

    config = transformers.AutoConfig.for_model(**MODELS["llama-tiny"])
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.fixture
def mapping() -> Iterator[dict[str, Any]]:
    """transformers' own mapping for norms, put back afterwards."""
    from transformers.integrations import hub_kernels as theirs

    norms = theirs.get_kernel_mapping_transformers()["RMSNorm"]
    before = dict(norms)
    yield norms
    norms.clear()
    norms.update(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kernel as the package `kernels` finds one in a folder."""
    build = tmp_path / "build" / "torch-universal"
    build.mkdir(parents=True)
    (build / "__init__.py").write_text(NORM, encoding="utf-8")
    metadata = {
        "id": "local_norm",
        "name": "local-norm",
        "version": 1,
        "license": "Apache-2.0",
        "python-depends": [],
        "backend": {"type": "cpu"},
    }
    (build / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return tmp_path


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: None)
    with pytest.raises(InvalidInput, match="use_hub_kernels: true needs the package kernels"):
        hub_kernels.check_installed()


def _with_kernels(find_spec: Callable[..., Any]) -> Callable[..., Any]:
    return lambda name, *args: True if name == "kernels" else find_spec(name, *args)


def test_a_version_that_transformers_does_not_support_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", _with_kernels(importlib.util.find_spec))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.17.2")
    with pytest.raises(InvalidInput, match=r"kernels from [\d.]+ on .* installed is 0\.17\.2"):
        hub_kernels.check_installed()


@NEEDS_KERNELS
def test_without_a_kernel_for_the_device_it_is_one_line(mapping: dict[str, Any]) -> None:
    mapping.pop("cpu", None)
    with pytest.raises(InvalidInput, match="use_hub_kernels: true needs a GPU"):
        hub_kernels.check_loadable("cpu")


@NEEDS_KERNELS
def test_without_a_network_it_is_one_line_that_says_what_to_do(mapping: dict[str, Any]) -> None:
    mapping["cpu"] = mapping["cuda"]
    with pytest.raises(InvalidInput, match="cannot be loaded .*LOCAL_KERNELS") as error:
        hub_kernels.check_loadable("cpu")
    assert "\n" not in str(error.value)


@NEEDS_KERNELS
def test_layers_that_run_a_kernel_are_counted_with_where_it_is_from(
    model: Any, mapping: dict[str, Any], folder: Path
) -> None:
    import torch
    from kernels import LocalLayerRepository, Mode

    ids = torch.arange(8)[None]
    expected = model(ids).logits
    before = hub_kernels.in_place(model)
    assert before["active"] == {} and before["present"]["RMSNorm"] == 5
    assert hub_kernels.mismatch(before, True) is not None
    repository = LocalLayerRepository(folder, layer_name="LocalRMSNorm")
    mapping["cpu"] = {Mode.TRAINING: repository}
    hub_kernels.put_in_place(model)
    facts = hub_kernels.in_place(model)
    assert facts["active"] == {"RMSNorm": 5}
    [kernel] = facts["kernels"]
    assert (kernel["repository"], kernel["revision"]) == ("a local folder", None)
    assert hub_kernels.mismatch(facts, True) is None
    assert "active: RMSNorm" in str(hub_kernels.mismatch(facts, False))
    torch.testing.assert_close(model(ids).logits, expected)
