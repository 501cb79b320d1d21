"""Where a model or a dataset comes from: the Hugging Face Hub, a folder, or `builtin:NAME`.

A fetched source is a folder that stays as it is: a model's configuration, tokenizer and weights
(or no weights: then they are random), or a dataset saved by `datasets`. What it was fetched from,
and which revision, lies beside in `source.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from liger_benchmark import catalog
from liger_benchmark.files import lasting_folder
from liger_benchmark.sources import builtin, hub
from liger_benchmark.sources.hub import Kind
from liger_benchmark.sources.hub import SourceUnavailable as SourceUnavailable  # raised from here
from liger_benchmark.validation import InvalidInput

SOURCE_FILE = "source.json"
# An index without its shards is not "no weights": loading it has to fail.
WEIGHT_PATTERNS = (
    *("model*.safetensors", "pytorch_model*.bin"),
    *("model*.safetensors.index.json", "pytorch_model*.bin.index.json"),
)
TOKENIZER_PATTERNS = ("tokenizer*", "vocab*", "*.model", "merges.txt")
# Bytes, from which on a file is told from another by its size and time.
LARGE = 2**25
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def fetch_model(name: str, folder: Path) -> Path:
    """Make the model `name` available as a folder, and return that folder.

    A model that is a folder already stays where it is. Anything else lands in `folder`, or beside
    it if that holds another content: what was fetched never changes under a run that reads it.

    Raises:
        InvalidInput: if there is no such folder or built-in model, or the name is no Hub id.
        SourceUnavailable: if the Hub cannot be reached, has no such model, or does not grant it.
    """
    origin = origin_of(name, "model")
    if origin == "folder":
        return _folder(name)

    def fill(fresh: Path) -> None:
        if origin == "builtin":
            builtin.write_model(_builtin_name(name), fresh)
            _describe(fresh, name, "random", None)
        else:
            _describe(fresh, name, "hub", hub.download_model(name, fresh))

    return lasting_folder(folder, fill)


def fetch_dataset(name: str, folder: Path) -> Path:
    """Make the training split of the dataset `name` available as a folder, and return that folder.

    It is `folder`, or one beside it if that holds another content: what was fetched never changes
    under a run that reads it.

    Raises:
        InvalidInput: if there is no such folder or built-in dataset, or the name is no Hub id.
        SourceUnavailable: if the Hub cannot be reached, has no such dataset, or does not grant it.
    """
    import datasets

    origin = origin_of(name, "dataset")

    def fill(fresh: Path) -> None:
        if origin == "builtin":
            rows, revision = datasets.Dataset.from_list(builtin.rows(_builtin_name(name))), None
        elif origin == "folder":
            rows, revision = _load_folder(_folder(name), name), None
        else:
            rows, revision = hub.download_dataset(name)
        datasets.disable_progress_bars()
        rows.save_to_disk(fresh)
        _describe(fresh, name, origin, revision)

    return lasting_folder(folder, fill)


def origin_of(name: str, kind: Kind) -> str:
    """`builtin`, `folder` or `hub`, decided by the name and by what lies on this disk.

    Raises:
        InvalidInput: if the name is none of them, or that of a folder without a model in it.
    """
    known = catalog.MODELS if kind == "model" else catalog.DATASETS
    if name.startswith("builtin:"):
        if _builtin_name(name) not in known:
            choices = ", ".join(f"builtin:{k}" for k in known)
            raise InvalidInput(f"training_args.{kind}_name: {name!r} is not one of {choices}")
        return "builtin"
    if os.path.isdir(os.path.expanduser(name)):
        if kind == "model" and not (_folder(name) / "config.json").is_file():
            raise InvalidInput(f"training_args.model_name: {name!r} holds no config.json")
        return "folder"
    if os.path.isfile(os.path.expanduser(name)):
        raise InvalidInput(
            f"training_args.{kind}_name: {name!r} is a file; give the folder that holds it"
        )
    if name.startswith(("/", ".", "~")):
        raise InvalidInput(
            f"training_args.{kind}_name: {name!r} is not a folder on this machine; "
            "give an existing folder, a Hub id or builtin:NAME"
        )
    if not HUB_ID.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"training_args.{kind}_name: {name!r} is neither a Hub id (OWNER/NAME), a folder nor "
            "builtin:NAME"
        )
    return "hub"


def folder_name(name: str) -> str:
    """A source's name as the name of a folder: nothing in it leads anywhere else."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return f"{readable[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def provenance(folder: Path, name: str) -> dict[str, Any]:
    """`origin` (random, builtin, hub or folder), `source` and `revision` of a fetched folder."""
    with_description = folder / SOURCE_FILE
    if with_description.is_file():
        return dict(json.loads(with_description.read_text(encoding="utf-8")))
    return {"origin": "folder", "source": name, "revision": None}


def has_weights(model_folder: Path) -> bool:
    """Whether a model's folder holds weights; without, they are initialised at random."""
    return any(any(model_folder.glob(pattern)) for pattern in WEIGHT_PATTERNS)


def has_tokenizer(model_folder: Path) -> bool:
    """Whether a model's folder holds a tokenizer; without, transformers makes up an empty one."""
    return any(any(model_folder.glob(pattern)) for pattern in TOKENIZER_PATTERNS)


def fingerprint(folder: Path) -> str:
    """A hash of a source's files: the whole content of small ones, size and time of large ones."""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{stat.st_size}\0".encode())
        if stat.st_size < LARGE:
            digest.update(path.read_bytes())
        else:
            digest.update(str(stat.st_mtime_ns).encode())
    return digest.hexdigest()


def _builtin_name(name: str) -> str:
    return name.removeprefix("builtin:")


def _folder(name: str) -> Path:
    return Path(name).expanduser().resolve()


def _describe(folder: Path, name: str, origin: str, revision: str | None) -> None:
    description = {"origin": origin, "source": name, "revision": revision}
    (folder / SOURCE_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _load_folder(folder: Path, name: str) -> Any:
    import datasets
    import pyarrow

    key = f"training_args.dataset_name: {name!r}"
    is_saved = any((folder / f).is_file() for f in ("dataset_info.json", "dataset_dict.json"))
    load = datasets.load_from_disk if is_saved else datasets.load_dataset
    unreadable = (
        *(datasets.exceptions.DatasetsError, pyarrow.ArrowException, OSError, ValueError),
        StopIteration,  # how `datasets` says that a file is empty
    )
    try:
        rows = load(str(folder))
    except unreadable as error:
        # Where reading a file failed, `datasets` says so and the cause says why.
        reason = " ".join(str(error.__cause__ or error).split())[:300] or "a file is empty"
        raise InvalidInput(
            f"{key} cannot be read as a dataset: {reason}; give a folder with JSON lines, Parquet "
            "or CSV files, or one saved by `datasets`"
        ) from None
    if isinstance(rows, datasets.Dataset):
        return rows
    if "train" not in rows:
        raise InvalidInput(f"{key} has no split 'train'; it has {', '.join(rows)}")
    return rows["train"]
