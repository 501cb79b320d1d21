"""What reaches a cluster when the blog's command is typed: code, tasks, graph and inputs.

The real clients run as child processes with an empty home, against a control plane that records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from flyteidl.core import tasks_pb2
from support.control_plane import UNION_REGISTRY, WORKFLOW, ControlPlane
from support.literals import unpacked
from support.projects import PACKAGE, copy_project, needed_modules

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments

BLOG = (f"{WORKFLOW}.py", "benchmarking_experiment", "--inputs-file", "phi3_inputs.yaml")
EXPERIMENT = f"{WORKFLOW}.benchmarking_experiment"
TASKS = (
    "download_dataset",
    "download_model",
    "prepare_experiment_args",
    "run_cached_training_benchmark",
    "analyze_results",
    "publish_page",
)

# The package `union` as if it were not installed: neither to import nor as anybody's plugin.
WITHOUT_UNION = """
import importlib.metadata, sys
import importlib_metadata

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "union":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def without_union(installed):
    return staticmethod(lambda *context: (
        found for found in installed(*context) if found.metadata["Name"] != "union"
    ))

for metadata in (importlib.metadata, importlib_metadata):
    finder = metadata.MetadataPathFinder
    finder.find_distributions = without_union(finder.find_distributions)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("registration") / "project")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="module")
def blog(plane: ControlPlane, project: Path) -> ControlPlane:
    """What the blog's own command has registered and started."""
    child = plane.run("union", project, *BLOG)
    assert child.returncode == 0, child.stdout
    assert "/executions/e1" in child.stdout
    return plane.snapshot()


def template(plane: ControlPlane, task: str) -> tasks_pb2.TaskTemplate:
    return plane.tasks[f"{WORKFLOW}.{task}"].template


def resources(entries: Iterable[tasks_pb2.Resources.ResourceEntry]) -> dict[str, str]:
    return {tasks_pb2.Resources.ResourceName.Name(entry.name): entry.value for entry in entries}


def limits(task: tasks_pb2.TaskTemplate) -> dict[str, str]:
    return resources(task.container.resources.limits)


def variables(task: tasks_pb2.TaskTemplate) -> dict[str, str]:
    return {variable.key: variable.value for variable in task.container.env}


def test_the_blogs_command_starts_the_experiment_once(blog: ControlPlane) -> None:
    assert blog.refused == []
    (execution,) = blog.executions
    assert execution.spec.launch_plan.name == EXPERIMENT
    assert list(blog.workflows) == list(blog.launch_plans) == [EXPERIMENT]
    assert sorted(blog.tasks) == sorted(f"{WORKFLOW}.{task}" for task in TASKS)


def test_the_archive_holds_every_module_that_is_needed_and_nothing_else(
    blog: ControlPlane, project: Path
) -> None:
    archive = blog.archive()
    assert sorted(archive) == sorted(needed_modules(project, WORKFLOW))
    assert {
        f"{PACKAGE}/training/condition.py",
        "image_spec.py",
        f"{PACKAGE}/flyte/tracking.py",
    } <= archive.keys()
    for path, content in archive.items():
        assert content == (project / path).read_bytes()


def test_the_experiments_inputs_are_what_the_file_says(blog: ControlPlane, project: Path) -> None:
    said = yaml.safe_load((project / "phi3_inputs.yaml").read_text())
    literals = blog.executions[0].inputs.literals
    experiment_args = unpacked(literals["experiment_args"])
    training_args = unpacked(literals["training_args"])
    assert experiment_args == dataclasses.asdict(ExperimentArguments(**said["experiment_args"]))
    assert experiment_args.items() >= said["experiment_args"].items()
    assert training_args == dataclasses.asdict(TrainingArguments(**said["training_args"]))
    assert training_args.items() >= said["training_args"].items()
    assert literals["n_runs"].scalar.primitive.integer == said["n_runs"] == 3
    assert literals["attempt"].scalar.primitive.integer == 1


def test_the_launch_plan_defaults_to_the_blogs_experiment(blog: ControlPlane) -> None:
    defaults = blog.launch_plans[EXPERIMENT].default_inputs.parameters
    assert unpacked(defaults["experiment_args"].default) == dataclasses.asdict(
        ExperimentArguments()
    )
    assert unpacked(defaults["training_args"].default) == dataclasses.asdict(TrainingArguments())
    assert defaults["n_runs"].default.scalar.primitive.integer == 3
    assert defaults["attempt"].default.scalar.primitive.integer == 1


def test_the_graph_is_two_downloads_and_the_grid_then_the_runs_then_the_analysis(
    blog: ControlPlane,
) -> None:
    nodes = blog.workflows[EXPERIMENT].template.nodes
    names = {node.id: node.task_node.reference_id.name.split(".")[-1] for node in nodes}
    upstream = {
        names[node.id]: {names[source] for source in node.upstream_node_ids} for node in nodes
    }
    assert upstream == {
        "download_dataset": set(),
        "download_model": set(),
        "prepare_experiment_args": set(),
        "run_cached_training_benchmark": {
            "download_dataset",
            "download_model",
            "prepare_experiment_args",
        },
        "analyze_results": {
            "download_model",
            "prepare_experiment_args",
            "run_cached_training_benchmark",
        },
        "publish_page": {
            "download_model",
            "prepare_experiment_args",
            "run_cached_training_benchmark",
        },
    }


def test_every_task_runs_the_shipped_code_in_the_image_from_unions_builder(
    blog: ControlPlane,
) -> None:
    (asked,) = set(blog.images)
    assert asked.startswith("liger-kernel-finetuning:")
    for task in TASKS:
        container = template(blog, task).container
        assert container.image == f"{UNION_REGISTRY}/{asked}"
        assert container.args[:2] == ["pyflyte-fast-execute", "--additional-distribution"]
        assert container.args[-4:] == ["task-module", WORKFLOW, "task-name", task]


def test_only_gpu_work_asks_for_a_gpu(blog: ControlPlane) -> None:
    for task in TASKS:
        assert "GPU" not in limits(template(blog, task))
        assert not template(blog, task).extended_resources.HasField("gpu_accelerator")
    assert limits(template(blog, "analyze_results")) == {"CPU": "2", "MEMORY": "2Gi"}
    assert limits(template(blog, "download_model")) == limits(template(blog, "download_dataset"))


def test_every_task_requests_what_it_is_limited_to(blog: ControlPlane) -> None:
    """Flyte checks requests when it registers a task, and cuts limits down without a word."""
    for task in TASKS:
        stated = limits(template(blog, task))
        assert stated.keys() >= {"CPU", "MEMORY"}
        assert resources(template(blog, task).container.resources.requests) == stated


def test_tasks_that_hold_weights_state_their_disk_and_the_dynamic_task_holds_none(
    blog: ControlPlane,
) -> None:
    with_storage = {task for task in TASKS if "EPHEMERAL_STORAGE" in limits(template(blog, task))}
    assert with_storage == {"download_dataset", "download_model"}
    for task in ("prepare_experiment_args", "run_cached_training_benchmark"):
        assert limits(template(blog, task)) == {"CPU": "1", "MEMORY": "1Gi"}


def test_only_the_analysis_has_a_deck(blog: ControlPlane) -> None:
    with_deck = [t for t in TASKS if template(blog, t).metadata.generates_deck.value]
    assert with_deck == ["analyze_results"]


def test_downloads_and_the_grid_of_runs_are_cached_each_under_its_own_version(
    blog: ControlPlane,
) -> None:
    cached = {
        task: template(blog, task).metadata.discovery_version
        for task in TASKS
        if template(blog, task).metadata.discoverable
    }
    assert cached.keys() == {"download_dataset", "download_model", "run_cached_training_benchmark"}
    assert cached["download_dataset"] == cached["download_model"]
    assert cached["run_cached_training_benchmark"].endswith("-A100")
    assert all(cached.values())


def test_no_secret_is_requested_where_none_is_used(blog: ControlPlane) -> None:
    assert [t for t in TASKS if template(blog, t).security_context.secrets] == []


def test_containers_are_told_the_settings_of_the_registration(blog: ControlPlane) -> None:
    for task in TASKS:
        told = variables(template(blog, task))
        assert told["LIGER_BENCHMARK_GPU"] == "A100"
        assert told["LIGER_BENCHMARK_CPU"] == "12"
        assert told["LIGER_BENCHMARK_MEMORY"] == "24Gi"
        assert told["LIGER_BENCHMARK_STORAGE"] == "20Gi"
        assert told["LIGER_BENCHMARK_SECRETS"] == "wandb_api_key"
        assert told["LIGER_BENCHMARK_SECRET_GROUP"] == ""
        assert told["LIGER_BENCHMARK_PINS"]


def test_the_same_command_again_starts_a_second_execution_of_the_same_version(
    blog: ControlPlane, plane: ControlPlane, project: Path
) -> None:
    child = plane.run("union", project, *BLOG)
    assert child.returncode == 0, child.stdout
    first, second = blog.executions[0], plane.executions[-1]
    assert first is not second
    assert first.spec.launch_plan == second.spec.launch_plan
    assert first.inputs == second.inputs


def test_other_settings_are_another_version_which_the_cluster_accepts(
    blog: ControlPlane, plane: ControlPlane, project: Path
) -> None:
    setting = {
        "LIGER_BENCHMARK_GPU": "H100",
        "LIGER_BENCHMARK_STORAGE": "100Gi",
        "WANDB_PROJECT": "another-project",
    }
    child = plane.run("union", project, *BLOG, environment=setting)
    assert child.returncode == 0, child.stdout
    before, after = (p.workflows[EXPERIMENT].template.id.version for p in (blog, plane))
    assert before != after
    assert variables(template(plane, "download_model")).items() >= setting.items()
    assert limits(template(plane, "download_model"))["EPHEMERAL_STORAGE"] == "100Gi"


@pytest.mark.parametrize("union", ["installed", "absent"])
def test_pyflyte_registers_for_ones_own_flyte_with_or_without_union(
    project: Path, tmp_path: Path, union: str
) -> None:
    environment = {"LIGER_BENCHMARK_REGISTRY": "localhost:30000"}
    if union == "absent":
        (tmp_path / "sitecustomize.py").write_text(WITHOUT_UNION)
        environment["PYTHONPATH"] = str(tmp_path)
    with ControlPlane(tmp_path / "plane") as plane:
        child = plane.run("pyflyte", project, *BLOG, environment=environment)
        assert child.returncode == 0, child.stdout
        assert len(plane.executions) == 1
        assert plane.refused == plane.images == []
        for task in TASKS:
            image = template(plane, task).container.image
            assert image.startswith("localhost:30000/liger-kernel-finetuning:")
            # Kubernetes wants a secret's group, whether or not `union` is installed here.
            told = variables(template(plane, task))
            assert told["LIGER_BENCHMARK_SECRET_GROUP"] == "liger-benchmark"
        assert sorted(plane.archive()) == sorted(needed_modules(project, WORKFLOW))


def test_a_mistake_in_the_inputs_file_ends_the_command_before_anything_is_sent(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "inputs.yaml").write_text("training_args: {dataset: tatsu-lab/alpaca}\n")
    with ControlPlane(tmp_path / "plane") as plane:
        child = plane.run("union", project, *BLOG[:-1], str(tmp_path / "inputs.yaml"))
        assert child.returncode != 0
        assert "training_args.dataset: unknown key" in child.stdout
        assert plane.tasks == {}
        assert list(plane.store.rglob("*.tar.gz")) == []
