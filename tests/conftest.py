"""What all tests share: no network, and folders of built-in sources made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
# flytekit's own cache lies in the home folder and outlives a test.
os.environ["FLYTE_LOCAL_CACHE_ENABLED"] = "false"
# On models this small PyTorch's threads mostly wait for each other and for other tests'.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from liger_benchmark.sources.fetch import fetch_dataset, fetch_model  # noqa: E402
from liger_benchmark.training.environment import visible_gpu  # noqa: E402

if visible_gpu() is None:
    # Before any test imports triton: kernels are interpreted or compiled as they are defined.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if visible_gpu() is None:
        no_gpu = pytest.mark.skip(reason="needs an NVIDIA GPU; none is visible here")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(no_gpu)


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in instructions."""
    return fetch_dataset("builtin:instructions", tmp_path_factory.mktemp("sources") / "dataset")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Phi-3, without weights."""
    return fetch_model("builtin:phi3-tiny", tmp_path_factory.mktemp("sources") / "model")


@pytest.fixture
def datasets_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of `datasets` for one test."""
    import datasets

    cache = tmp_path_factory.mktemp("datasets-cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
