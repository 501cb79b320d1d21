"""What a registration's variables ask for, and the check that the model fits into a pod."""

from __future__ import annotations

import dataclasses
import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark import flyte
from liger_benchmark.catalog import PHI3_MINI
from liger_benchmark.flyte import pod_memory, settings
from liger_benchmark.flyte.wandb_task import track_with_wandb
from liger_benchmark.validation import InvalidInput

IMAGE_SPEC = Path(__file__).parents[2] / "image_spec.py"


def settled(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    """What the settings and image_spec.py make of these variables."""
    monkeypatch.chdir(IMAGE_SPEC.parent)
    for name, value in variables.items():
        monkeypatch.setenv(f"LIGER_BENCHMARK_{name}", value)
    monkeypatch.delitem(sys.modules, settings.__name__)  # to be read again
    monkeypatch.setattr(flyte, "settings", settings)  # and put back
    importlib.import_module(settings.__name__)
    made = runpy.run_path(str(IMAGE_SPEC))
    return vars(made["settings"]) | made


def test_a_training_pods_resources_are_set_by_one_variable_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = settled(monkeypatch, CPU="7", MEMORY="80Gi", STORAGE="150Gi", GPU="h200")
    training, download = values["TRAINING_POD"], values["DOWNLOAD_POD"]
    assert (training.cpu, training.mem, training.ephemeral_storage) == ("7", "80Gi", "150Gi")
    assert training.gpu == "1"
    assert (download.cpu, download.mem, download.ephemeral_storage) == ("2", "8Gi", "150Gi")
    told = values["REGISTRATION"]
    assert told["LIGER_BENCHMARK_CPU"] == "7"
    assert told["LIGER_BENCHMARK_MEMORY"] == "80Gi"
    assert told["LIGER_BENCHMARK_STORAGE"] == "150Gi"
    assert told["LIGER_BENCHMARK_GPU"] == "H200"


def test_a_container_comes_to_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    first = settled(monkeypatch, CPU="7", MEMORY="80Gi", STORAGE="150Gi", GPU="any")
    for name, value in first["REGISTRATION"].items():
        monkeypatch.setenv(name, value)
    again = settled(monkeypatch)
    for name in ("REGISTRATION", "TRAINING_POD", "MACHINE_DIGEST", "GPU_KIND", "GPU"):
        assert again[name] == first[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MEMORY", "24GB"), ("MEMORY", "much"), ("CPU", "12 cores"), ("STORAGE", "-1Gi")],
)
def test_an_amount_that_kubernetes_does_not_know_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SystemExit, match=f"LIGER_BENCHMARK_{name}: '{value}' is not an amount"):
        settled(monkeypatch, **{name: value})


def test_any_gpu_registers_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    values = settled(monkeypatch, GPU="any")
    assert values["GPU"] is None
    assert values["TRAINING_POD"].gpu == "1"
    assert values["REGISTRATION"]["LIGER_BENCHMARK_GPU"] == "ANY"


def test_what_can_change_a_measurement_counts_in_the_machines_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = settled(monkeypatch)["MACHINE_DIGEST"]
    assert settled(monkeypatch, MEMORY="80Gi", STORAGE="1Ti")["MACHINE_DIGEST"] == digest
    assert settled(monkeypatch, CPU="4")["MACHINE_DIGEST"] != digest


def test_the_default_pod_holds_phi3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_memory, "MEMORY", "24Gi")
    pod_memory.check_pod_memory([dataclasses.replace(TINY, bf16=True)], PHI3_MINI)
    pod_memory.check_pod_memory([TINY], PHI3_MINI)  # fp32, 14.2 GiB


@pytest.mark.parametrize("memory", ["8Gi", "8G", "8192Mi", "8589934592"])
def test_a_pod_too_small_for_the_weights_is_one_line(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_memory, "MEMORY", memory)
    with pytest.raises(InvalidInput) as caught:
        pod_memory.check_pod_memory([dataclasses.replace(TINY, bf16=True)], PHI3_MINI)
    assert str(caught.value) == (
        f"LIGER_BENCHMARK_MEMORY: {memory} cannot hold the model's weights (7.1 GiB) and what a "
        "training pod imports (4 GiB); register with 12Gi or more"
    )


def test_a_model_of_unknown_size_is_left_to_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_memory, "MEMORY", "1Gi")
    pod_memory.check_pod_memory([TINY], {"model_type": "mamba"})


@pytest.mark.parametrize(("entity", "linked"), [("", False), ("you", True)])
def test_the_console_links_to_wandb_only_where_there_is_an_entity(
    entity: str, linked: bool
) -> None:
    def train() -> None: ...

    decorated = track_with_wandb(project="p", entity=entity, secret=lambda: "key")(train)
    config = decorated.get_extra_config()
    assert ("link_type" in config) == linked
    assert config.get("entity", "") == entity
