"""Checks of an experiment before anything is downloaded, submitted or started.

A run that is bound to fail, because there is no GPU or because a library refuses it, is refused as
soon as the command is typed, instead of failing after hours of other runs.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    FSDP2,
    ZERO3,
)
from liger_benchmark.experiment.estimate import config_at_hand
from liger_benchmark.experiment.grid import most_gpus
from liger_benchmark.sources.fetch import origin_of
from liger_benchmark.training import environment
from liger_benchmark.training.causal_models import check_causal
from liger_benchmark.training.dataset import check_tokenizer_files
from liger_benchmark.training.heads import check_architecture, check_head
from liger_benchmark.training.hub_kernels import check_installed
from liger_benchmark.training.liger_kernels import liger_switches
from liger_benchmark.training.liger_options import check_implementation
from liger_benchmark.training.optional_packages import check_packages
from liger_benchmark.training.other_environment import check_environment
from liger_benchmark.training.triton_interpreter import check_without_gpu
from liger_benchmark.validation import InvalidInput, show
from liger_benchmark.wording import plural

# The class attributes by which transformers' modelling files declare the attentions they support.
_SUPPORT = {
    "sdpa": "_supports_sdpa",
    "flex_attention": "_supports_flex_attn",
    "flash_attention_2": "_supports_flash_attn",
    "flash_attention_3": "_supports_flash_attn",
}


def check_experiment(
    grid: Sequence[TrainingArguments], *, on_cluster: bool, gpu: str | None
) -> None:
    """Refuse a grid with a run that cannot succeed on the machine or cluster that is to run it.

    Args:
        on_cluster: whether the grid runs on a cluster rather than on this machine.
        gpu: the name of this machine's GPU; None if it has none. Ignored if `on_cluster`.

    Raises:
        InvalidInput: naming the key of the first setting that cannot be run.
    """
    names = {"model": grid[0].model_name, "dataset": grid[0].dataset_name}
    for kind, name in names.items():
        if origin_of(name, kind) == "folder":  # type: ignore[arg-type]
            if on_cluster:
                what = "folder" if Path(name).expanduser().is_dir() else "file"
                raise InvalidInput(
                    f"training_args.{kind}_name: {name!r} is a {what} on this machine, where a "
                    "cluster cannot read it; give a Hub id or builtin:NAME"
                )
            if kind == "model":
                check_tokenizer_files(Path(name).expanduser(), name)
    config = config_at_hand(grid[0].model_name)
    if config is not None:
        # A machine that only registers the workflow may lack the packages for training.
        if importlib.util.find_spec("liger_kernel") is not None:
            check_model(grid, config)
    elif origin_of(grid[0].model_name, "model") == "folder":
        raise InvalidInput(
            f"training_args.model_name: the config.json in {grid[0].model_name!r} is not a "
            "mapping in JSON; take it from the model again"
        )
    if on_cluster and any(arguments.environment for arguments in grid):
        raise InvalidInput(
            "training_args.environment: other environments lie on this machine, and a cluster has "
            "its image's only; run the experiment here, or once with each image"
        )
    if on_cluster and grid[0].parallel_conditions > 1:
        raise InvalidInput(
            "training_args.parallel_conditions: on a cluster every condition has a pod of its own, "
            "and several run at a time; leave it out"
        )
    if not on_cluster:
        for arguments in grid:
            _check_extras(arguments)
            if gpu is None:
                check_without_gpu(arguments)
    check_sharding(grid, on_cluster, gpu)
    if not on_cluster and gpu is not None:
        check_gpus(most_gpus(grid), grid[0].parallel_conditions)


def _check_extras(arguments: TrainingArguments) -> None:
    """Refuse a setting that needs a package which is not installed.

    Raises:
        InvalidInput: naming the setting and the package.
    """
    if arguments.environment:
        check_environment(arguments)
        return
    check_packages(arguments)
    check_head(arguments.loss_type)
    check_implementation(arguments)
    if arguments.use_hub_kernels:
        check_installed()


def check_gpus(n_gpus: int, parallel_conditions: int = 1) -> None:
    """Refuse conditions on more GPUs than this machine shows.

    Raises:
        InvalidInput: with the number that there are.
    """
    there = environment.visible_devices()
    if parallel_conditions * n_gpus > max(len(there), n_gpus):
        raise InvalidInput(
            f"training_args.parallel_conditions: {parallel_conditions} conditions at a time need "
            f"{plural(parallel_conditions * n_gpus, 'GPU')}, and this machine shows "
            f"{plural(len(there), 'GPU')}; run fewer at a time"
        )
    if n_gpus > max(len(there), 1):
        raise InvalidInput(
            f"training_args.n_gpus: {n_gpus} are asked for, and this machine shows "
            f"{plural(len(there), 'GPU')}; ask for as many, or show more in CUDA_VISIBLE_DEVICES"
        )


def check_sharding(grid: Sequence[TrainingArguments], on_cluster: bool, gpu: str | None) -> None:
    """Refuse a way of sharing the model that needs a package which is not installed, or a GPU.

    Args:
        gpu: the name of this machine's GPU.

    Raises:
        InvalidInput: naming it.
    """
    if any(arguments.sharding == ZERO3 for arguments in grid):
        if on_cluster:
            raise InvalidInput(
                f"training_args.sharding: {ZERO3} is DeepSpeed's, which the image does not have; "
                f"set {FSDP2}, which shares the same"
            )
        if importlib.util.find_spec("deepspeed") is None:
            raise InvalidInput(
                f"training_args.sharding: {ZERO3} is DeepSpeed's, which is not installed here; "
                f"install deepspeed, or set {FSDP2}, which shares the same"
            )
        if gpu is None:
            raise InvalidInput(f"training_args.sharding: {ZERO3} needs a GPU; set {FSDP2}")


def check_model(grid: Sequence[TrainingArguments], config: Mapping[str, Any]) -> None:
    """Refuse a model that cannot be trained, and kernels or an attention that it lacks.

    Args:
        config: the model's `config.json`.

    Raises:
        InvalidInput: naming what Liger has kernels for, or which attention to set instead.
    """
    quantization = config.get("quantization_config") or config.get("compression_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
        raise InvalidInput(
            "training_args.model_name: its config.json has a quantization_config"
            f"{f' ({method})' if method else ''}, and quantised weights cannot be trained whole; "
            "take the model that they were made from, or remove quantization_config if the weights "
            "are not quantised"
        )
    model_type = config.get("model_type")
    if model_type is None:
        return  # transformers will judge it
    if not isinstance(model_type, str):
        raise InvalidInput(
            f"training_args.model_name: model_type in config.json: {show(model_type)} is not a text"
        )
    check_causal(model_type)
    for arguments in grid:
        check_attention(model_type, arguments.attn_implementation)
        check_architecture(arguments.loss_type, config)
        if arguments.use_liger:
            liger_switches(model_type, arguments.liger_kernels)


@functools.cache
def check_attention(model_type: str, attention: str) -> None:
    """Refuse an attention that transformers does not have for the architecture.

    The support is read from the source of the modelling file, since importing it takes seconds.

    Args:
        model_type: the architecture, as in `config.json`.
        attention: the value of `attn_implementation`.

    Raises:
        InvalidInput: naming what to set instead.
    """
    flag = _SUPPORT.get(attention)
    package = importlib.util.find_spec("transformers")
    if flag is None or package is None or not package.submodule_search_locations:
        return
    name = model_type.removesuffix("_text")
    source = Path(package.submodule_search_locations[0], "models", name, f"modeling_{name}.py")
    if re.fullmatch(r"\w+", name) and source.is_file():
        text = source.read_text(encoding="utf-8")
        # In transformers an attention is unsupported unless the class says otherwise.
        if "_supports_" in text and not re.search(rf"\b{flag} = True\b", text):
            raise InvalidInput(
                f"training_args.attn_implementation: transformers has no {attention} for "
                f"{model_type!r}; set eager"
            )
