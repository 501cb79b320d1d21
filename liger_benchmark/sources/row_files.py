"""Read a dataset on this machine: a folder of files, a single file, or a saved dataset."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from liger_benchmark.sources.broken_files import refuse_pointers
from liger_benchmark.validation import InvalidInput, one_line

TRAINING_SPLIT = "train"
# The builder of `datasets` that reads a file, by the end of its name without .gz.
SUFFIXES = {
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".jsonlines": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
# Files that `datasets` writes beside the data of a saved dataset, or of saved splits. A
# dataset_info.json tells nothing: other tools write a file of that name beside their data.
_SAVED = ("state.json", "dataset_dict.json")
_METADATA = ("dataset_info.json", "dataset_infos.json")
_OTHER_SPLIT = re.compile(r"(^|[\W_])(test|valid|validation|dev|eval)([\W_]|$)", re.IGNORECASE)
# What `datasets` takes for a pattern in a path.
_PATTERN = re.compile(r"[\[\]*?]")
# Errors of `datasets` for JSON that can be read whole.
_READ_WHOLE = ("Couldn't cast", "surrogate")
# An answer may be the word "None", "null" or "NA", which pandas would take for no value.
_CSV: dict[str, Any] = {"keep_default_na": False}


def builder_of(path: Path) -> str | None:
    """The builder of `datasets` for a file of rows, plain or gzipped; None if there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def load(path: Path, name: str, config: str | None, split: str) -> Any:
    """A split of the dataset at `path`, as `datasets.Dataset`.

    Args:
        name: the dataset's name, for error messages.
        config: the configuration, of a folder that has several.
        split: the split's name, or a part of one: `train[:1000]`.

    Raises:
        InvalidInput: if it cannot be read, or has no such split.
    """
    import datasets
    import pyarrow

    key = f"training_args.dataset_name: {name!r}"
    unreadable = (
        *(datasets.exceptions.DatasetsError, pyarrow.ArrowException, OSError, ValueError),
        StopIteration,  # raised by `datasets` for an empty file
    )
    refuse_pointers(_files(path), key)
    try:
        with _named_plainly(path) as plain:
            splits = _load_splits(plain, config)
    except unreadable as error:
        reason = str(error.__cause__ or error)
        splits = _load_json(path) if any(words in reason for words in _READ_WHOLE) else None
        if splits is not None:
            return _unwrapped(_chosen(splits, split, key))
        # The error of `datasets` says that a file could not be read; its cause says why.
        reason = one_line(error.__cause__ or error, limit=300) or "a file is empty"
        if "Config name is missing" in reason or "BuilderConfig" in reason:
            raise InvalidInput(f"{key}: {reason}: set dataset_config") from None
        if isinstance(error.__cause__ or error, UnicodeDecodeError):
            raise InvalidInput(f"{key} is not in UTF-8 ({reason}); save it as UTF-8") from None
        raise InvalidInput(
            f"{key} cannot be read as a dataset: {reason}; give a folder with JSON lines, Parquet "
            "or CSV files, or one saved by `datasets`"
        ) from None
    if isinstance(splits, datasets.Dataset):  # saved without splits
        splits = {TRAINING_SPLIT: splits}
    return _unwrapped(_chosen(splits, split, key))


def _files(path: Path) -> list[Path]:
    """The files of rows at `path`."""
    return [path] if path.is_file() else sorted(f for f in path.rglob("*") if builder_of(f))


@contextlib.contextmanager
def _named_plainly(path: Path) -> Iterator[Path]:
    """The path, or links to its files if a name holds what `datasets` takes for a pattern."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if not any(_PATTERN.search(str(file)) for file in files):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            link = Path(folder) / _PATTERN.sub("_", str(file.relative_to(path.parent)))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        yield Path(folder) / _PATTERN.sub("_", path.name)


def _load_splits(path: Path, config: str | None) -> Any:
    import datasets

    if path.is_file():
        return _load_file(path)
    if any((path / file).is_file() for file in _SAVED):
        return datasets.load_from_disk(str(path))
    files = [file for file in path.rglob("*") if builder_of(file)]
    only_csv = files and all(builder_of(file) == "csv" for file in files)
    options = _CSV if only_csv and config is None else {}
    return datasets.load_dataset(str(path), config, **options)


def _load_file(path: Path) -> Any:
    import datasets

    builder = builder_of(path)
    assert builder is not None
    options: dict[str, Any] = dict(_CSV) if builder == "csv" else {}
    if ".tsv" in path.suffixes:
        options["sep"] = "\t"
    if path.suffix.lower() != ".gz" or builder in ("json", "csv"):
        return datasets.load_dataset(builder, data_files=str(path), **options)
    # `datasets` reads the end of such a file, which it does not unpack.
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        with gzip.open(path) as packed, plain.open("wb") as target:
            shutil.copyfileobj(packed, target)
        return datasets.load_dataset(builder, data_files=str(plain), keep_in_memory=True)


def _load_json(path: Path) -> Any:
    """The training split of JSON files, read whole; None if there are others, or other splits.

    `datasets` takes the columns' types from the beginning of the first file, and fails if a column
    was null up to there, or a mapping has another key. pyarrow reads no half of a surrogate pair.
    """
    import datasets

    files = _files(path)
    if any(builder_of(file) != "json" or _OTHER_SPLIT.search(file.name) for file in files):
        return None
    rows: list[Any] = []
    try:
        for file in files:
            if file.name in _METADATA:
                continue
            opened = gzip.open if file.suffix == ".gz" else open
            with opened(file, "rt", encoding="utf-8-sig") as text:
                content = text.read()
            if content.lstrip().startswith("["):
                rows += json.loads(content)
            else:
                rows += [json.loads(line) for line in content.splitlines() if line.strip()]
        rows = repaired(rows)
        return {TRAINING_SPLIT: datasets.Dataset.from_list(rows)}
    except (OSError, TypeError, ValueError):  # pyarrow's errors are ValueErrors or TypeErrors
        return None


def repaired(value: Any) -> Any:
    """A JSON value with U+FFFD in place of halves of surrogate pairs, which UTF-8 cannot hold.

    A text that was cut in the middle of an emoji ends in one.
    """
    if isinstance(value, str):
        return (
            value
            if value.isascii()
            else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, list):
        return [repaired(item) for item in value]
    if isinstance(value, dict):
        return {repaired(key): repaired(item) for key, item in value.items()}
    return value


def _chosen(splits: Mapping[str, Any], split: str, key: str) -> Any:
    """The split, or the part of one, that `split` names."""
    base, bracket, _ = split.partition("[")
    if base not in splits:
        raise InvalidInput(
            f"{key} has no split '{base}'; it has {', '.join(splits)}: set dataset_split"
        )
    return _part(splits[base], base, split, key) if bracket else splits[base]


def _part(rows: Any, base: str, split: str, key: str) -> Any:
    """The rows of a part of a split, such as `train[:10%]`."""
    import datasets

    try:
        instruction = datasets.ReadInstruction.from_spec(split)
        [absolute] = instruction.to_absolute({base: len(rows)})
    except (ValueError, AssertionError) as error:
        raise InvalidInput(f"{key}: dataset_split: {one_line(error)}") from None
    first = absolute.from_ or 0
    last = len(rows) if absolute.to is None else absolute.to
    return rows.select(range(first, last))


def _unwrapped(rows: Any) -> Any:
    """The rows themselves where a file holds one object with a list of them: `{"data": [...]}`."""
    import datasets

    if len(rows) != 1 or len(rows.column_names) != 1:
        return rows
    [value] = rows[0].values()
    is_table = isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    # A column of messages holds a list of mappings as well.
    if not is_table or any("role" in row or "from" in row for row in value):
        return rows
    return datasets.Dataset.from_list(value)
