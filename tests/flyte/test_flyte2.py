"""The experiment on Flyte 2: its environments, a local run, failures, and what is shared."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cgroups import GIB, write_limits
from support.control_plane import PACKAGE, copy_project, needed_modules
from support.grids import make_run
from support.tiny import TINY

from liger_benchmark import store
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import local_run, page_so_far, pod_limits, tracking
from liger_benchmark.flyte.pod_limits import PodCutDown
from liger_benchmark.flyte.settings import GPU_KINDS
from liger_benchmark.run import OUT_OF_MEMORY, Run, read_run
from liger_benchmark.training import dry_pass
from liger_benchmark.training.isolated_process import ChildFailed

# `flyte` alone would be found as the folder of this file.
pytest.importorskip("flyte.io", reason="the SDK of Flyte 2 is not installed (requirements-dev.txt)")

import flyte
import flyte.errors
from flyte.io import Dir, File

import liger_kernel_finetuning_v2 as experiment
from liger_benchmark.flyte2 import conditions, environments, execution

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENTRY = "liger_kernel_finetuning_v2"


def write_inputs(path: Path, sizes: list[int], n_runs: int = 1, **settings: Any) -> Path:
    """An inputs file with the vanilla arm alone."""
    tiny = dataclasses.asdict(TINY) | {"max_steps": 2} | settings
    keys = ("model_name", "dataset_name", "max_seq_length", "bf16", "max_steps", "n_warmup_steps")
    content = {
        "experiment_args": {"use_liger": [False], "per_device_train_batch_size": sizes},
        "training_args": {key: tiny[key] for key in (*keys, *settings)},
        "n_runs": n_runs,
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def run_locally(inputs_file: Path) -> tuple[list[Any], Any, Any]:
    flyte.init()
    run = flyte.with_runcontext(mode="local").run(
        experiment.benchmarking_experiment, inputs_file=File(path=str(inputs_file))
    )
    return tuple(run.outputs())  # type: ignore[return-value]


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
    )


# ## What is declared

DECLARED = f"""
import json, sys
sys.modules["flytekit"] = sys.modules["union"] = None  # an import of either fails
import {ENTRY} as experiment
from liger_benchmark.flyte2 import environments as e
from flyte._internal.runtime.resources_serde import get_proto_extended_resources as extended
def declared(env):
    gpu = env.resources.get_device()
    return dict(
        cpu=env.resources.cpu, memory=env.resources.memory, disk=env.resources.disk,
        gpu=gpu and [gpu.device, gpu.quantity],
        secrets=[[s.key, s.group, s.as_env_var] for s in env.secrets or []],
        env_vars=env.env_vars, image=env.image.uri, tasks=sorted(env.tasks),
    )
envs = (e.download, e.training, e.analysis, e.experiment)
print(json.dumps({{env.name.removeprefix("liger-benchmark-"): declared(env) for env in envs}}))
"""


def declared(folder: Path = PROJECT, **environment: str) -> dict[str, Any]:
    """The task environments as whoever runs `flyte` with `environment` declares them."""
    done = python(DECLARED, folder, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    return declared()


def test_every_task_has_an_environment_with_requests_and_limits(defaults: dict[str, Any]) -> None:
    tasks = {
        "download": ["download_dataset", "download_model"],
        "training": ["train_model"],
        "analysis": ["analyze_results"],
    }
    for name, names in tasks.items():
        env = f"liger-benchmark-{name}"
        assert defaults[name]["tasks"] == [f"{env}.{task}" for task in names]
    assert defaults["liger-benchmark"]["tasks"] == ["liger-benchmark.benchmarking_experiment"]
    for env in defaults.values():
        for request, limit in (env["cpu"], env["memory"]):
            assert request == limit
    assert defaults["training"]["gpu"] == ["A100", 1]
    assert defaults["training"]["cpu"] == ["12", "12"]
    assert defaults["training"]["memory"] == ["24Gi", "24Gi"]
    assert [name for name, env in defaults.items() if env["gpu"]] == ["training"]
    assert [name for name, env in defaults.items() if env["disk"]] == ["download", "training"]


def test_only_the_training_gets_the_wandb_key_where_wandb_looks_for_it(
    defaults: dict[str, Any],
) -> None:
    assert {name: env["secrets"] for name, env in defaults.items() if env["secrets"]} == {
        "training": [["wandb_api_key", None, "WANDB_API_KEY"]]
    }


def test_what_is_set_at_registration_reaches_every_environment(tmp_path: Path) -> None:
    given = {
        "LIGER_BENCHMARK_GPU": "A100_80GB",
        "LIGER_BENCHMARK_REGISTRY": "registry.example/me",
        "LIGER_BENCHMARK_SECRETS": "hf_token",
        "LIGER_BENCHMARK_SECRET_GROUP": "keys",
        "WANDB_PROJECT": "kernels",
        "WANDB_ENTITY": "a-team",
    }
    envs = declared(**given)
    assert envs["training"]["gpu"] == ["A100_80G", 1]
    assert envs["training"]["secrets"] == []
    assert envs["download"]["secrets"] == [["hf_token", "keys", "HF_TOKEN"]]
    for env in envs.values():
        assert env["env_vars"].items() >= given.items()
        assert env["image"].startswith("registry.example/me/liger-kernel-finetuning:")
    # A pod has the code and these variables, and constraints.txt nowhere.
    pod = copy_project(tmp_path / "pod")
    (pod / "constraints.txt").unlink()
    code = (
        f"import {ENTRY} as e; print(e.train_model.env_vars, e.train_model.cache.version_override)"
    )
    here = python(code, PROJECT, **given)
    there = python(code, pod, **envs["training"]["env_vars"])
    assert there.stdout == here.stdout != "", there.stderr[-3000:]


def test_every_kind_of_gpu_is_one_that_flyte_2_knows() -> None:
    known = {
        name
        for names in typing.get_args(flyte._resources.GPUType)
        for name in (typing.get_args(names) or [names])
    }
    assert {environments.GPU_NAMES.get(kind, kind) for kind in GPU_KINDS} <= known


def test_the_image_installs_every_pin() -> None:
    layers = [layer for layer in environments.image._layers if hasattr(layer, "file")]
    (requirements,) = layers
    assert Path(requirements.file).samefile(PROJECT / "constraints.txt")
    assert environments.image.python_version == (3, 11)


def test_the_code_that_trains_is_loaded_and_so_shipped() -> None:
    modules = [
        path.relative_to(PROJECT).as_posix()
        for folder in ("training", "sources")
        for path in (PROJECT / PACKAGE / folder).glob("*.py")
    ]
    needed = needed_modules(PROJECT, ENTRY)
    assert needed >= set(modules)
    assert not {"image_spec.py", "liger_kernel_finetuning.py"} & needed


def test_the_workflow_for_flyte_1_needs_no_sdk_of_flyte_2() -> None:
    done = python(
        "import sys; sys.modules['flyte'] = None; import liger_kernel_finetuning", PROJECT
    )
    assert done.returncode == 0, done.stderr[-3000:]


# ## A local run


def test_flyte_run_makes_the_page_and_keeps_finished_runs(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    home = tmp_path / "home"
    home.mkdir()
    inputs = write_inputs(tmp_path / "inputs.yaml", [1])

    def run() -> str:
        done = subprocess.run(
            [BIN / "flyte", "run", "--local", f"{ENTRY}.py", "benchmarking_experiment"]
            + ["--inputs_file", str(inputs)],
            cwd=project,
            env={
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "HOME": str(home),
                "CUDA_VISIBLE_DEVICES": "",
                "HF_HUB_OFFLINE": "1",
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    first = run()
    assert "1 run: 1 arm (vanilla) × 1 batch size × 1 repeat" in first
    assert "[1/1] phi3-tiny bs=1 vanilla run=1 …" in first
    assert "kept from an earlier run" not in first
    [page] = project.glob("build/results/*-phi3-tiny-*/report.html")
    assert first.rstrip().endswith(str(page))
    [folder] = project.glob("build/runs/phi3-tiny-*")
    assert read_run(folder).outcome == "completed"
    second = run()
    assert "kept from an earlier run" in second
    assert not list(home.rglob(".flyte"))


Condition = Callable[..., Run]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture
def trained(build: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes that were trained. Training is a stub: 2 runs out of memory, 3 fails."""
    sizes: list[int] = []

    def stub(arguments: TrainingArguments, *_: Path, **__: Any) -> Run:
        size = arguments.per_device_train_batch_size
        sizes.append(size)
        if size == 3:
            error = {"type": "ValueError", "message": "three", "traceback": "ValueError: three"}
            raise ChildFailed(error)
        made = make_run("vanilla", size, arguments.run, steps=3, cpu=True)
        run = dataclasses.replace(made, training_args=arguments)
        if size == 2:
            run.outcome, run.record["out_of_memory"] = OUT_OF_MEMORY, {"step": 4}
        return run

    monkeypatch.setattr(conditions, "run_condition", stub)
    monkeypatch.setattr(dry_pass, "check_grid", lambda *_: [])
    return sizes


def test_a_failed_condition_costs_no_other_and_is_alone_tried_again(
    trained: list[int], build: Path, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "inputs.yaml", [1, 2, 3])
    results, table, page = run_locally(inputs)
    assert [result and result.outcome for result in results] == [
        "completed",
        "out_of_memory",
        None,
    ]
    assert list(table["outcome"]) == ["completed", "out_of_memory", "failed"]
    assert Path(page.path).is_relative_to(build / "results")
    assert "ValueError: three" in Path(page.path).read_text(encoding="utf-8")
    for result in results[:2]:
        assert Path(result.record.path).is_relative_to(build / "runs")
    run_locally(inputs)
    assert trained == [1, 2, 3, 3]


def test_the_page_is_written_after_each_condition(
    trained: list[int], build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    monkeypatch.setattr(
        page_so_far,
        "publish_part",
        lambda analysis, folder, planned: parts.append(len(analysis.runs)) or folder,
    )
    run_locally(write_inputs(tmp_path / "inputs.yaml", [1, 2, 3]))
    assert parts == [1, 2, 3]


def test_the_report_in_the_console_has_the_pages_sections(
    trained: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tabs: dict[str, str] = {}

    class Tab:
        def __init__(self, name: str) -> None:
            self.name = name

        def replace(self, html: str) -> None:
            tabs[self.name] = html

    monkeypatch.setattr(flyte.report, "get_tab", Tab)
    run_locally(write_inputs(tmp_path / "inputs.yaml", [1]))
    assert list(tabs)[0] == "Benchmarking Results"
    assert "Environment" in tabs
    assert experiment.analyze_results.report


def test_an_experiment_without_any_result_fails_after_its_report(
    trained: list[int], build: Path, tmp_path: Path
) -> None:
    with pytest.raises(flyte.errors.RuntimeUserError, match="all 1 conditions failed.*three"):
        run_locally(write_inputs(tmp_path / "inputs.yaml", [3]))
    assert list(build.glob("results/*/report.html"))


@pytest.mark.parametrize("mistake", [{"optim": "sdg"}, {"parallel_conditions": 2}])
def test_a_mistake_in_the_inputs_file_is_one_line_before_anything_is_fetched(
    mistake: dict[str, Any], trained: list[int], build: Path, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "inputs.yaml", [1], **mistake)
    key = f"training_args.{next(iter(mistake))}"
    with pytest.raises(flyte.errors.RuntimeUserError, match=key) as caught:
        run_locally(inputs)
    assert "\n" not in str(caught.value)
    assert not build.exists()


def test_a_condition_of_ones_own_grid_is_tracked_once(
    trained: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []

    class Opened:
        def __init__(self, arguments: TrainingArguments, **options: Any) -> None:
            opened.append(options)

        def __enter__(self) -> tracking.TrackedRun:
            return tracking.TrackedRun()

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(tracking, "wandb_run", Opened)
    inputs = write_inputs(tmp_path / "inputs.yaml", [1, 4], report_to="wandb")
    run_locally(inputs)
    run_locally(inputs)  # both are kept by now
    assert len(opened) == 2
    assert {options["group"] for options in opened} == {opened[0]["group"]}
    assert opened[0]["project"] == "liger-kernel-finetuning"


# ## In a pod


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


def test_a_reason_of_an_earlier_local_run_is_gone_when_a_grid_begins(
    trained: list[int], build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a condition that fails before its training, where W&B refuses the key, say."""
    inputs = write_inputs(tmp_path / "inputs.yaml", [1, 3])
    run_locally(inputs)

    def refused(*_: Any) -> None:
        raise RuntimeError("refused before the training")

    monkeypatch.setattr(conditions, "is_kept", lambda *_: False)
    monkeypatch.setattr(experiment, "tracked", refused)
    with pytest.raises(flyte.errors.RuntimeUserError, match="refused before the training"):
        run_locally(inputs)
    text = (build / "results" / "latest" / "report.html").read_text(encoding="utf-8")
    assert "refused before the training" in text
    assert "ValueError: three" not in text
