"""What would fail in every run, or make the arms two models, is found before the first one.

The tokenizer is loaded, the rows of the largest condition are tokenised, and the model is built on
the meta device in each arm. Each arm is built in a process of its own, as in a run, since Liger
patches transformers for the whole process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.sources.broken_files import check_weights, unread_weights
from liger_benchmark.sources.fetch import has_weights
from liger_benchmark.training import environment
from liger_benchmark.training.dataset import (
    check_token_ids,
    load_tokenizer,
    prepare_datasets,
    rows_needed,
)
from liger_benchmark.training.device import silence_libraries
from liger_benchmark.training.heads import check_bias
from liger_benchmark.training.hub_kernels import check_loadable
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated
from liger_benchmark.training.liger_kernels import kernels_turned_on
from liger_benchmark.training.meta_model import Shape, build, difference
from liger_benchmark.training.row_counts import RowCounts
from liger_benchmark.validation import InvalidInput, one_line

Send = Callable[[Any], None]
# What decides which rows a condition trains on, besides their number.
_ROWS = (
    *("dataset_format", "max_seq_length", "seed", "eval_strategy", "packing", "packing_strategy"),
)


def check_grid(
    grid: Sequence[TrainingArguments], dataset_folder: Path, model_folder: Path
) -> list[str]:
    """Refuse a grid with a run that would fail on its model, tokenizer or rows.

    Returns:
        Lines that say what became of the dataset's rows.

    Raises:
        InvalidInput: naming the key, and the kernel of Liger to leave out if that is the reason.
    """
    largest = [max(same, key=rows_needed) for same in _grouped(grid, _ROWS)]
    counted, vanilla = _isolated(prepare_and_build, largest, dataset_folder, model_folder)
    for arguments in grid:
        check_bias(arguments.loss_type, "lm_head.bias" in vanilla.parameters)
    for same in _grouped(grid, ("use_liger", "liger_kernels", "attn_implementation")):
        if same[0].use_liger:
            check_arm(same[0], model_folder, vanilla)
        elif same[0].attn_implementation != largest[0].attn_implementation:
            _isolated(build_arm, model_folder, None, same[0].attn_implementation)
    if any(arguments.use_hub_kernels for arguments in grid):
        _isolated(try_hub_kernels)
    lines = []
    batch_size = max(getattr(arguments, BATCH_SIZE) for arguments in grid)
    for arguments, counts in zip(largest, counted, strict=True):
        lines.append(counts.describe(arguments.max_seq_length))
        warning = counts.warning(rows_needed(arguments), batch_size)
        lines += [warning] if warning else []
    unread = None if has_weights(model_folder) else unread_weights(model_folder)
    if unread:
        lines.append(
            f"warning: {unread} is not read; the model is initialised at random, as without weights"
        )
    return list(dict.fromkeys(lines))


def prepare_and_build(
    send: Send,
    conditions: Sequence[TrainingArguments],
    dataset_folder: Path,
    model_folder: Path,
) -> tuple[list[RowCounts], Shape]:
    """Tokenise the rows of each condition, and build the model without Liger. Runs in a child."""
    silence_libraries()
    check_weights(model_folder)
    tokenizer = load_tokenizer(model_folder)
    counted: list[RowCounts] = []
    prepared: list[Any] = []
    for arguments in conditions:
        counts = RowCounts()
        prepared += prepare_datasets(dataset_folder, tokenizer, arguments, counts)
        counted.append(counts)
    vanilla = build(model_folder, None, conditions[0].attn_implementation)
    check_token_ids(prepared, vanilla.n_embeddings)
    return counted, vanilla


def build_arm(
    send: Send, model_folder: Path, kernels: Sequence[str] | None, attn_implementation: str
) -> Shape:
    """Build the model of one arm. Runs in a child."""
    silence_libraries()
    return build(model_folder, kernels, attn_implementation)


def try_hub_kernels(send: Send) -> None:
    """Load a kernel from the Hub. Runs in a child."""
    silence_libraries()
    check_loadable("cpu" if environment.visible_gpu() is None else "cuda")


def check_arm(arguments: TrainingArguments, model_folder: Path, vanilla: Shape) -> None:
    """Build the arm of a condition with Liger and compare it with the one without.

    Raises:
        InvalidInput: if it is another model, cannot be built, or cannot run without a GPU. It names
            the kernels to leave out.
        ChildFailed: if Liger itself is broken.
    """
    kernels, attention = tuple(arguments.liger_kernels), arguments.attn_implementation
    problem, liger = _problem(model_folder, kernels, attention, vanilla)
    if problem:
        raise _name_the_kernel(model_folder, arguments, problem, vanilla)
    if liger and liger.has_liger_experts and environment.visible_gpu() is None:
        rest = [k for k in kernels_turned_on(vanilla.model_type, kernels) if k != "swiglu"]
        raise InvalidInput(
            "training_args.liger_kernels: Liger's swiglu runs the experts of this model by kernels "
            f"that need a GPU, and there is none; leave it out: {_only(rest)}"
        )


def _problem(
    model_folder: Path, kernels: Sequence[str], attention: str, vanilla: Shape
) -> tuple[str | None, Shape | None]:
    """How the arm differs from vanilla's or why it cannot be built; and its shape if it can.

    Raises:
        ChildFailed: if it is not the model's fault that it cannot be built.
    """
    try:
        liger, _ = run_isolated(
            build_arm, model_folder, kernels, attention, on_message=lambda message: None
        )
    except ChildFailed as failure:
        try:
            kernels_turned_on(vanilla.model_type, kernels)
        except (OSError, LookupError):  # a broken Liger, or another than the pinned one
            raise failure from None
        return _reason(failure), None
    return difference(vanilla, liger), liger


def _name_the_kernel(
    model_folder: Path, arguments: TrainingArguments, problem: str, vanilla: Shape
) -> InvalidInput:
    """The error for an arm that is another model: which kernels make it one, tried singly."""
    turned_on = kernels_turned_on(vanilla.model_type, arguments.liger_kernels)
    culprits = [
        kernel
        for kernel in turned_on
        if _problem(model_folder, (kernel,), arguments.attn_implementation, vanilla)[0]
    ]
    if not culprits or len(culprits) == len(turned_on) > 1:
        return InvalidInput(
            f"training_args.model_name: Liger cannot be used with this model ({problem}); set "
            "use_liger: [false] to measure it without"
        )
    rest = [kernel for kernel in turned_on if kernel not in culprits]
    return InvalidInput(
        f"training_args.liger_kernels: Liger's {' and '.join(culprits)} would make this another "
        f"model, or cannot build it ({problem}); leave it out: {_only(rest)}"
    )


def _only(kernels: Sequence[str]) -> str:
    return f"set liger_kernels: [{', '.join(kernels)}]" if kernels else "set use_liger: [false]"


def _isolated(function: Callable[..., Any], *args: Any) -> Any:
    """The result of `function` in a child; its error as an `InvalidInput` of one line."""
    try:
        result, _ = run_isolated(function, *args, on_message=lambda message: None)
        return result
    except ChildFailed as failure:
        if failure.error["type"] == InvalidInput.__name__:
            raise InvalidInput(failure.error["message"]) from None
        raise InvalidInput(
            "training_args.model_name: the model, its tokenizer or its chat template cannot be "
            f"used: {_reason(failure)}"
        ) from None


def _reason(failure: ChildFailed) -> str:
    error = failure.error
    return f"{error['type']}: {one_line(error['message'], limit=300).rstrip('.')}"


def _grouped(
    grid: Sequence[TrainingArguments], names: Sequence[str]
) -> list[list[TrainingArguments]]:
    """The conditions by their values of the fields `names`."""
    groups: dict[str, list[TrainingArguments]] = {}
    for arguments in grid:
        values = dataclasses.asdict(arguments)
        groups.setdefault(repr([values[name] for name in names]), []).append(arguments)
    return list(groups.values())
