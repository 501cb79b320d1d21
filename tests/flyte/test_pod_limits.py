"""A training pod that the platform has cut down says so before it fetches anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cgroups import GIB, UNLIMITED, VERSIONS, write_files, write_limits

from liger_benchmark.flyte import pod_limits
from liger_benchmark.flyte.pod_limits import PodCutDown, check_pod_limits, cpu_limit, memory_limit
from liger_benchmark.training import environment


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pod finds its control groups; it sees one GPU."""
    monkeypatch.setattr(pod_limits, "CGROUPS", tmp_path)
    monkeypatch.setattr(environment, "visible_devices", lambda: ["0"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_stated_is_enough(cgroups: Path, version: str) -> None:
    write_limits(cgroups, version, 24 * GIB, 12)
    assert (memory_limit(), cpu_limit()) == (24 * GIB, 12.0)
    check_pod_limits(n_gpus=1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_without_limits_is_not_cut_down(cgroups: Path, version: str) -> None:
    write_files(cgroups, UNLIMITED[version])
    assert memory_limit() is cpu_limit() is None
    check_pod_limits(n_gpus=1)


def test_a_machine_without_control_groups_has_no_limits(cgroups: Path) -> None:
    assert memory_limit() is cpu_limit() is None
    check_pod_limits(n_gpus=1)


def test_a_limit_that_is_no_whole_number_of_pages_is_not_cut(
    cgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = pod_limits.training_size(1)
    odd = type(stated)("12", "24G", stated.storage, 1)
    monkeypatch.setattr(pod_limits, "training_size", lambda _: odd)
    write_limits(cgroups, "version 2", 24 * 10**9 // 4096 * 4096, 12)
    check_pod_limits(n_gpus=1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_with_the_platforms_default_limits_is_refused_in_one_line(
    cgroups: Path, version: str
) -> None:
    write_limits(cgroups, version, GIB, 2)
    with pytest.raises(PodCutDown) as caught:
        check_pod_limits(n_gpus=1)
    assert str(caught.value) == (
        "task_resources.limits: this pod has 1 GiB of memory instead of 24Gi and 2 CPU instead of "
        "12; raise the platform's limits, or lower LIGER_BENCHMARK_MEMORY and LIGER_BENCHMARK_CPU"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_for_two_gpus_is_compared_with_what_two_gpus_state(
    cgroups: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_limits(cgroups, version, 24 * GIB, 24)
    with pytest.raises(PodCutDown, match="24 GiB of memory instead of 48Gi and 1 GPU instead of 2"):
        check_pod_limits(n_gpus=2)
    monkeypatch.setattr(environment, "visible_devices", lambda: ["0", "1"])
    with pytest.raises(PodCutDown, match="24 GiB of memory instead of 48Gi; raise"):
        check_pod_limits(n_gpus=2)


def test_a_pod_that_sees_no_gpu_is_refused_unless_they_are_hidden(
    cgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "visible_devices", lambda: [])
    with pytest.raises(PodCutDown, match="nvidia.com/gpu: no GPU is visible in this pod"):
        check_pod_limits(n_gpus=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_pod_limits(n_gpus=1)
