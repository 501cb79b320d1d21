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
import shutil
from pathlib import Path
from typing import Any, Literal

from liger_benchmark import builtin
from liger_benchmark.arguments import InvalidInput
from liger_benchmark.folders import fresh_folder

Kind = Literal["model", "dataset"]
SOURCE_FILE = "source.json"
WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

# Configuration and tokenizer in whatever form, weights in one: safetensors, else PyTorch's own.
_MODEL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_MODEL_FILES_ELSEWHERE = ["onnx/*", "original/*", "gguf/*", "openvino/*", "training_args*"]


class SourceUnavailable(RuntimeError):
    """A model or dataset cannot be had. The message is one line and says what else there is."""


def fetch_model(name: str, folder: Path) -> Path:
    """Make the model `name` available as a folder, and return that folder.

    A model that is a folder already stays where it is; anything else lands in `folder`.

    Raises:
        InvalidInput: if there is no such folder or built-in model, or the name is no Hub id.
        SourceUnavailable: if the Hub cannot be reached, has no such model, or does not grant it.
    """
    origin = origin_of(name, "model")
    if origin == "folder":
        return _existing_folder(name, "model")
    with fresh_folder(folder) as fresh:
        if origin == "builtin":
            builtin.write_model(_builtin_name(name), fresh)
            _describe(fresh, name, "random", None)
        else:
            _describe(fresh, name, "hub", _download_model(name, fresh))
    return folder


def fetch_dataset(name: str, folder: Path) -> Path:
    """Make the training split of the dataset `name` available in `folder`, and return it.

    Raises:
        InvalidInput: if there is no such folder or built-in dataset, or the name is no Hub id.
        SourceUnavailable: if the Hub cannot be reached, has no such dataset, or does not grant it.
    """
    import datasets

    origin = origin_of(name, "dataset")
    with fresh_folder(folder) as fresh:
        if origin == "builtin":
            rows, revision = datasets.Dataset.from_list(builtin.instructions()), None
        elif origin == "folder":
            rows, revision = _load_folder(_existing_folder(name, "dataset"), name), None
        else:
            rows, revision = _download_dataset(name)
        datasets.disable_progress_bars()
        rows.save_to_disk(fresh)
        _describe(fresh, name, origin, revision)
    return folder


def origin_of(name: str, kind: Kind) -> str:
    """`builtin`, `folder` or `hub`, decided by the name and by what lies on this disk.

    Raises:
        InvalidInput: if the name is none of them.
    """
    known = builtin.MODELS if kind == "model" else builtin.DATASETS
    if name.startswith("builtin:"):
        if _builtin_name(name) not in known:
            choices = ", ".join(f"builtin:{k}" for k in known)
            raise InvalidInput(f"training_args.{kind}_name: {name!r} is not one of {choices}")
        return "builtin"
    if os.path.isdir(os.path.expanduser(name)):
        return "folder"
    if name.startswith(("/", ".", "~")):
        raise InvalidInput(
            f"training_args.{kind}_name: {name!r} is not a folder on this machine; give an existing "
            "folder, a Hub id or builtin:NAME"
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


def fingerprint(folder: Path) -> str:
    """A hash of a source's files: the whole content of small ones, size and time of large ones."""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{stat.st_size}\0".encode())
        if stat.st_size < 2**25:
            digest.update(path.read_bytes())
        else:
            digest.update(str(stat.st_mtime_ns).encode())
    return digest.hexdigest()


def _builtin_name(name: str) -> str:
    return name.removeprefix("builtin:")


def _existing_folder(name: str, kind: Kind) -> Path:
    folder = Path(name).expanduser().resolve()
    if kind == "model" and not (folder / "config.json").is_file():
        raise InvalidInput(f"training_args.model_name: {name!r} holds no config.json")
    return folder


def _describe(folder: Path, name: str, origin: str, revision: str | None) -> None:
    description = {"origin": origin, "source": name, "revision": revision}
    (folder / SOURCE_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _load_folder(folder: Path, name: str) -> Any:
    import datasets

    if (folder / "dataset_info.json").is_file():
        return datasets.load_from_disk(str(folder))
    if (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(str(folder))["train"]
    try:
        return datasets.load_dataset(str(folder), split="train")
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(f"training_args.dataset_name: {name!r} cannot be read: {reason}") from None


def _download_model(name: str, folder: Path) -> str:
    import huggingface_hub

    with _hub_errors(name, "model"):
        info = huggingface_hub.HfApi().model_info(name)
        files = [sibling.rfilename for sibling in info.siblings or []]
        has_safetensors = any(f.endswith(".safetensors") and "/" not in f for f in files)
        weights = WEIGHT_PATTERNS[0] if has_safetensors else WEIGHT_PATTERNS[1]
        # The revision is asked for once and used for all, so that a push in between cannot mix two.
        huggingface_hub.snapshot_download(
            name,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=[*_MODEL_FILES, weights],
            ignore_patterns=_MODEL_FILES_ELSEWHERE,
        )
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        return str(info.sha)


def _download_dataset(name: str) -> tuple[Any, str]:
    import datasets
    import huggingface_hub

    with _hub_errors(name, "dataset"):
        revision = str(huggingface_hub.HfApi().dataset_info(name).sha)
        return datasets.load_dataset(name, split="train", revision=revision), revision


class _hub_errors:
    """Turn the Hub client's many errors into one line that says what to do."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name, self.kind = name, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

        if error is None or not isinstance(error, (OSError, HfHubHTTPError, ValueError)):
            return
        key = f"training_args.{self.kind}_name: {self.name!r}"
        alternative = "builtin:phi3-mini" if self.kind == "model" else "builtin:instructions"
        if isinstance(error, GatedRepoError):
            problem = "is gated; accept its terms on the Hub and provide a token in HF_TOKEN"
        elif isinstance(error, RepositoryNotFoundError):
            problem = "is not on the Hub, or is private; check the spelling or provide HF_TOKEN"
        else:
            problem = f"could not be downloaded ({type(error).__name__})"
        raise SourceUnavailable(
            f"{key} {problem}; without the Hub, use {alternative} or a folder"
        ) from error
