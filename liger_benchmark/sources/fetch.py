"""Fetch models and datasets from the Hugging Face Hub, from a folder, or from `builtin:NAME`.

A fetched model is a folder with configuration, tokenizer and weights; without weights they are
initialised at random. A fetched dataset is a folder saved by `datasets`. Either holds a
`source.json` with its origin and revision, and is never changed once it is in place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from liger_benchmark import catalog
from liger_benchmark.files import publish_folder
from liger_benchmark.sources import builtin, hub, row_files
from liger_benchmark.sources.hub import Kind
from liger_benchmark.sources.hub import (
    SourceUnavailable as SourceUnavailable,  # part of this interface
)
from liger_benchmark.validation import InvalidInput

SOURCE_FILE = "source.json"
# The indices are included so that a model whose shards are missing fails to load, instead of being
# initialised at random.
WEIGHT_PATTERNS = (
    *("model*.safetensors", "pytorch_model*.bin"),
    *("model*.safetensors.index.json", "pytorch_model*.bin.index.json"),
)
TOKENIZER_PATTERNS = ("tokenizer*", "vocab*", "*.model", "merges.txt")
# Files of this size (bytes) and more are fingerprinted by size and modification time.
LARGE_FILE = 2**25
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def fetch_model(name: str, folder: Path) -> Path:
    """Make the model `name` available as a folder, and return that folder.

    A model that is a folder already is used in place. Anything else is fetched into `folder`, or
    beside it if `folder` holds other content (see `publish_folder`).

    Raises:
        InvalidInput: if there is no such folder or built-in model, or the name is no Hub id.
        SourceUnavailable: if the Hub cannot be reached, has no such model, or denies access.
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

    return publish_folder(folder, fill)


def fetch_dataset(
    name: str, folder: Path, config: str | None = None, split: str = row_files.TRAINING_SPLIT
) -> Path:
    """Make a split of the dataset `name` available as a folder, and return that folder.

    It is `folder`, or one beside it if `folder` holds other content (see `publish_folder`).

    Args:
        config: the configuration, of a dataset on the Hub or a folder that has several.
        split: the split's name, or a part of one as `datasets` writes it: `train[:1000]`.

    Raises:
        InvalidInput: if there is no such folder or built-in dataset, or the name is no Hub id.
        SourceUnavailable: if the Hub cannot be reached, has no such dataset, or denies access.
    """
    import datasets

    origin = origin_of(name, "dataset")
    datasets.disable_progress_bars()

    def fill(fresh: Path) -> None:
        if origin == "builtin":
            rows, revision = datasets.Dataset.from_list(builtin_rows(name)), None
        elif origin == "folder":
            rows, revision = row_files.load(_folder(name), name, config, split), None
        else:
            rows, revision = hub.download_dataset(name, config, split)
        rows.save_to_disk(fresh)
        _describe(fresh, name, origin, revision)

    return publish_folder(folder, fill)


def builtin_rows(name: str) -> list[dict[str, Any]]:
    """The rows of the dataset `builtin:NAME`."""
    return builtin.rows(_builtin_name(name))


def origin_of(name: str, kind: Kind) -> str:
    """`builtin`, `folder` or `hub`, decided by the name and by what exists on this machine.

    Raises:
        InvalidInput: if the name is none of them, or is a folder without a model.
    """
    known = catalog.MODELS if kind == "model" else catalog.DATASETS
    if name.startswith("builtin:"):
        if _builtin_name(name) not in known:
            choices = ", ".join(f"builtin:{k}" for k in known)
            raise InvalidInput(f"training_args.{kind}_name: {name!r} is not one of {choices}")
        return "builtin"
    if os.path.isdir(os.path.expanduser(name)):
        if kind == "model":
            _check_model_folder(name)
        return "folder"
    if os.path.isfile(os.path.expanduser(name)):
        if kind == "dataset" and row_files.builder_of(Path(name)):
            return "folder"
        readable = f", or a file of rows ({', '.join(row_files.SUFFIXES)})"
        raise InvalidInput(
            f"training_args.{kind}_name: {name!r} is a file; give the folder that holds it"
            f"{readable if kind == 'dataset' else ''}"
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


def _check_model_folder(name: str) -> None:
    """Refuse a folder without a model, and one with an adapter, which transformers would load, too.

    Raises:
        InvalidInput: naming what to give instead, if that can be told.
    """
    folder = _folder(name)
    key = f"training_args.model_name: {name!r}"
    if (folder / "adapter_config.json").is_file():
        raise InvalidInput(
            f"{key} holds an adapter (adapter_config.json); give the model that it was trained on, "
            "or a folder with the two merged; peft: lora trains a new one"
        )
    if not (folder / "config.json").is_file():
        # As in the Hub's own cache, or above a trainer's checkpoints.
        found = sorted([*folder.glob("*/config.json"), *folder.glob("*/*/config.json")])
        hint = f"; there is one in {found[-1].parent.relative_to(folder)}" if found else ""
        raise InvalidInput(f"{key} holds no config.json{hint}")


def folder_name(name: str, *parts: str | None) -> str:
    """A source's name as a single, safe path component: readable text and a hash.

    Args:
        parts: what else tells the source from others of that name; None for what is not given.
    """
    name = ":".join([name, *filter(None, parts)])
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return f"{readable[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def provenance(folder: Path, name: str) -> dict[str, Any]:
    """`origin` (random, builtin, hub or folder), `source` and `revision` of a fetched folder."""
    with_description = folder / SOURCE_FILE
    if with_description.is_file():
        return dict(json.loads(with_description.read_text(encoding="utf-8")))
    return {"origin": "folder", "source": name, "revision": None}


def has_weights(model_folder: Path) -> bool:
    """Whether a model's folder holds weights, or an index of them."""
    return any(any(model_folder.glob(pattern)) for pattern in WEIGHT_PATTERNS)


def has_tokenizer(model_folder: Path) -> bool:
    """Whether a model's folder holds a tokenizer; transformers would create an empty one."""
    return any(any(model_folder.glob(pattern)) for pattern in TOKENIZER_PATTERNS)


def fingerprint(folder: Path) -> str:
    """A hash of all files in a folder.

    Files below `LARGE_FILE` bytes count by content, larger ones by size and modification time.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{stat.st_size}\0".encode())
        if stat.st_size < LARGE_FILE:
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
