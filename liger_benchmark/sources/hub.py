"""Downloads from the Hugging Face Hub.

huggingface_hub resumes interrupted files, checks their sizes and keeps a cache. Added here: a model
is fetched at one revision and with its weights in one format only, temporary errors are retried,
and permanent errors become one line. With HF_HUB_OFFLINE set, only the cache is used.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from liger_benchmark.sources.disk_space import lack_of_space
from liger_benchmark.validation import one_line

Kind = Literal["model", "dataset"]
T = TypeVar("T")

TOKEN = "a token in HF_TOKEN (on a cluster: the secret hf_token, see README)"
ALTERNATIVES: dict[Kind, str] = {"model": "builtin:phi3-mini", "dataset": "builtin:instructions"}
# Seconds to wait before each retry.
RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0)

# Configuration and tokenizer files.
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
# Names of weights in the order in which transformers looks for them. Only the first that exists,
# whole or in shards, is downloaded; a repository may hold copies in other formats.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class SourceUnavailable(RuntimeError):
    """A model or dataset cannot be fetched. The message is one line and names an alternative."""


def download_model(name: str, folder: Path) -> str:
    """Put the model's configuration, tokenizer and weights into `folder`; return the revision.

    Raises:
        SourceUnavailable: if the Hub cannot be reached, has no such model, or denies access.
    """
    return _with_retries(name, "model", lambda: _download_model(name, folder))


def download_dataset(
    name: str, config: str | None = None, split: str = "train"
) -> tuple[Any, str | None]:
    """A split of the dataset, as `datasets.Dataset`, and its revision.

    Raises:
        SourceUnavailable: if the Hub cannot be reached, has no such dataset, or denies access.
    """
    return _with_retries(name, "dataset", lambda: _download_dataset(name, config, split))


def model_files(files: Collection[str], read: Callable[[str], str]) -> list[str]:
    """Select from a repository's `files` those of a model, with the weights in one format.

    Args:
        read: returns the content of a file; called for the index of sharded weights.
    """
    weights: list[str] = []
    for name in _WEIGHTS:
        if name in files:
            weights = [name]
        elif (index := f"{name}.index.json") in files:
            weights = [index, *sorted(set(json.loads(read(index))["weight_map"].values()))]
        if weights:
            break
    small = [
        name
        for name in files
        if "/" not in name
        and not name.endswith(".index.json")
        and any(fnmatch.fnmatch(name, pattern) for pattern in _SMALL_FILES)
    ]
    return [*sorted(small), *weights]


def _download_model(name: str, folder: Path) -> str:
    from huggingface_hub.constants import is_offline_mode

    snapshot, files = _cached_model(name) if is_offline_mode() else _fetched_model(name)
    for file in files:
        _link_or_copy((snapshot / file).resolve(), folder / file)
    return snapshot.name


def _fetched_model(name: str) -> tuple[Path, list[str]]:
    """The model's snapshot folder in the Hub's cache, up to date with the Hub, and its files.

    The folder's name is the revision.
    """
    import huggingface_hub

    info = huggingface_hub.HfApi().model_info(name, files_metadata=True)

    def read(file: str) -> str:
        path = huggingface_hub.hf_hub_download(name, file, revision=info.sha)
        return Path(path).read_text(encoding="utf-8")

    available = [sibling.rfilename for sibling in info.siblings or []]
    wanted = model_files(available, read)
    _refuse_missing(wanted, available, "its repository")
    _refuse_if_too_large(name, info, wanted)
    # Without `revision`, which would keep the client from recording which commit `main` is: that
    # record is how the snapshot is found offline.
    snapshot = Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    if snapshot.name != info.sha:  # a push in between, or the client fell back on its cache
        raise ConnectionError(f"revision {info.sha} could not be loaded")
    return snapshot, wanted


def _cached_model(name: str) -> tuple[Path, list[str]]:
    """The model's snapshot folder in the Hub's cache, without a request, and its files."""
    import huggingface_hub

    # No pattern: any snapshot will do here, which files it must hold is decided below.
    snapshot = Path(
        huggingface_hub.snapshot_download(name, allow_patterns=[], local_files_only=True)
    )
    paths = (path for path in snapshot.rglob("*") if path.is_file())
    available = [path.relative_to(snapshot).as_posix() for path in paths]
    wanted = model_files(available, lambda file: (snapshot / file).read_text(encoding="utf-8"))
    where = "the Hub's cache on this machine"
    _refuse_missing(wanted, available, where)
    if not any(file.endswith((".safetensors", ".bin")) for file in wanted):
        raise SourceUnavailable(f"{where} lacks its weights")
    return snapshot, wanted


def _refuse_missing(wanted: list[str], available: list[str], where: str) -> None:
    missing = [file for file in ("config.json", *wanted) if file not in available]
    if missing:
        raise SourceUnavailable(f"{where} lacks {missing[0]}")


def _refuse_if_too_large(name: str, info: Any, wanted: list[str]) -> None:
    """Refuse a model whose files, as far as they are not in the cache, do not fit on its disk."""
    from huggingface_hub import constants, try_to_load_from_cache

    missing = sum(
        file.size or 0
        for file in info.siblings or []
        if file.rfilename in wanted
        and not isinstance(try_to_load_from_cache(name, file.rfilename, revision=info.sha), str)
    )
    if problem := lack_of_space(missing, Path(constants.HF_HUB_CACHE)):
        raise SourceUnavailable(problem)


def _download_dataset(name: str, config: str | None, split: str) -> tuple[Any, str | None]:
    import datasets
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled, RemoteEntryNotFoundError

    asked = None
    with contextlib.suppress(OfflineModeIsEnabled, RemoteEntryNotFoundError):
        asked = str(huggingface_hub.HfApi().dataset_info(name).sha)
        # `datasets` requests this file first, and reports a gated dataset as a missing one.
        huggingface_hub.hf_hub_download(name, "README.md", repo_type="dataset", revision=asked)
    rows = datasets.load_dataset(name, config, split=split, revision=asked)
    # The cache of `datasets` has a folder per revision. After an error `datasets` falls back on
    # any of them, so the revision that was loaded is compared with the one that was asked for.
    folder = Path(rows.cache_files[0]["filename"]).parent.name if rows.cache_files else ""
    loaded = folder if _COMMIT.fullmatch(folder) else asked
    if asked is not None and loaded != asked:
        raise ConnectionError(f"revision {asked} could not be loaded")
    return rows, loaded


def _with_retries(name: str, kind: Kind, download: Callable[[], T]) -> T:
    for delay_s in (*RETRY_DELAYS_S, None):
        try:
            return download()
        except Exception as error:
            problem = _known_problem(error, name, kind)
            is_known = problem is not None
            if problem is None:
                described = one_line(f"{type(error).__name__}: {error}", limit=300)
                problem = f"cannot be read ({described}){_setting_for(described)}"
            if delay_s is not None and _is_temporary(error):
                sys.stderr.write(f"{kind} {name}: {problem}; trying again in {delay_s:g} s\n")
                time.sleep(delay_s)
                continue
            raise SourceUnavailable(
                f"training_args.{kind}_name: {name!r}: {problem}; "
                f"without the Hub, use {ALTERNATIVES[kind]} or a folder"
            ) from (None if is_known else error)
    raise AssertionError("the last attempt returns or raises")


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and the chain of errors that it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed later: a broken connection, a busy server."""
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if is_offline_mode():
        return False
    for cause in causes_of(error):
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            return status in (408, 429) or status >= 500
        if isinstance(cause, (HTTPError, ConnectionError, TimeoutError)):
            return True
    return False


def _known_problem(error: BaseException, name: str, kind: Kind) -> str | None:
    """What is wrong and what to do, or None for an error that is not the Hub's.

    The text holds no part of the request, whose URL may be signed.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{name}"
    for cause in causes_of(error):
        if isinstance(cause, SourceUnavailable):
            return str(cause)
        if isinstance(cause, GatedRepoError):
            return f"is gated; accept its terms at {page} and provide {TOKEN}"
        if isinstance(cause, RepositoryNotFoundError):
            return f"is not on the Hub, or is private; check the spelling or provide {TOKEN}"
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            hint = "; check the token in HF_TOKEN" if status in (401, 403) else ""
            return f"the Hub answered with HTTP status {status}{hint}"
        if constants.is_offline_mode() and isinstance(
            cause, (LocalEntryNotFoundError, ConnectionError)
        ):
            return "HF_HUB_OFFLINE is set and the Hub's cache on this machine lacks it"
        if isinstance(cause, (HTTPError, ConnectionError, TimeoutError)):
            return f"the Hub cannot be reached ({type(cause).__name__})"
    return None


def _setting_for(described: str) -> str:
    """Which argument chooses what an error of `datasets` lists; empty for other errors."""
    if "Config name is missing" in described or "BuilderConfig" in described:
        return ", set dataset_config"
    return ", set dataset_split" if "Unknown split" in described else ""


def _link_or_copy(source: Path, target: Path) -> None:
    """Create `target` as a hard link, which needs no space, or as a copy if that fails."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
