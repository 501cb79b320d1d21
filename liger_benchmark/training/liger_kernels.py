"""Which architectures the installed Liger has kernels for, and which kernels for each.

Read from the source of its own table: importing Liger takes seconds, and Triton with it, which has
to wait until it is known whether its kernels are compiled or interpreted. So a model that Liger
does not know is refused in the moment the command is typed.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from liger_benchmark.arguments import DEFAULT_LIGER_KERNELS, LIGER_KERNELS
from liger_benchmark.validation import InvalidInput

TABLE = "MODEL_TYPE_TO_APPLY_LIGER_FN"
# Liger's name for the gated MLP of the Gemma family, whose activation is GELU.
GATED_MLP = {"swiglu": "geglu"}


@functools.cache
def liger_architectures() -> dict[str, dict[str, bool]]:
    """The `model_type`s that the installed Liger has kernels for.

    Returns:
        For each the switches of the function that patches it, and which of them are on by default.

    Raises:
        LookupError: if Liger's table is not where it was in the pinned version.
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
    """The arguments that are true or false by default."""
    with_defaults = function.args.args[len(function.args.args) - len(function.args.defaults) :]
    return {
        argument.arg: default.value
        for argument, default in zip(with_defaults, function.args.defaults, strict=True)
        if isinstance(default, ast.Constant) and isinstance(default.value, bool)
    }


def liger_switches(model_type: str, kernels: Sequence[str]) -> dict[str, bool]:
    """The arguments of Liger's patching function that turn on `kernels` and nothing else.

    Its default set stands for what Liger turns on by itself, which is not the same everywhere: it
    has no rope for GLM-4 and no fused loss for Granite, and would refuse to turn them on.

    Raises:
        InvalidInput: if Liger has no kernels for this architecture, or not one of those; the
            message lists those it has.
    """
    own_names = _own_names(model_type)
    if are_the_default(kernels):
        by_default = liger_architectures()[model_type]
        return {name: by_default[name] for name in own_names.values()}
    missing = [kernel for kernel in kernels if kernel not in own_names]
    if missing:
        raise InvalidInput(
            f"training_args.liger_kernels: Liger has no {missing[0]} for {model_type!r}; "
            f"it has {', '.join(own_names)}"
        )
    return {name: kernel in kernels for kernel, name in own_names.items()}


def kernels_turned_on(model_type: str, kernels: Sequence[str]) -> list[str]:
    """Those of `LIGER_KERNELS` that `liger_switches` turns on.

    Raises:
        InvalidInput: as `liger_switches`.
    """
    switches = liger_switches(model_type, kernels)
    return [kernel for kernel, name in _own_names(model_type).items() if switches[name]]


def _own_names(model_type: str) -> dict[str, str]:
    """The kernels that Liger has for an architecture, and what their switches are called."""
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


def are_the_default(kernels: Sequence[str]) -> bool:
    """Whether these are the kernels that stand for what Liger turns on by itself."""
    return sorted(kernels) == sorted(DEFAULT_LIGER_KERNELS)
