"""The architectures for which the installed Liger has kernels, and the kernels of each.

They are parsed from the source of Liger's table instead of imported: the import takes seconds, and
it imports Triton, which must not happen before the choice between compiling and interpreting
kernels. An unsupported model is thus refused before anything is started.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from liger_benchmark.choices import (
    DEFAULT_LIGER_KERNELS,
    LIGER_KERNELS,
)
from liger_benchmark.validation import InvalidInput

TABLE = "MODEL_TYPE_TO_APPLY_LIGER_FN"
# Our name of a kernel, and Liger's name where the architecture's MLP uses GELU (Gemma).
GATED_MLP = {"swiglu": "geglu"}


@functools.cache
def liger_architectures() -> dict[str, dict[str, bool]]:
    """The switches of Liger's patching function for each supported `model_type`.

    Returns:
        By `model_type`: the names of the boolean arguments and their defaults.

    Raises:
        LookupError: if the installed Liger keeps its table elsewhere than the pinned version.
    """
    package = importlib.util.find_spec("liger_kernel")
    assert package is not None and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0], "transformers", "monkey_patch.py")
    statements = ast.parse(source.read_text(encoding="utf-8")).body
    switches = {f.name: _switches(f) for f in statements if isinstance(f, ast.FunctionDef)}
    for statement in statements:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Dict)
            and ast.unparse(statement.targets[0]) == TABLE
        ):
            patched_by = zip(statement.value.keys, statement.value.values, strict=True)
            return {
                ast.literal_eval(model_type): switches[ast.unparse(function)]
                for model_type, function in patched_by
                if model_type is not None
            }
    raise LookupError(f"{source.name} of the installed Liger has no {TABLE}")


def _switches(function: ast.FunctionDef) -> dict[str, bool]:
    """The arguments whose default is true or false, with that default."""
    with_defaults = function.args.args[len(function.args.args) - len(function.args.defaults) :]
    return {
        argument.arg: default.value
        for argument, default in zip(with_defaults, function.args.defaults, strict=True)
        if isinstance(default, ast.Constant) and isinstance(default.value, bool)
    }


def liger_switches(model_type: str, kernels: Sequence[str]) -> dict[str, bool]:
    """The arguments of Liger's patching function that turn on exactly `kernels`.

    The default set selects the architecture's own defaults, which differ: Liger has no rope for
    GLM-4 and no fused loss for Granite, and raises if they are turned on.

    Raises:
        InvalidInput: if Liger has no kernels for this architecture, or lacks one of `kernels`. The
            message lists what it has.
    """
    switch_names = _switch_names(model_type)
    if is_default_set(kernels):
        by_default = liger_architectures()[model_type]
        return {name: by_default[name] for name in switch_names.values()}
    missing = [kernel for kernel in kernels if kernel not in switch_names]
    if missing:
        raise InvalidInput(
            f"training_args.liger_kernels: Liger has no {missing[0]} for {model_type!r}; "
            f"it has {', '.join(switch_names)}"
        )
    return {name: kernel in kernels for kernel, name in switch_names.items()}


def kernels_turned_on(model_type: str, kernels: Sequence[str]) -> list[str]:
    """Those of `LIGER_KERNELS` that `liger_switches` turns on.

    Raises:
        InvalidInput: as `liger_switches`.
    """
    switches = liger_switches(model_type, kernels)
    return [kernel for kernel, name in _switch_names(model_type).items() if switches[name]]


def _switch_names(model_type: str) -> dict[str, str]:
    """The kernels of an architecture, and the names of their switches."""
    architectures = liger_architectures()
    if model_type not in architectures:
        raise InvalidInput(
            f"training_args.model_name: Liger has no kernels for {model_type!r}; "
            f"it has for {', '.join(sorted(architectures))}"
        )
    known = architectures[model_type]
    names = {
        kernel: kernel if kernel in known else GATED_MLP.get(kernel, kernel)
        for kernel in LIGER_KERNELS
    }
    return {kernel: name for kernel, name in names.items() if name in known}


def is_default_set(kernels: Sequence[str]) -> bool:
    """Whether `kernels` is the default set, which selects the architecture's own defaults."""
    return sorted(kernels) == sorted(DEFAULT_LIGER_KERNELS)
