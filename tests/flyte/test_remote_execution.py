"""The experiment as a cluster runs it, from the shipped code to the report's Deck.

A tiny experiment is registered with the real client and run twice, container by container. In the
first run one machine is broken, so that one of the two conditions fails. The second run asks for
another attempt, and has the first one's cache.
"""

from __future__ import annotations

import dataclasses
import html
import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pandas as pd
import pytest
from flyteidl.core import literals_pb2, tasks_pb2
from flytekit.core.context_manager import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import Literal
from support.containers import Cluster, min_successes
from support.control_plane import UNION_REGISTRY, WORKFLOW, ControlPlane
from support.literals import Literals, attribute, unpacked
from support.submitted import submitted

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import MAX_GRID, ExperimentArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.run import COMPLETED, HISTORY_FILE

INPUTS = """
experiment_args: {use_liger: [true, false], per_device_train_batch_size: [1]}
training_args:
  model_name: "builtin:phi3-tiny"
  dataset_name: "builtin:instructions"
  max_seq_length: 16
  bf16: false
  max_steps: 1
  n_warmup_steps: 0
n_runs: 1
"""
LIGER, VANILLA = 0, 1


@dataclass
class Execution:
    """A run of the experiment, its results and its analysis as they lie in the blob store."""

    plane: ControlPlane
    cluster: Cluster
    outputs: Literals

    @property
    def results(self) -> list[dict[str, Any] | None]:
        return [unpacked(literal) for literal in self.outputs["o0"].collection.literals]

    @property
    def table(self) -> pd.DataFrame:
        return pd.read_parquet(
            self.cluster.stored(self.outputs["o1"].scalar.structured_dataset.uri)
        )

    @property
    def deck(self) -> str:
        (analysis,) = self.cluster.ran("analyze_results")
        return (self.cluster.stored(analysis.output_prefix) / "deck.html").read_text()

    @property
    def training(self) -> tasks_pb2.TaskTemplate:
        """The task that the dynamic one, in its container, mapped over the grid."""
        (task,) = (t for name, t in self.cluster.templates.items() if "map_train_model" in name)
        return task


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("execution")
    with submitted(folder, INPUTS) as plane:
        yield plane


@pytest.fixture(scope="module")
def first(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Execution:
    """The first run: where Liger's condition runs, the installed liger-kernel is broken."""
    folder = tmp_path_factory.mktemp("first")
    package = folder / "broken" / "liger_kernel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise OSError('this machine is broken')\n")
    cluster = Cluster(plane, folder / "cluster", broken={LIGER: package.parent})
    return Execution(plane, cluster, cluster.run(plane.executions[0]))


@pytest.fixture(scope="module")
def second(first: Execution, tmp_path_factory: pytest.TempPathFactory) -> Execution:
    """The same experiment with a higher `attempt`, all machines well."""
    request = type(first.plane.executions[0])()
    request.CopyFrom(first.plane.executions[0])
    request.inputs.literals["attempt"].scalar.primitive.integer = 2
    folder = tmp_path_factory.mktemp("second")
    cluster = Cluster(first.plane, folder, cache=first.cluster.cache, attempt=1)
    return Execution(first.plane, cluster, cluster.run(request))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingArguments]:
    path = tmp_path_factory.mktemp("grid") / "inputs.yaml"
    path.write_text(INPUTS)
    return read_inputs_file(path).grid


def test_the_page_is_a_file_to_download_and_pass_on(first: Execution) -> None:
    (published,) = first.cluster.ran("publish_page")
    outputs = (first.cluster.stored(published.output_prefix) / "outputs.pb").read_bytes()
    page = literals_pb2.LiteralMap.FromString(outputs).literals["o0"].scalar.blob.uri
    assert page.endswith("report.html")
    text = first.cluster.stored(page).read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "Benchmarking Results" in text


def test_every_container_before_the_runs_does_its_work_from_the_archive_alone(
    first: Execution,
) -> None:
    for task in ("download_dataset", "download_model", "prepare_experiment_args"):
        (pod,) = first.cluster.ran(task)
        assert pod.error is None


def test_the_grid_is_mapped_four_at_a_time_and_may_fail_in_part(first: Execution) -> None:
    (node,) = first.cluster.array_nodes
    assert node.parallelism == 4
    # A tenth, rounded up. In 32 bits 0.1 is more than that: of 10 elements it wants 2.
    for n in range(1, MAX_GRID + 1):
        assert min_successes(node.min_success_ratio, n) == -(-n // 10)
    assert min_successes(struct.unpack("f", struct.pack("f", 0.1))[0], 10) == 2


def test_a_run_gets_one_a100_and_the_blogs_resources(first: Execution) -> None:
    stated = first.training.container.resources
    limits, requests = (
        {tasks_pb2.Resources.ResourceName.Name(entry.name): entry.value for entry in entries}
        for entries in (stated.limits, stated.requests)
    )
    assert limits == {"CPU": "12", "MEMORY": "24Gi", "GPU": "1", "EPHEMERAL_STORAGE": "20Gi"}
    assert requests == limits
    assert first.training.extended_resources.gpu_accelerator.device == "nvidia-tesla-a100"


def test_a_run_requests_the_wandb_key_as_a_secret(first: Execution) -> None:
    (secret,) = first.training.security_context.secrets
    # Union's secrets have no group, and `union` registered this.
    assert (secret.key, secret.group) == ("wandb_api_key", "")


def test_a_container_registers_runs_with_the_clients_image_and_cache_version(
    first: Execution, plane: ControlPlane
) -> None:
    registered = plane.tasks[f"{WORKFLOW}.run_cached_training_benchmark"].template
    assert first.training.metadata.discoverable
    assert first.training.metadata.discovery_version == registered.metadata.discovery_version
    assert first.training.container.image == registered.container.image
    assert first.training.container.image.startswith(f"{UNION_REGISTRY}/")


def test_a_run_that_fails_shows_its_own_error_and_leaves_its_place_empty(first: Execution) -> None:
    failed, succeeded = sorted(first.cluster.ran("-arraynode"), key=lambda pod: pod.index or 0)
    assert failed.error is not None
    assert "this machine is broken" in failed.error
    assert succeeded.error is None
    assert [result is None for result in first.results] == [True, False]


def test_a_failed_run_is_in_the_report_as_failed(first: Execution) -> None:
    assert list(first.table["outcome"]) == ["failed", COMPLETED]
    assert "failed" in first.deck


def test_a_failed_runs_own_error_and_its_index_are_in_the_report(first: Execution) -> None:
    assert "OSError: this machine is broken (index 0 of the map task, attempt 1)" in html.unescape(
        first.deck
    )


def test_the_dynamic_task_fetches_the_models_config_and_nothing_else(first: Execution) -> None:
    (pod,) = first.cluster.ran("run_cached_training_benchmark")
    fetched = [Path(path).name for path in pod.fetched if "/raw/" in path]
    assert fetched == ["config.json"]


def test_a_record_says_which_try_of_its_pod_it_was(second: Execution) -> None:
    records = [
        json.loads(second.cluster.stored(result["record"]["path"]).read_text())
        for result in second.results
        if result
    ]
    # The first execution's pods were told 0, as Flyte counts; the second's 1.
    assert [record["attempt"] for record in records] == [2, 1]


@pytest.mark.parametrize("primitives", [True, False], ids=["primitive", "msgpack"])
def test_a_task_reads_a_dataclass_attribute_however_the_engine_sends_it(
    plane: ControlPlane, primitives: bool
) -> None:
    experiment = ExperimentArguments(baseline="vanilla")
    sent = {"experiment_args": experiment, "training_args": TrainingArguments()}
    nodes = plane.workflows[f"{WORKFLOW}.benchmarking_experiment"].template.nodes
    seen = {}
    for node in nodes:
        task = getattr(workflow, node.task_node.reference_id.name.split(".")[-1])
        for binding in node.inputs:
            path = [part.string_value for part in binding.binding.promise.attr_path]
            if not path:
                continue
            value = sent[binding.binding.promise.var]
            packed = literals_pb2.Binary(
                value=msgpack.packb(dataclasses.asdict(value)), tag="msgpack"
            )
            literal = attribute(
                literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=packed)),
                path,
                primitives=primitives,
            )
            got = TypeEngine.to_python_value(
                FlyteContextManager.current_context(),
                Literal.from_flyte_idl(literal),
                task.python_interface.inputs[binding.var],
            )
            assert got == getattr(value, path[0])
            seen[binding.var] = got
    of_dataset = {"dataset_name", "dataset_config", "dataset_split"}
    assert seen.keys() == {*of_dataset, "model_name", "baseline"}


def test_a_result_outlives_its_container(second: Execution) -> None:
    for result in second.results:
        assert result is not None
        history, record, model = (
            second.cluster.stored(result[key]["path"])
            for key in ("training_history", "record", "model_dir")
        )
        assert history.name == HISTORY_FILE
        assert len(pd.read_csv(history)) == 1
        assert json.loads(record.read_text())["outcome"] == result["outcome"] == COMPLETED
        assert (model / "trainer_state.json").is_file()


def test_training_arguments_come_through_every_container_unchanged(
    second: Execution, grid: list[TrainingArguments]
) -> None:
    assert [TrainingArguments(**r["training_args"]) for r in second.results if r] == grid
    assert grid[LIGER].use_liger and not grid[VANILLA].use_liger


def test_both_arms_see_the_same_rows_and_losses(second: Execution) -> None:
    liger, vanilla = (
        pd.read_csv(second.cluster.stored(result["training_history"]["path"]))
        for result in second.results
        if result
    )
    assert list(liger["loss"]) == pytest.approx(list(vanilla["loss"]), rel=1e-5)


def test_the_deck_is_the_whole_report(second: Execution) -> None:
    for section in ("Benchmarking Results", "Training curves", "Runs", "Environment"):
        assert section in second.deck
    assert "<svg" in second.deck
    assert list(second.table["outcome"]) == [COMPLETED, COMPLETED]


def test_a_raised_attempt_runs_only_what_failed(second: Execution) -> None:
    assert [pod.index for pod in second.cluster.ran("-arraynode")] == [LIGER]
    assert [pod.index for pod in second.cluster.pods if pod.cached and pod.index is not None] == [
        VANILLA
    ]
    assert second.cluster.ran("download_dataset") == second.cluster.ran("download_model") == []


def test_an_attempt_counts_in_the_grids_key_and_in_no_others(second: Execution) -> None:
    kept = Counter(name.split(".")[-1] for name, _, _ in second.cluster.cache)
    (training,) = (name for name in kept if name.startswith("map_train_model"))
    assert kept == {
        "download_dataset": 1,
        "download_model": 1,
        training: len(second.results),
        "run_cached_training_benchmark": 2,
    }
