"""A task of the experiment in a pod of Flyte 2: its files, its try, its resources, its error."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.cgroups import GIB, write_limits
from support.tiny import TINY

from liger_benchmark import store
from liger_benchmark.flyte import local_run, pod_limits
from liger_benchmark.flyte.pod_limits import PodCutDown
from liger_benchmark.run import read_run

# `flyte` alone would be found as the folder of this file.
pytest.importorskip("flyte.io", reason="the SDK of Flyte 2 is not installed (requirements-dev.txt)")

import flyte
from flyte.io import Dir

import liger_kernel_finetuning_v2 as experiment
from liger_benchmark.flyte2 import conditions, execution


def test_a_pods_error_reaches_the_report_as_type_and_message(tmp_path: Path) -> None:
    traceback = 'Traceback (most recent call last):\n  File "x.py"\ntorch.AcceleratorError: no\n'
    grid = [dataclasses.replace(TINY, run=run) for run in (1, 2, 3)]
    conditions.keep_failures(tmp_path, grid, [traceback, None, "the pod was evicted"])
    first, second, third = (store.failure_folder(tmp_path, arguments) for arguments in grid)
    assert read_run(first).record["error"] == {
        "type": "AcceleratorError",
        "message": "no",
        "traceback": traceback,
    }
    assert not second.exists()
    assert read_run(third).record["error"]["message"] == "the pod was evicted"


def in_pod(monkeypatch: pytest.MonkeyPatch, run_folder: str, attempt: int = 0) -> None:
    """Let a new pod begin, whose run has this folder of the blob store."""

    class Pod:
        attempt_number = attempt

        class action:
            name = "a1"
            run_name = "r1"

        def is_in_cluster(self) -> bool:
            return True

    flyte.init()  # as every pod is
    Pod.run_base_dir = run_folder  # type: ignore[attr-defined]
    monkeypatch.setattr(flyte, "ctx", Pod)
    execution._pods_until_this_one.cache_clear()


def test_a_pod_has_its_files_in_a_folder_of_its_own_and_the_run_as_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert execution.storage() == local_run.BUILD
    assert execution.attempt() == {}
    in_pod(monkeypatch, "memory://run")
    monkeypatch.setenv("WANDB_API_KEY", "a key")
    assert not execution.is_local()
    assert execution.storage() != local_run.BUILD
    assert conditions.wandb_options(TINY) == {"group": "r1", "api_key": "a key"}
    task = experiment.train_model
    assert execution.cached_on_cluster(task) is task


def test_a_pods_try_is_counted_whether_or_not_flyte_counts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Each but the last is killed: Flyte 2 starts the next under the same attempt.
    for number in (1, 2, 3):
        in_pod(monkeypatch, f"memory://{tmp_path}/run/")
        assert execution.attempt() == execution.attempt() == {"attempt": number}
    in_pod(monkeypatch, f"memory://{tmp_path}/another-run", attempt=1)
    assert execution.attempt() == {"attempt": 2}


def test_a_blob_store_that_refuses_costs_the_count_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_pod(monkeypatch, "no-such-store://run")
    assert execution.attempt() == {"attempt": 1}
    assert "the pod's tries cannot be counted" in capsys.readouterr().err


def test_a_pod_is_counted_and_compared_before_it_fetches_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_pod(monkeypatch, f"memory://{tmp_path}/run")
    monkeypatch.setattr(pod_limits, "CGROUPS", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_limits(tmp_path, "version 2", GIB, 2)
    nothing = Dir(path=str(tmp_path / "nowhere"))
    with pytest.raises(PodCutDown, match="task_resources.limits: this pod has 1 GiB"):
        experiment.train_model.func(TINY, nothing, nothing)
    in_pod(monkeypatch, f"memory://{tmp_path}/run")
    assert execution.attempt() == {"attempt": 2}


def test_a_condition_on_several_gpus_gets_a_pod_for_them_on_a_cluster_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = experiment.train_model
    assert conditions.on_gpus(task, 2) is task
    in_pod(monkeypatch, "memory://run")
    assert conditions.on_gpus(task, 1) is task
    pod = conditions.on_gpus(task, 2).resources
    assert (pod.get_device().device, pod.get_device().quantity) == ("A100", 2)
    assert (pod.cpu, pod.memory, pod.disk) == (("24", "24"), ("48Gi", "48Gi"), "20Gi")
    assert pod.shm == "4Gi"
