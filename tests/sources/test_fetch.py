"""Models and datasets from folders and files of one's own; test_hub.py has the Hub."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.source_folders import digest, load

from liger_benchmark import files
from liger_benchmark.sources import fetch
from liger_benchmark.sources.fetch import fetch_dataset, fetch_model
from liger_benchmark.validation import InvalidInput

CONFIG = b'{"model_type": "phi3"}'
ROWS = [{"text": f"### Response:\nanswer {i}"} for i in range(5)]


def test_a_model_folder_stays_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_bytes(CONFIG)
    assert fetch_model(str(folder), tmp_path / "fetched") == folder
    assert not fetch.has_weights(folder)
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"")
    assert fetch.has_weights(folder)
    assert fetch.provenance(folder, "mine") == {
        "origin": "folder",
        "source": "mine",
        "revision": None,
    }


def test_an_index_whose_shards_are_missing_is_not_a_model_without_weights(tmp_path: Path) -> None:
    """It would be initialised at random without a word."""
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert fetch.has_weights(tmp_path)


@pytest.mark.usefixtures("datasets_cache")
def test_an_empty_file_of_rows_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.jsonl").write_text("")
    with pytest.raises(InvalidInput, match="cannot be read as a dataset") as error:
        fetch.fetch_dataset(str(tmp_path / "mine"), tmp_path / "dataset")
    assert "\n" not in str(error.value)


def test_a_model_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^training_args.model_name: .* holds no config.json"):
        fetch_model(str(tmp_path), tmp_path / "fetched")


def write_rows(folder: Path, file_format: str) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    folder.mkdir()
    if file_format == "jsonl":
        rows.to_json(folder / "train.jsonl")
    elif file_format == "parquet":
        rows.to_parquet(folder / "train.parquet")
    elif file_format == "csv":
        rows.to_csv(folder / "train.csv", index=False)
    elif file_format == "saved dataset":
        rows.save_to_disk(folder)
    else:
        datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(folder)


@pytest.mark.usefixtures("datasets_cache")
@pytest.mark.parametrize(
    "file_format", ["jsonl", "parquet", "csv", "saved dataset", "saved splits"]
)
def test_a_dataset_folder_is_read_in_every_file_format(file_format: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "mine", file_format)
    fetched = fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched")
    assert load(fetched) == ROWS
    assert fetch.provenance(fetched, "")["origin"] == "folder"


@pytest.mark.usefixtures("datasets_cache")
def test_a_dataset_folder_that_was_edited_is_read_anew(tmp_path: Path) -> None:
    write_rows(tmp_path / "mine", "jsonl")
    fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched")
    (tmp_path / "mine" / "train.jsonl").write_text('{"text": "another"}\n')
    assert load(fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched")) == [
        {"text": "another"}
    ]


@pytest.mark.usefixtures("datasets_cache")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_a_single_file_of_rows_is_a_dataset(suffix: str, packed: bool, tmp_path: Path) -> None:
    import datasets

    path = tmp_path / f"mine.{suffix}"
    rows = datasets.Dataset.from_list(ROWS)
    if suffix == "json":
        path.write_text(json.dumps(ROWS))
    elif suffix == "jsonl":
        rows.to_json(path)
    elif suffix == "parquet":
        rows.to_parquet(path)
    else:
        rows.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_name(f"{path.name}.gz")
    fetched = fetch_dataset(str(path), tmp_path / "fetched")
    assert load(fetched) == ROWS
    assert fetch.provenance(fetched, "")["origin"] == "folder"


@pytest.mark.usefixtures("datasets_cache")
def test_a_file_with_one_list_of_rows_is_that_list(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"data": ROWS}))
    assert load(fetch_dataset(str(tmp_path / "mine.json"), tmp_path / "fetched")) == ROWS
    one = {"messages": [{"role": "user", "content": "Who?"}]}
    (tmp_path / "one.jsonl").write_text(json.dumps(one))
    assert load(fetch_dataset(str(tmp_path / "one.jsonl"), tmp_path / "other")) == [one]


@pytest.mark.usefixtures("datasets_cache")
def test_json_files_whose_mappings_have_other_keys_are_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    first, second = {"m": [{"a": "x"}], "n": None}, {"m": [{"a": "y", "b": 1}], "n": "text"}
    for name, row in (("a", first), ("b", second)):
        (tmp_path / "mine" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    rows = load(fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched"))
    assert [row["m"][0]["a"] for row in rows] == ["x", "y"] and rows[1]["n"] == "text"


@pytest.mark.usefixtures("datasets_cache")
@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
def test_an_answer_of_the_word_none_is_no_missing_value(as_folder: bool, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "rows.csv"
    path.write_text("prompt,completion\na,None\nb,null\nc,NA\nd,\n")
    rows = load(fetch_dataset(str(path.parent if as_folder else path), tmp_path / "fetched"))
    assert [row["completion"] or "" for row in rows] == ["None", "null", "NA", ""]


@pytest.mark.usefixtures("datasets_cache")
@pytest.mark.parametrize(
    "info",
    [{"mine": {"file_name": "mine.json"}}, {"features": {"text": {"_type": "Value"}}}],
    ids=["another tool's", "the Hub's"],
)
def test_a_folder_with_a_dataset_info_of_another_tool_is_read(info: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.json").write_text(json.dumps(ROWS))
    (tmp_path / "mine" / "dataset_info.json").write_text(json.dumps(info))
    assert load(fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched")) == ROWS


@pytest.mark.usefixtures("datasets_cache")
def test_a_split_or_a_part_of_one_can_be_chosen(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train_sft": rows, "test": rows.select([0])}).save_to_disk(tmp_path / "m")

    def chosen(split: str) -> list[dict[str, Any]]:
        return load(fetch_dataset(str(tmp_path / "m"), tmp_path / "fetched", split=split))

    assert chosen("train_sft") == ROWS
    assert chosen("test") == ROWS[:1]
    assert chosen("train_sft[1:3]") == ROWS[1:3]
    assert chosen("train_sft[:40%]") == ROWS[:2]
    with pytest.raises(InvalidInput, match=r"no split 'train'; it has train_sft, test: set datas"):
        chosen("train")
    with pytest.raises(InvalidInput, match="dataset_split: "):
        chosen("test[:nonsense]")


@pytest.mark.usefixtures("datasets_cache")
def test_a_folder_with_several_configurations_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("main", "hard"):
        (tmp_path / "mine" / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    (tmp_path / "mine" / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files: main.jsonl\n"
        "- config_name: hard\n  data_files: hard.jsonl\n---\n"
    )
    fetched = fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched", config="hard")
    assert load(fetched) == [{"text": "hard"}]
    with pytest.raises(InvalidInput, match="main.*hard.*set dataset_config"):
        fetch_dataset(str(tmp_path / "mine"), tmp_path / "other")


def _empty(folder: Path) -> None:
    folder.mkdir()


def _broken_json(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "whole"}\n{"text": "bro')


def _not_parquet(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.parquet").write_text("PAR?")


def _no_training_split(folder: Path) -> None:
    import datasets

    datasets.DatasetDict({"test": datasets.Dataset.from_list(ROWS)}).save_to_disk(folder)


def _broken_save(folder: Path) -> None:
    write_rows(folder, "saved dataset")
    (folder / "state.json").write_text("{")


@pytest.mark.usefixtures("datasets_cache")
@pytest.mark.parametrize(
    "prepare", [_empty, _broken_json, _not_parquet, _no_training_split, _broken_save]
)
def test_a_dataset_folder_that_cannot_be_read_is_one_line_and_leaves_nothing(
    prepare: Any, tmp_path: Path
) -> None:
    prepare(tmp_path / "mine")
    with pytest.raises(InvalidInput) as caught:
        fetch_dataset(str(tmp_path / "mine"), tmp_path / "fetched" / "dataset")
    message = str(caught.value)
    assert message.startswith(f"training_args.dataset_name: '{tmp_path / 'mine'}'")
    assert "\n" not in message
    assert list((tmp_path / "fetched").iterdir()) == []


def test_an_interrupted_fetch_leaves_only_the_old_folder(tmp_path: Path) -> None:
    fetch_model("builtin:phi3-tiny", tmp_path / "model")
    before = digest(tmp_path / "model")
    with (
        pytest.raises(KeyboardInterrupt),
        files.atomic_folder(tmp_path / "model", lambda old, new: False) as fresh,
    ):
        (fresh / "config.json").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert digest(tmp_path / "model") == before
