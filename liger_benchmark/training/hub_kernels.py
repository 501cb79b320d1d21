"""The Hub's kernels: what transformers puts in place of its layers with `use_kernels=True`.

They are fetched from `kernels-community/liger-kernels`, a fork of Liger, by the package `kernels`.
Without a network `LOCAL_KERNELS=kernels-community/liger-kernels=FOLDER` names a copy of it. Where a
kernel cannot be loaded, transformers keeps its own layer without a word.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REPOSITORY = "kernels-community/liger-kernels"
_KEY = "training_args.use_hub_kernels"
# The layer by which it is tried whether kernels can be loaded: every architecture has norms.
_TRIED = "RMSNorm"
_ENDS = ("MIN", "MAX")


def check_installed() -> None:
    """Refuse the Hub's kernels where the package that fetches them is not installed.

    With a version of it that it does not support, transformers would use none without a word.

    Raises:
        InvalidInput: naming the package and the versions.
    """
    if importlib.util.find_spec("kernels") is None:
        raise InvalidInput(
            f"{_KEY}: true needs the package kernels, which is not installed; "
            'pip install "liger-benchmark[hub]"'
        )
    installed, (low, high) = importlib.metadata.version("kernels"), _supported_versions()
    if low and high and not Version(low) <= Version(installed) < Version(high):
        raise InvalidInput(
            f"{_KEY}: true needs kernels from {low} on and below {high}, which the installed "
            f"transformers supports; installed is {installed}"
        )


def _supported_versions() -> tuple[str | None, str | None]:
    """The versions of `kernels` that transformers supports, read from its source; None if unknown.

    The first is supported, the second is not.
    """
    package = importlib.util.find_spec("transformers")
    if package is None or not package.submodule_search_locations:
        return None, None
    source = Path(package.submodule_search_locations[0], "utils", "import_utils.py")
    text = source.read_text(encoding="utf-8")
    low, high = (
        re.search(rf'^KERNELS_{end}_VERSION = "([\d.]+)"', text, re.MULTILINE) for end in _ENDS
    )
    return low and low[1], high and high[1]


def check_loadable(device: str) -> None:
    """Load the kernel of one layer, as transformers will.

    Args:
        device: cuda or cpu.

    Raises:
        InvalidInput: if there is none for the device, or it cannot be fetched.
    """
    check_installed()
    from kernels import Mode
    from transformers.integrations import hub_kernels

    mapped = hub_kernels.get_kernel_mapping_transformers()[_TRIED].get(device)
    if mapped is None:
        raise InvalidInput(f"{_KEY}: true needs a GPU; the Hub's kernels have none for a {device}")
    repository: Any = mapped[Mode.TRAINING] if isinstance(mapped, dict) else mapped
    try:
        repository.load()
    except Exception as error:
        raise InvalidInput(
            f"{_KEY}: true: {REPOSITORY} cannot be loaded ({type(error).__name__}: "
            f"{one_line(error)}); connect to the Hub once, or name a copy in LOCAL_KERNELS"
        ) from None


def put_in_place(model: PreTrainedModel) -> None:
    """Give the model the Hub's kernels for training.

    Raises:
        InvalidInput: as `check_loadable`.
    """
    check_loadable(model.device.type)
    model.train()
    # The setter of `use_kernels` would do nothing if it was on already.
    model.set_use_kernels(True)


def in_place(model: PreTrainedModel) -> dict[str, Any]:
    """What the live model runs of the Hub's kernels.

    Returns:
        `active` and `present`: the number of layers, by transformers' name of the layer, whose
        forward method is a loaded kernel's, and of all that can have one. `kernels`: the
        repository and revision of each kernel loaded in this process.
    """
    if importlib.util.find_spec("kernels") is None:
        return {"active": {}, "present": {}, "kernels": []}
    import kernels

    loaded = kernels.get_loaded_kernels()
    modules = {kernel.module.__name__.split(".")[0] for kernel in loaded}
    active: Counter[str] = Counter()
    present: Counter[str] = Counter()
    for module in model.modules():
        layer = getattr(type(module), "kernel_layer_name", None)
        if layer is None:
            continue
        present[str(layer)] += 1
        forward = vars(module).get("forward")
        active[str(layer)] += getattr(forward, "__module__", "").split(".")[0] in modules
    described = []
    for kernel in loaded:
        origin = kernel.repo_info
        described.append(
            {
                "name": str(kernel.metadata.name),
                "repository": origin.repo_id if origin else "a local folder",
                "revision": origin.revision if origin else None,
            }
        )
    return {
        "active": {layer: n for layer, n in active.items() if n},
        "present": dict(present),
        "kernels": described,
    }


def mismatch(facts: dict[str, Any], asked: bool) -> str | None:
    """How what is in place contradicts the setting, in one line; None if it does not."""
    active = facts.get("active")
    if active is None or bool(active) == asked:
        return None
    if asked:
        return "use_hub_kernels: true was asked for, and no layer of the live model runs one"
    return f"use_hub_kernels: false was asked for, and they are active: {', '.join(sorted(active))}"
