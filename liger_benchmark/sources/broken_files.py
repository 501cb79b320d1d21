"""Files that are not what their names say: pointers of Git LFS, and weights that are not all there.

A model or dataset that was cloned without Git LFS holds, for each large file, a text of three lines
that points to it. An interrupted copy lacks shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from liger_benchmark.validation import InvalidInput, one_line

_POINTER = b"version https://git-lfs"
# The files that transformers looks for, of which the indices name shards.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# Weights that are not read here; a model beside which they lie is initialised at random.
_UNREAD = (".gguf", ".pth", ".pt", ".h5", ".msgpack", ".onnx", ".safetensors", ".bin")


def refuse_pointers(files: Iterable[Path], key: str) -> None:
    """Refuse files that are pointers of Git LFS.

    Args:
        key: begins the message: the setting and its value.

    Raises:
        InvalidInput: naming the first one, and what to do.
    """
    for file in files:
        with file.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                raise InvalidInput(
                    f"{key}: {file.name} is a pointer of Git LFS, and the file itself was not "
                    f"downloaded; run `git lfs pull` in {file.parent}, or name the Hub id"
                )


def check_weights(model_folder: Path) -> None:
    """Refuse weights that no run could load: pointers, missing or damaged files.

    Of safetensors files the headers are read, and no weights.

    Raises:
        InvalidInput: naming the file.
    """
    import safetensors

    key = f"training_args.model_name: {model_folder.name!r}"
    patterns = ("model*.safetensors", "pytorch_model*.bin")
    files = sorted(file for pattern in patterns for file in model_folder.glob(pattern))
    refuse_pointers(files, key)
    indices = [model_folder / name for name in _INDICES if (model_folder / name).is_file()]
    for index in indices:
        shards = sorted({*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
        missing = [name for name in shards if not (model_folder / name).is_file()]
        if missing:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InvalidInput(
                f"{key} lacks {missing[0]}{others}, which {index.name} names; download the model "
                "again"
            )
    whole = [name for name in _WHOLE if (model_folder / name).is_file()]
    if files and not whole and not indices:
        raise InvalidInput(
            f"{key} holds {files[0].name}, and transformers looks for {', '.join(_WHOLE)} or an "
            "index of shards; rename the file, or download the model again"
        )
    for file in files:
        if file.suffix == ".safetensors":
            try:
                with safetensors.safe_open(file, framework="np"):
                    pass
            except (OSError, safetensors.SafetensorError) as error:
                raise InvalidInput(
                    f"{key}: {file.name} cannot be read ({one_line(error)}); download it again"
                ) from None


def unread_weights(model_folder: Path) -> str | None:
    """The name of a file of weights in a format that is not read; None if there is none."""
    names = sorted(f.name for f in model_folder.iterdir() if f.suffix.lower() in _UNREAD)
    return next((name for name in names if name != "training_args.bin"), None)
