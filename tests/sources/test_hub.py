"""Downloads by the real client of the Hugging Face Hub from a fake Hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pytest
from support import fake_hub
from support.fake_hub import FakeHub, Repository

from liger_benchmark.sources import fetch, hub
from liger_benchmark.sources.disk_space import lack_of_space
from liger_benchmark.sources.fetch import SourceUnavailable, fetch_model

PROJECT = Path(__file__).parents[2]
FETCH_SOURCES = PROJECT / "tests" / "support" / "scripts" / "fetch_sources.py"
CONFIG = json.dumps({"model_type": "phi3"}).encode()
ROWS = [{"text": f"### Response:\nanswer {i}"} for i in range(5)]
JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
# The client writes, and so resumes, in pieces of 10 MB.
SAFETENSORS = b"weights" * 3_000_000
INDEX = json.dumps(
    {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        }
    }
).encode()


def digest(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_weights_are_taken_in_one_format_and_nothing_twice() -> None:
    both = ["model.safetensors", "pytorch_model.bin", "model.fp16.safetensors"]
    others = ["consolidated.safetensors", "tf_model.h5", "onnx/model.onnx", "onnx/config.json"]
    others += ["original/model.safetensors", "model-q4.gguf", "README.md", "modeling_phi3.py"]
    small = ["config.json", "tokenizer.json", "tokenizer.model", "merges.txt", "chat.jinja"]
    wanted = hub.model_files([*both, *others, *small], read=str)
    assert wanted == [*sorted(small), "model.safetensors"]


def test_shards_are_those_of_the_index() -> None:
    shards = sorted(set(json.loads(INDEX)["weight_map"].values()))
    files = ["config.json", "model.safetensors.index.json", *shards]
    others = ["model-00003-of-00003.safetensors", "pytorch_model.bin.index.json"]
    wanted = hub.model_files([*files, *others], read=lambda _: INDEX.decode())
    assert wanted == files


def test_pytorchs_format_is_taken_where_there_is_no_other() -> None:
    assert hub.model_files(["config.json", "pytorch_model.bin"], read=str) == [
        "config.json",
        "pytorch_model.bin",
    ]


@dataclass
class Client:
    """Fetches in child processes, which share a Hub cache: the client reads its settings once."""

    hub: FakeHub
    home: Path

    def fetch(self, kind: str, *names: str, **environment: str) -> tuple[Path, str]:
        """Fetch in a fresh process; returns the folder and what was said on standard error."""
        folder = self.home / "build" / kind
        done = subprocess.run(
            [sys.executable, str(FETCH_SOURCES), kind, str(folder), *names],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
                "HF_ENDPOINT": self.hub.endpoint,
                "HF_HOME": str(self.home / "hf"),
                "PYTHONPATH": str(PROJECT),
                **environment,
            },
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return folder, done.stderr


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with fake_hub.serve() as server:
        yield Client(server, tmp_path)


def test_a_model_is_fetched_with_retries_and_an_interrupted_file_is_resumed(
    client: Client,
) -> None:
    files = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": SAFETENSORS}
    extra = {"onnx/model.onnx": b"o", "pytorch_model.bin": b"p", "README.md": b"r"}
    repository = client.hub.repositories["model/a/b"] = Repository({**files, **extra})
    client.hub.failures = {"/api/models/a/b": 2}
    client.hub.cut = {"model.safetensors": 15_000_000}
    folder, said = client.fetch("model", "a/b")
    description = json.loads((folder / "source.json").read_bytes())
    assert description == {"origin": "hub", "source": "a/b", "revision": repository.commit}
    assert fetch.provenance(folder, "a/b") == description
    assert {k: v for k, v in digest(folder).items() if k != "source.json"} == files
    assert client.hub.fetched() == sorted(files)
    assert said.count("the Hub answered with HTTP status 503; trying again in") == 2
    path = f"/a/b/resolve/{repository.commit}/model.safetensors"
    contents = [line for line in client.hub.requests if line.startswith(f"GET {path}")]
    assert contents[0] == f"GET {path}"
    assert all(line.startswith(f"GET {path} bytes=") for line in contents[1:])
    assert len(contents) == 2
    # What the cache has serves where there is no Hub.
    client.hub.requests.clear()
    again, _ = client.fetch("model", "a/b", HF_HUB_OFFLINE="1")
    assert digest(again) == digest(folder)
    assert client.hub.requests == []


def test_a_dataset_is_fetched_with_retries_and_found_again_offline(client: Client) -> None:
    repository = Repository({"README.md": b"# rows", "data/train.jsonl": JSON_LINES})
    client.hub.repositories["dataset/a/rows"] = repository
    client.hub.failures = {"/api/datasets/a/rows": 1, "/data/train.jsonl": 1}
    folder, _ = client.fetch("dataset", "a/rows")
    assert datasets.load_from_disk(str(folder)).to_list() == ROWS
    assert json.loads((folder / "source.json").read_bytes()) == {
        "origin": "hub",
        "source": "a/rows",
        "revision": repository.commit,
    }
    again, _ = client.fetch("dataset", "a/rows", HF_HUB_OFFLINE="1")
    assert datasets.load_from_disk(str(again)).to_list() == ROWS
    assert json.loads((again / "source.json").read_bytes())["revision"] == repository.commit


def test_a_newer_revision_that_cannot_be_loaded_is_not_replaced_by_an_older_one(
    client: Client,
) -> None:
    client.hub.repositories["dataset/a/rows"] = Repository({"train.jsonl": JSON_LINES})
    client.fetch("dataset", "a/rows")
    newer = client.hub.repositories["dataset/a/rows"] = Repository({"train.jsonl": JSON_LINES * 2})
    client.hub.failures = {f"/revision/{newer.commit}": 999}
    _, said = client.fetch("dataset", "a/rows")
    [line] = errors(said)
    assert "the Hub cannot be reached" in line


def test_a_download_that_keeps_failing_ends_in_one_line_and_no_folder(client: Client) -> None:
    client.hub.repositories["model/a/b"] = Repository({"config.json": CONFIG})
    client.hub.failures = {"/api/models/a/b": 99}
    folder, said = client.fetch("model", "a/b")
    assert said.splitlines()[-1] == (
        "SourceUnavailable: training_args.model_name: 'a/b': the Hub answered with HTTP status "
        "503; without the Hub, use builtin:phi3-mini or a folder"
    )
    assert client.hub.failures == {"/api/models/a/b": 96}
    assert list(folder.parent.iterdir()) == []


def errors(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("SourceUnavailable: ")]


def test_what_the_hub_refuses_is_one_line_each_with_the_alternatives(client: Client) -> None:
    gated = Repository({"config.json": CONFIG, "rows.jsonl": JSON_LINES}, gated=True)
    client.hub.repositories = {
        "model/a/gated": gated,
        "model/a/empty": Repository({"README.md": b""}),
        "dataset/a/gated": gated,
    }
    is_gated = f"is gated; accept its terms at {client.hub.endpoint}/"
    token = "a token in HF_TOKEN (on a cluster: the secret hf_token, see README)"
    is_missing = f"is not on the Hub, or is private; check the spelling or provide {token}"
    folder, said = client.fetch("model", "a/gated", "a/missing", "a/empty")
    end = "; without the Hub, use builtin:phi3-mini or a folder"
    key = "SourceUnavailable: training_args.model_name"
    assert errors(said) == [
        f"{key}: 'a/gated': {is_gated}a/gated and provide {token}{end}",
        f"{key}: 'a/missing': {is_missing}{end}",
        f"{key}: 'a/empty': its repository lacks config.json{end}",
    ]
    _, said = client.fetch("dataset", "a/gated", "a/missing")
    end = "; without the Hub, use builtin:instructions or a folder"
    key = "SourceUnavailable: training_args.dataset_name"
    assert errors(said) == [
        f"{key}: 'a/gated': {is_gated}datasets/a/gated and provide {token}{end}",
        f"{key}: 'a/missing': {is_missing}{end}",
    ]
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"HF_HUB_OFFLINE": "1"},
            "HF_HUB_OFFLINE is set and the Hub's cache on this machine lacks",
        ),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached (ConnectError)"),
    ],
)
def test_without_the_hub_the_error_is_one_line_with_the_alternatives(
    client: Client, environment: dict[str, str], expected: str
) -> None:
    folder, said = client.fetch("model", "a/b", **environment)
    [line] = errors(said)
    assert said.count("trying again") == (0 if "HF_HUB_OFFLINE" in environment else 2)
    assert line.startswith(f"SourceUnavailable: training_args.model_name: 'a/b': {expected}")
    assert line.endswith("; without the Hub, use builtin:phi3-mini or a folder")
    assert list(folder.parent.iterdir()) == []


def test_a_cache_without_the_weights_is_an_error_offline(
    client: Client,
) -> None:
    commit = "a" * 40
    repository = client.home / "hf" / "hub" / "models--a--b"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "c0ffee").write_bytes(CONFIG)
    (snapshot / "config.json").symlink_to("../../blobs/c0ffee")
    _, said = client.fetch("model", "a/b", HF_HUB_OFFLINE="1")
    assert "the Hub's cache on this machine lacks its weights; without" in said.splitlines()[-1]


def test_a_cache_without_one_of_the_shards_is_an_error_offline_that_names_it(
    client: Client,
) -> None:
    shards = sorted(set(json.loads(INDEX)["weight_map"].values()))
    files = {"config.json": CONFIG, "model.safetensors.index.json": INDEX}
    client.hub.repositories["model/a/b"] = Repository(files | dict.fromkeys(shards, b"w"))
    client.fetch("model", "a/b")
    [cached] = client.home.glob(f"hf/hub/models--a--b/snapshots/*/{shards[1]}")
    cached.unlink()
    _, said = client.fetch("model", "a/b", HF_HUB_OFFLINE="1")
    [line] = errors(said)
    assert f"the Hub's cache on this machine lacks {shards[1]}; without" in line


def test_an_error_that_is_not_the_hubs_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(hub, "_download_model", breaks)
    with pytest.raises(SourceUnavailable, match=r"cannot be read \(OSError: no space left\)"):
        fetch_model("a/b", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_on_the_disk_is_refused_before_its_weights_are_fetched(
    client: Client,
) -> None:
    files = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": SAFETENSORS}
    sizes = {"model.safetensors": 2**60}
    client.hub.repositories["model/a/b"] = Repository(files, sizes=sizes)
    folder, said = client.fetch("model", "a/b")
    assert "take 1073741824.0 GiB" in said and "make room" in said
    assert not any("model.safetensors" in request for request in client.hub.requests)


def test_what_is_not_known_of_a_disk_refuses_nothing(tmp_path: Path) -> None:
    assert lack_of_space(0, tmp_path) is None
    assert lack_of_space(1, tmp_path / "not" / "yet") is None
