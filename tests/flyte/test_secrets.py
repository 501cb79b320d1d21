"""Secrets: asked for as Flyte secrets, explained where they are missing, and found nowhere else."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from flytekit import Secret
from flytekit.types.directory import FlyteDirectory
from support import fake_hub
from support.pods import pod
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.flyte import conditions, credentials, wandb_task
from liger_benchmark.flyte.credentials import MissingSecret
from liger_benchmark.run import COMPLETED, Run

PROJECT = Path(__file__).parents[2]
WANDB_KEY = "0badc0de" * 5
HUB_TOKEN = "hf_" + "PlantedToken" * 3
PLANTED = (WANDB_KEY, HUB_TOKEN)

SPECIFICATIONS = """
import json, sys
from collections import OrderedDict
from flytekit.configuration import ImageConfig, SerializationSettings
from flytekit.tools.translator import get_serializable
import liger_kernel_finetuning as w
settings = SerializationSettings(image_config=ImageConfig.auto(), project="p", domain="d")
tasks = (w.download_dataset, w.download_model, w.train_model, w.analyze_results)
described = {}
for task in tasks:
    specification = get_serializable(OrderedDict(), settings, task).template
    described[task.name.rpartition(".")[2]] = {
        "secrets": [s.key for s in specification.security_context.secrets]
        if specification.security_context else [],
        "all": str(specification.to_flyte_idl()) + repr(w.image),
    }
print(json.dumps(described))
"""


def specifications(**environment: str) -> dict[str, Any]:
    """The tasks as they are registered from an environment that holds both secrets."""
    done = subprocess.run(
        [sys.executable, "-c", SPECIFICATIONS],
        env={**os.environ, "WANDB_API_KEY": WANDB_KEY, "HF_TOKEN": HUB_TOKEN, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_only_the_wandb_key_is_asked_for_and_only_by_the_training() -> None:
    tasks = specifications()
    assert {name: task["secrets"] for name, task in tasks.items()} == {
        "download_dataset": [],
        "download_model": [],
        "train_model": ["wandb_api_key"],
        "analyze_results": [],
    }
    for task in tasks.values():
        assert not [secret for secret in PLANTED if secret in task["all"]]


def test_the_hubs_token_is_asked_for_if_named_at_registration() -> None:
    tasks = specifications(LIGER_BENCHMARK_SECRETS="wandb_api_key hf_token")
    assert tasks["download_dataset"]["secrets"] == ["hf_token"]
    assert tasks["download_model"]["secrets"] == ["hf_token"]
    assert tasks["train_model"]["secrets"] == ["wandb_api_key"]


@pytest.mark.parametrize(
    ("group", "command"),
    [
        (None, "`union create secret wandb_api_key`"),
        (
            "liger-benchmark",
            "`kubectl create secret generic liger-benchmark --from-literal=wandb_api_key=VALUE "
            "--namespace flytesnacks-development`",
        ),
    ],
)
def test_a_missing_secret_names_the_command_that_creates_it(
    group: str | None, command: str, tmp_path: Path
) -> None:
    secret = SimpleNamespace(key="wandb_api_key", group=group)
    with pod(tmp_path), pytest.raises(MissingSecret) as caught:
        credentials.read_secret(secret)
    message = str(caught.value)
    assert message.startswith("secret wandb_api_key: is not in this pod; create it with " + command)
    assert "LIGER_BENCHMARK_SECRETS" in message
    assert "\n" not in message
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("group", [None, "liger-benchmark"])
def test_a_secret_is_read_where_flyte_puts_it(
    group: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pod(tmp_path):
        manager = credentials.current_context().secrets
        variable = manager.get_secrets_env_var(group=group, key="hf_token")
        monkeypatch.setenv(variable, HUB_TOKEN + "\n")
        assert credentials.read_secret(SimpleNamespace(key="hf_token", group=group)) == HUB_TOKEN


def test_the_hubs_client_gets_the_token_in_a_pod_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "before")
    monkeypatch.setattr(credentials, "read_secret", lambda secret: f"value of {secret.key}")
    with pod(tmp_path):
        monkeypatch.setattr(credentials, "SECRETS", ["wandb_api_key"])
        credentials.with_hub_token()
        assert os.environ["HF_TOKEN"] == "before"
        monkeypatch.setattr(credentials, "SECRETS", ["wandb_api_key", "hf_token"])
        credentials.with_hub_token()
        assert os.environ["HF_TOKEN"] == "value of hf_token"


def test_a_local_run_needs_no_flyte_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: Secret) -> str:
        raise AssertionError("a secret was read")

    monkeypatch.setattr(credentials, "read_secret", read)
    for module in (credentials, wandb_task):
        monkeypatch.setattr(module, "is_local", lambda: True)
    monkeypatch.setattr(wandb_task, "read_secret", read)
    monkeypatch.setattr(credentials, "SECRETS", ["wandb_api_key", "hf_token"])
    credentials.with_hub_token()
    assert "api_key" not in wandb_task.wandb_options(TINY)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What wandb.init was given; no run is opened."""
    options: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **given: options.update(given))
    return options


Train = Callable[..., Any]


@pytest.fixture
def train_in_a_pod(
    dataset_folder: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Train:
    monkeypatch.setattr(
        conditions, "run_condition", lambda arguments, *_, **__: Run(arguments, COMPLETED)
    )
    monkeypatch.setattr(conditions, "describe", lambda _: "done")

    def train() -> Any:
        with pod(tmp_path):
            return workflow.train_model.task_function(
                training_args=dataclasses.replace(TINY, report_to="wandb"),
                dataset_cache_dir=FlyteDirectory(str(dataset_folder)),
                model_cache_dir=FlyteDirectory(str(model_folder)),
            )

    return train


def test_in_a_pod_wandb_gets_flytes_secret_execution_and_pod(
    train_in_a_pod: Train, opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_task, "read_secret", lambda _: WANDB_KEY)
    monkeypatch.setenv("HOSTNAME", "a1b2c3-n3-0-dn0-0-7")
    monkeypatch.setenv("FLYTE_EXECUTION_URL", "https://console.example/a1b2c3")
    train_in_a_pod()
    assert opened["settings"].api_key == WANDB_KEY
    assert opened["group"] == "a1b2c3"
    assert opened["id"] == "a1b2c3-n3-0-dn0-0-7"
    assert "https://console.example/a1b2c3" in opened["notes"]


def test_pods_that_do_not_know_their_name_do_not_share_a_run(
    train_in_a_pod: Train, opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_task, "read_secret", lambda _: WANDB_KEY)
    monkeypatch.setenv("HOSTNAME", "build-machine")
    train_in_a_pod()
    assert opened["id"] is None


def test_a_pod_without_the_wandb_key_says_so_before_it_trains(
    train_in_a_pod: Train, opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "run_condition", None)
    with pytest.raises(MissingSecret, match="secret wandb_api_key"):
        train_in_a_pod()
    assert opened == {}


LEAKY_RUN = """
import dataclasses, sys, traceback
from pathlib import Path
sys.path[:0] = [{project!r}, {tests!r}]
import huggingface_hub.constants  # before conftest, which takes every test offline
assert not huggingface_hub.constants.HF_HUB_OFFLINE
from flytekit.types.directory import FlyteDirectory
import liger_kernel_finetuning as w
from support.tiny import TINY
from support.pods import pod
here = Path.cwd()
with pod(here / "work"):
    dataset = w.download_dataset.task_function("builtin:instructions")
    model = w.download_model.task_function("a/fetched")
    # In bf16 a CPU trains the plain model, and Liger's interpreter refuses.
    tracked = dataclasses.replace(TINY, report_to="wandb", bf16=True)
    failing = dataclasses.replace(tracked, use_liger=True)
    results = []
    for arguments in (tracked, failing):
        try:
            results.append(w.train_model.task_function(
                training_args=arguments, dataset_cache_dir=dataset, model_cache_dir=model))
        except Exception:
            traceback.print_exc()
            results.append(None)
    w.analyze_results.task_function(results=results, training_args_list=[tracked, failing])
    for refused in ("a/gated", "a/missing"):
        try:
            w.download_model.task_function(refused)
        except Exception:
            traceback.print_exc()
print([result and result.outcome for result in results])
"""


def test_no_secrets_value_is_in_anything_that_a_run_writes_or_prints(
    tmp_path: Path, model_folder: Path
) -> None:
    """A pod's whole life: downloads, a run, a failed run, the report, and refused downloads."""
    with fake_hub.serve() as hub:
        files = {p.name: p.read_bytes() for p in model_folder.iterdir() if p.name != "source.json"}
        hub.repositories = {
            "model/a/fetched": fake_hub.Repository(files),
            "model/a/gated": fake_hub.Repository(files, gated=True),
        }
        script = LEAKY_RUN.format(project=str(PROJECT), tests=str(Path(__file__).parents[1]))
        (tmp_path / "work").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "TMPDIR": str(tmp_path),
                "HF_ENDPOINT": hub.endpoint,
                "FLYTE_SECRETS_ENV_PREFIX": "_UNION_",
                "LIGER_BENCHMARK_SECRET_GROUP": "liger-benchmark",
                "_UNION_LIGER-BENCHMARK_WANDB_API_KEY": WANDB_KEY,
                "_UNION_LIGER-BENCHMARK_HF_TOKEN": HUB_TOKEN,
                "LIGER_BENCHMARK_SECRETS": "wandb_api_key hf_token",
                "WANDB_MODE": "offline",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    printed = done.stdout + done.stderr
    assert "['completed', None]" in done.stdout, printed[-3000:]
    assert hub.tokens == {HUB_TOKEN}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in written}
    assert {"history.csv", "record.json", "report.html", "source.json"} <= names
    assert len([name for name in names if name.endswith(".wandb")]) == 2
    for secret in PLANTED:
        assert secret not in printed
        assert [path for path in written if secret.encode() in path.read_bytes()] == []
