"""Pods that a platform cuts down, or never starts, in the containers of a registered experiment."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cgroups import GIB, VERSIONS, write_limits
from support.containers import Cluster, PodFailed
from support.control_plane import ControlPlane
from support.submitted import submitted

INPUTS = """
experiment_args: {use_liger: [false], per_device_train_batch_size: [1, 2]}
training_args:
  model_name: "builtin:phi3-tiny"
  dataset_name: "builtin:instructions"
  max_seq_length: 16
  bf16: false
  max_steps: 1
  n_warmup_steps: 0
n_runs: 1
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("pod-faults")
    with submitted(folder, INPUTS) as plane:
        yield plane


@pytest.fixture(scope="module")
def cut_down(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Cluster, str]]:
    """Executions whose pods got the platform's default limits, with their error, by version."""
    executions, cache = {}, {}
    for version in VERSIONS:
        name = version.replace(" ", "-")
        cluster = Cluster(plane, tmp_path_factory.mktemp(name) / "c", cache, execution=name)
        write_limits(cluster.cgroups, version, GIB, 2)
        with pytest.raises(PodFailed) as caught:
            cluster.run(plane.executions[0])
        executions[version] = cluster, str(caught.value)
    return executions


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_that_is_cut_down_names_the_platforms_setting_and_fetches_no_model(
    cut_down: dict[str, tuple[Cluster, str]], version: str
) -> None:
    cluster, error = cut_down[version]
    assert "task_resources.limits: this pod has 1 GiB of memory instead of 24Gi" in error
    pods = cluster.ran("-arraynode")
    assert len(pods) == 2
    for pod in pods:
        assert not [path for path in pod.fetched if "safetensors" in path or "tokenizer" in path]


def test_a_pod_that_never_starts_shows_no_earlier_executions_reason(
    plane: ControlPlane,
    cut_down: dict[str, tuple[Cluster, str]],
    tmp_path: Path,
) -> None:
    earlier = cut_down[VERSIONS[-1]][0]
    cluster = Cluster(
        plane, tmp_path / "c", earlier.cache, never_started=[0], execution="later", attempt=1
    )
    cluster.run(plane.executions[0])
    (analysis,) = cluster.ran("analyze_results")
    deck = html.unescape((cluster.stored(analysis.output_prefix) / "deck.html").read_text())
    assert "NoReason: no reason was left" in deck
    assert "task_resources" not in deck
    assert "on try 2" in deck  # of the condition that completed
