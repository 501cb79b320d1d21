"""The experiment on Flyte 2 as it is declared: environments, image, and what code is shipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from support.projects import PACKAGE, copy_project, needed_modules

from liger_benchmark.flyte.settings import GPU_KINDS

# `flyte` alone would be found as the folder of this file.
pytest.importorskip("flyte.io", reason="the SDK of Flyte 2 is not installed (requirements-dev.txt)")

import flyte

from liger_benchmark.flyte2 import environments

PROJECT = Path(__file__).parents[2]
ENTRY = "liger_kernel_finetuning_v2"


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
    )


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
    """Flyte 2 ships the modules that the import of the entry has loaded, and no other."""
    code = (
        f"import json, sys, {ENTRY}\n"
        "files = [getattr(module, '__file__', None) for module in sys.modules.values()]\n"
        "print(json.dumps([file for file in files if file]))"
    )
    done = python(code, PROJECT)
    assert done.returncode == 0, done.stderr[-3000:]
    files = map(Path, json.loads(done.stdout.splitlines()[-1]))
    own = [PROJECT / f"{ENTRY}.py", *(PROJECT / PACKAGE).rglob("*.py")]
    own += [PROJECT / name for name in ("image_spec.py", "liger_kernel_finetuning.py")]
    loaded = {path.relative_to(PROJECT).as_posix() for path in {*files} & {*own}}
    modules = {
        path.relative_to(PROJECT).as_posix()
        for folder in ("training", "sources")
        for path in (PROJECT / PACKAGE / folder).glob("*.py")
    }
    # Also what is imported inside functions, which has to be there when they are called.
    assert needed_modules(PROJECT, ENTRY) - loaded == set()
    assert modules - loaded == set()
    assert not {"image_spec.py", "liger_kernel_finetuning.py"} & loaded


def test_the_workflow_for_flyte_1_needs_no_sdk_of_flyte_2() -> None:
    done = python(
        "import sys; sys.modules['flyte'] = None; import liger_kernel_finetuning", PROJECT
    )
    assert done.returncode == 0, done.stderr[-3000:]
