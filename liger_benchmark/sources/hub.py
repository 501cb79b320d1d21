"""Downloads from the Hugging Face Hub: one revision, the files that are needed, with patience.

The Hub's client resumes a file that broke off, checks its size and keeps it in its cache. Two
things are added: after an error that may pass, the download is tried again, and goes on with what
the cache has; and an error that does not pass is one line.
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

Kind = Literal["model", "dataset"]
T = TypeVar("T")

TOKEN = "a token in HF_TOKEN (on a cluster: the secret hf_token, see README)"
ALTERNATIVES: dict[Kind, str] = {"model": "builtin:phi3-mini", "dataset": "builtin:instructions"}
# Seconds before each new try.
WAITS_S = (1.0, 2.0, 4.0, 8.0)

# Configuration and tokenizer, in whatever form.
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
# The weights' possible names in the order in which transformers looks for them: one format, whole
# or in shards. All else that a repository may hold of them would be a second copy.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class SourceUnavailable(RuntimeError):
    """A model or dataset cannot be had. The message is one line and says what else there is."""


def download_model(name: str, folder: Path) -> str:
    """Put the model's configuration, tokenizer and weights into `folder`; return the revision.

    Raises:
        SourceUnavailable: if the Hub cannot be reached, has no such model, or does not grant it.
    """
    return _with_patience(name, "model", lambda: _download_model(name, folder))


def download_dataset(name: str) -> tuple[Any, str | None]:
    """The training split of the dataset, as `datasets.Dataset`, and its revision.

    Raises:
        SourceUnavailable: if the Hub cannot be reached, has no such dataset, or does not grant it.
    """
    return _with_patience(name, "dataset", lambda: _download_dataset(name))


def files_of_a_model(files: Collection[str], read: Callable[[str], str]) -> list[str]:
    """Those of a repository's `files` that make up a model, the weights in one format only.

    Args:
        read: returns the content of one of the files; called for an index of shards.
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
    import huggingface_hub

    # The revision is asked for once and used for all, so that a push in between cannot mix two.
    revision, files, from_cache = _listing(name)

    def read(file: str) -> str:
        path = huggingface_hub.hf_hub_download(name, file, revision=revision)
        return Path(path).read_text(encoding="utf-8")

    wanted = files_of_a_model(files, read)
    missing = [file for file in ("config.json", *wanted) if file not in files]
    if missing or (from_cache and not any(_is_weights(file) for file in wanted)):
        where = "the Hub's cache on this machine" if from_cache else "its repository"
        raise SourceUnavailable(f"{where} lacks {missing[0] if missing else 'its weights'}")
    snapshot = Path(
        huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=wanted)
    )
    for file in wanted:
        _link_or_copy((snapshot / file).resolve(), folder / file)
    return revision


def _listing(name: str) -> tuple[str, list[str], bool]:
    """A model's revision, its files, and whether they are what the cache has of it."""
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        info = huggingface_hub.HfApi().model_info(name)
    except OfflineModeIsEnabled:
        cached = _cached_listing(name)
        if cached is None:
            raise
        return (*cached, True)
    return str(info.sha), [sibling.rfilename for sibling in info.siblings or []], False


def _cached_listing(name: str) -> tuple[str, list[str]] | None:
    import huggingface_hub

    if not Path(huggingface_hub.constants.HF_HUB_CACHE).is_dir():
        return None
    for repository in huggingface_hub.scan_cache_dir().repos:
        if (repository.repo_type, repository.repo_id) == ("model", name) and repository.revisions:
            latest = max(repository.revisions, key=lambda r: ("main" in r.refs, r.last_modified))
            files = [f.file_path.relative_to(latest.snapshot_path) for f in latest.files]
            return latest.commit_hash, [file.as_posix() for file in files]
    return None


def _download_dataset(name: str) -> tuple[Any, str | None]:
    import datasets
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled, RemoteEntryNotFoundError

    asked = None
    with contextlib.suppress(OfflineModeIsEnabled, RemoteEntryNotFoundError):
        asked = str(huggingface_hub.HfApi().dataset_info(name).sha)
        # `datasets` asks for this file first, and cannot tell a gated dataset from a missing one.
        huggingface_hub.hf_hub_download(name, "README.md", repo_type="dataset", revision=asked)
    rows = datasets.load_dataset(name, split="train", revision=asked)
    # In the cache of `datasets` the rows lie in a folder named after their revision. After any
    # error it falls back, almost silently, on whichever it has.
    folder = Path(rows.cache_files[0]["filename"]).parent.name if rows.cache_files else ""
    loaded = folder if _COMMIT.fullmatch(folder) else asked
    if asked is not None and loaded != asked:
        raise ConnectionError(f"revision {asked} could not be loaded")
    return rows, loaded


def _with_patience(name: str, kind: Kind, download: Callable[[], T]) -> T:
    for wait_s in (*WAITS_S, None):
        try:
            return download()
        except Exception as error:
            problem = _problem(error, name, kind)
            known = problem is not None
            problem = problem or f"cannot be read ({_summary(error)})"
            if wait_s is not None and _may_pass(error):
                sys.stderr.write(f"{kind} {name}: {problem}; trying again in {wait_s:g} s\n")
                time.sleep(wait_s)
                continue
            raise SourceUnavailable(
                f"training_args.{kind}_name: {name!r}: {problem}; "
                f"without the Hub, use {ALTERNATIVES[kind]} or a folder"
            ) from (None if known else error)
    raise AssertionError("the last try returns or raises")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later: a broken connection, a busy server."""
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if is_offline_mode():
        return False
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            return status in (408, 429) or status >= 500
        if isinstance(cause, (HTTPError, ConnectionError, TimeoutError)):
            return True
    return False


def _problem(error: BaseException, name: str, kind: Kind) -> str | None:
    """What is wrong and what to do, if the error is one that is met with.

    Nothing of a request is in it: its address may be signed.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        RepositoryNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{name}"
    for cause in _causes(error):
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
        if isinstance(cause, (HTTPError, ConnectionError, TimeoutError)):
            if constants.is_offline_mode():
                return "HF_HUB_OFFLINE is set and the Hub's cache on this machine lacks it"
            return f"the Hub cannot be reached ({type(cause).__name__})"
    return None


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _is_weights(file: str) -> bool:
    return file.endswith((".safetensors", ".bin"))


def _link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, so that gigabytes are not written twice, or else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
