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
from liger_benchmark.checks import InvalidInput

TABLE = "MODEL_TYPE_TO_APPLY_LIGER_FN"
# Liger's name for the gated MLP of the Gemma family, whose activation is GELU.
GATED_MLP = {"swiglu": "geglu"}


@functools.cache
def liger_architectures() -> dict[str, frozenset[str]]:
    """The `model_type`s that the installed Liger has kernels for.

    Returns:
        For each the arguments of the function that patches it: its switches are among them.

    Raises:
        LookupError: if Liger's table is not where it was in the pinned version.
    """
    package = importlib.util.find_spec("liger_kernel")
    assert package is not None and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0], "transformers", "monkey_patch.py")
    statements = ast.parse(source.read_text(encoding="utf-8")).body
    arguments = {
        function.name: frozenset(a.arg for a in (*function.args.args, *function.args.kwonlyargs))
        for function in statements
        if isinstance(function, ast.FunctionDef)
    }
    for statement in statements:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Dict)
            and ast.unparse(statement.targets[0]) == TABLE
        ):
            patched_by = zip(statement.value.keys, statement.value.values, strict=True)
            return {
                ast.literal_eval(model_type): arguments[ast.unparse(function)]
                for model_type, function in patched_by
                if model_type is not None
            }
    raise LookupError(f"{source.name} of the installed Liger has no {TABLE}")


def liger_switches(model_type: str, kernels: Sequence[str]) -> dict[str, bool]:
    """The arguments of Liger's patching function that turn on `kernels` and nothing else.

    Its default set stands for those of it that there are: not every architecture has them all.

    Raises:
        InvalidInput: if Liger has no kernels for this architecture, or not one of those; the
            message lists those it has.
    """
    architectures = liger_architectures()
    if model_type not in architectures:
        raise InvalidInput(
            f"training_args.model_name: Liger has no kernels for {model_type!r}; "
            f"it has for {', '.join(sorted(architectures))}"
        )
    known = architectures[model_type]
    own_names = {
        kernel: kernel if kernel in known else GATED_MLP.get(kernel, kernel)
        for kernel in LIGER_KERNELS
    }
    missing = [kernel for kernel in kernels if own_names[kernel] not in known]
    if missing and not are_the_default(kernels):
        there = [kernel for kernel, name in own_names.items() if name in known]
        raise InvalidInput(
            f"training_args.liger_kernels: Liger has no {missing[0]} for {model_type!r}; "
            f"it has {', '.join(there)}"
        )
    return {name: kernel in kernels for kernel, name in own_names.items() if name in known}


def are_the_default(kernels: Sequence[str]) -> bool:
    """Whether these are the kernels that Liger turns on by itself."""
    return sorted(kernels) == sorted(DEFAULT_LIGER_KERNELS)
