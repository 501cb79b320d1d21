"""Names of sources: which are refused, and the folders that they get."""

from __future__ import annotations

from pathlib import Path

import pytest

from liger_benchmark.sources import fetch
from liger_benchmark.sources.fetch import fetch_dataset, fetch_model
from liger_benchmark.validation import InvalidInput


def test_configurations_and_splits_of_one_name_have_folders_of_their_own() -> None:
    names = {
        fetch.folder_name("a/b", *p) for p in [(None, "train"), ("main", "train"), (None, "t")]
    }
    assert len(names) == 3


@pytest.mark.parametrize(
    "name",
    ["../model", "/nowhere/model", "~nobody/model", "a/../../b", "a/b/c", "a b/c", "a/b\n", "aй/b"]
    + ["https://host/a/b", "a\\b", "..", "a/..", "", "a/b@main", "a..b/c", "--a/b"],
)
def test_a_name_that_is_no_source_is_refused_before_anything_is_fetched(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="training_args.model_name"):
        fetch_model(name, tmp_path / "fetched")
    assert list(tmp_path.iterdir()) == []


def test_a_file_as_source_is_refused_and_its_folder_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data.docx", "jsonl", "data.gz"):
        Path(name).write_text("{}")
        with pytest.raises(InvalidInput, match=r"is a file; give the folder .* or a file of rows"):
            fetch_dataset(name, tmp_path / "fetched")
    Path("model.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is a file; give the folder that holds it$"):
        fetch_model("model.json", tmp_path / "fetched")


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "a/b", "..", "é/\0", "x" * 500])
def test_a_sources_folder_name_is_one_safe_path_component(name: str) -> None:
    folder = fetch.folder_name(name)
    assert "/" not in folder
    assert not folder.startswith(".")
    assert len(folder) < 100


def test_two_names_never_share_a_folder() -> None:
    assert fetch.folder_name("a/b") != fetch.folder_name("a-b")
