"""Files of rows as people have them: their names, their encodings, texts that were cut."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from liger_benchmark.sources.fetch import fetch_dataset
from liger_benchmark.sources.row_files import repaired
from liger_benchmark.validation import InvalidInput

ROWS = [{"prompt": "Is it?", "completion": "It is."}] * 3


def fetched(source: Path, to: Path) -> list[str]:
    return list(datasets.load_from_disk(str(fetch_dataset(str(source), to)))["completion"])


@pytest.mark.parametrize(
    "name", ["a.ndjson", "a.jsonlines", "A.JSONL", "my datä (1)[2].jsonl", "x[1]/a*b?.jsonl"]
)
def test_a_file_or_its_folder_is_read_whatever_its_name(
    name: str, tmp_path: Path, datasets_cache: None
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(map(json.dumps, ROWS)))
    assert fetched(file, tmp_path / "saved") == ["It is."] * 3
    if file.parent != tmp_path:
        assert fetched(file.parent, tmp_path / "of the folder") == ["It is."] * 3


@pytest.mark.parametrize("whole", [True, False])
def test_half_of_a_surrogate_pair_costs_no_other_row(
    whole: bool, tmp_path: Path, datasets_cache: None
) -> None:
    rows = [*ROWS, {"prompt": "Is it?", "completion": "It is \ud83d"}]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows) if whole else "\n".join(map(json.dumps, rows)))
    *others, cut = fetched(file, tmp_path / "saved")
    # `datasets` itself drops the half, if the file is one array.
    assert others == ["It is."] * 3 and cut == ("It is " if whole else "It is \ufffd")


def test_only_halves_are_replaced() -> None:
    whole = {"ä": ["x", "\U0001f600", 1, None]}
    assert repaired(whole) == whole
    assert repaired("\ud83d\ude00 \ude00") == "\U0001f600 \ufffd"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_named(encoding: str, tmp_path: Path, datasets_cache: None) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes("prompt,completion\nIs it?,Sí\n".encode(encoding))
    with pytest.raises(InvalidInput, match=r"rows.csv' is not in UTF-8 \(.*\); save it as UTF-8$"):
        fetched(file, tmp_path / "saved")
