"""A grid on two GPUs: what its pods ask for, and two ranks in the container's own command."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from flyteidl.core import tasks_pb2
from support.containers import Cluster
from support.submitted import submitted
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.analysis.tables import analyse, read_experiment
from liger_benchmark.catalog import MODELS
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.flyte import local_run, pod_memory, settings
from liger_benchmark.flyte.group_size import conditions_at_once
from liger_benchmark.validation import InvalidInput

INPUTS = """\
experiment_args: {use_liger: [false], per_device_train_batch_size: [1], sharding: [ddp, fsdp2]}
training_args:
  model_name: "builtin:phi3-tiny"
  dataset_name: "builtin:instructions"
  n_gpus: 2
  max_seq_length: 32
  bf16: false
  max_steps: 2
  n_warmup_steps: 1
n_runs: 1
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, list[dict[str, Any]]]]:
    """The experiment in containers, and its results."""
    folder = tmp_path_factory.mktemp("execution")
    with submitted(folder, INPUTS) as plane:
        cluster = Cluster(plane, folder / "cluster")
        outputs = cluster.run(plane.executions[0])
        literals = outputs["o0"].collection.literals
        yield cluster, [msgpack.unpackb(literal.scalar.binary.value) for literal in literals]


def test_a_training_pod_asks_for_two_gpus_and_what_fits_them(ran: Any) -> None:
    (node,) = ran[0].array_nodes
    asked = node.node.task_node.overrides
    names = {
        tasks_pb2.Resources.ResourceName.Name(entry.name): entry.value
        for entry in asked.resources.limits
    }
    assert names == {"CPU": "24", "MEMORY": "48Gi", "GPU": "2", "EPHEMERAL_STORAGE": "20Gi"}
    assert asked.resources.requests == asked.resources.limits
    assert asked.extended_resources.shared_memory.size_limit == "4Gi"
    assert asked.extended_resources.gpu_accelerator.device == "nvidia-tesla-a100"


def test_concurrency_counts_gpus(ran: Any) -> None:
    (node,) = ran[0].array_nodes
    assert node.parallelism == 2
    for n_gpus, at_once in ((1, 4), (2, 2), (3, 1), (8, 1)):
        assert conditions_at_once([TINY, dataclasses.replace(TINY, n_gpus=n_gpus)]) == at_once


def test_the_containers_own_command_runs_two_ranks(ran: Any) -> None:
    cluster, results = ran
    for result in results:
        record = json.loads(cluster.stored(result["record"]["path"]).read_text())
        assert record["outcome"] == "completed"
        assert record["group"]["n_ranks"] == 2
        assert record["group"]["gradients_agree"]


def test_a_local_run_shows_both_ways_of_sharing_as_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    results, table = workflow.benchmarking_experiment(
        experiment_args=ExperimentArguments(
            use_liger=[False], per_device_train_batch_size=[1], sharding=["ddp", "fsdp2"]
        ),
        training_args=dataclasses.replace(TINY, n_gpus=2),
        n_runs=1,
    )
    assert list(table["outcome"]) == ["completed", "completed"]
    assert list(table["arm"]) == ["vanilla", "vanilla + fsdp2"]
    assert all(results)
    [page] = tmp_path.glob("build/results/*-*/report.html")
    cells = analyse(read_experiment([page.parent])).cells
    assert list(cells["arm"]) == ["vanilla", "vanilla + fsdp2"]
    assert list(cells["invalid"]) == ["", ""]


def test_memory_and_cpus_are_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for amount, twice in (("24Gi", "48Gi"), ("1.5Ti", "3Ti"), ("500m", "1000m"), ("12", "24")):
        assert settings.times(amount, 2) == twice
    assert settings.training_size(1) == settings.TRAINING_SIZE
    monkeypatch.setattr(pod_memory, "MEMORY", "12Gi")
    grid = [dataclasses.replace(TINY, bf16=True, n_gpus=n) for n in (1, 2)]
    pod_memory.check_pod_memory(grid[1:], MODELS["llama-3-8b"])  # 15 GiB of weights in 24
    with pytest.raises(InvalidInput, match="register with 19Gi or more"):
        pod_memory.check_pod_memory(grid[:1], MODELS["llama-3-8b"])
