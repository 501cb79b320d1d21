"""An estimate of the GPU hours that a grid will take, printed before it starts.

It is rough, worked out from the model's size and the GPU's peak. While the grid runs,
`report.progress` estimates the remaining time from the runs that have finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.catalog import MODELS
from liger_benchmark.experiment.gpu_peaks import dense_bf16_tflops
from liger_benchmark.training.experts import n_at_work, n_experts
from liger_benchmark.wording import number

# From the grids under results/: plain transformers reach about a third of an H100's peak, and a
# run takes about eight seconds outside its steps. torch.compile takes a minute for a model of 32
# layers; repeats find most of that in its cache.
MFU = 0.33
SECONDS_A_RUN = 8.0
SECONDS_TO_COMPILE = 40.0


def n_parameters(config: Mapping[str, Any], *, at_work: bool = False) -> int | None:
    """The number of parameters of a decoder with this `config.json`; None for other models.

    Counted are embedding and head, and in each layer the four projections of the attention, the
    three of the gated MLP or of each expert, and the router. Norms and biases, less than a
    thousandth of the total, are left out.

    Args:
        at_work: of a mixture of experts count only those that work for a token.
    """
    try:
        hidden, vocabulary = config["hidden_size"], config["vocab_size"]
        heads = config["num_attention_heads"]
        head_size = config.get("head_dim") or hidden // heads
        kv_heads = config.get("num_key_value_heads") or heads
        attention = 2 * hidden * head_size * (heads + kv_heads)
        mlps = config["num_hidden_layers"] * 3 * hidden * config["intermediate_size"]
        if n_experts(config):
            mlps = _mlps_with_experts(config, at_work)
        embeddings = hidden * vocabulary * (1 if config.get("tie_word_embeddings") else 2)
        # Through a float, which overflows for absurd sizes.
        return int(float(config["num_hidden_layers"] * attention + mlps + embeddings))
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None


def _mlps_with_experts(config: Mapping[str, Any], at_work: bool) -> int:
    """The parameters of all MLPs of a mixture of experts, some of whose layers may be dense."""
    hidden, dense_size = config["hidden_size"], config["intermediate_size"]
    size = config.get("moe_intermediate_size") or dense_size
    shared = config.get("shared_expert_intermediate_size") or size * (
        config.get("n_shared_experts") or config.get("moe_num_shared_experts") or 0
    )
    n_working = n_at_work(config) if at_work else n_experts(config)
    layers = range(config.get("first_k_dense_replace") or 0, config["num_hidden_layers"])
    dense, step = config.get("mlp_only_layers") or (), config.get("decoder_sparse_step") or 1
    n_sparse = sum(layer not in dense and (layer + 1) % step == 0 for layer in layers)
    sparse = hidden * (3 * (n_working * size + shared) + n_experts(config))
    return n_sparse * sparse + (config["num_hidden_layers"] - n_sparse) * 3 * hidden * dense_size


def gpu_hours(
    grid: Sequence[TrainingArguments], parameters: int | None, gpu_name: str | None
) -> float | None:
    """The hours that the grid is likely to take on one GPU; None if model or GPU are unknown.

    A step takes 6 * parameters * tokens FLOPs, of those parameters that work for a token.

    Args:
        parameters: the number of the model's parameters that work for a token.
        gpu_name: the GPU's name in NVML or Flyte.
    """
    peak = dense_bf16_tflops((gpu_name or "").replace("_", " "))
    if parameters is None or peak is None:
        return None
    seconds = 0.0
    for arguments in grid:
        tokens = (
            arguments.max_steps
            * arguments.n_gpus
            * arguments.gradient_accumulation_steps
            * arguments.per_device_train_batch_size
            * arguments.max_seq_length
        )
        # fp32 arithmetic runs at an eighth of the bf16 rate or less on the GPUs of the table.
        rate = peak * 1e12 * MFU / (1 if arguments.is_rounded else 8)
        # Tokens take as many GPU seconds on several GPUs; what is beside the steps holds them all.
        beside = SECONDS_A_RUN + (SECONDS_TO_COMPILE if arguments.torch_compile else 0.0)
        seconds += 6 * parameters * tokens / rate + beside * arguments.n_gpus
    return seconds / 3600


def config_at_hand(model_name: str) -> dict[str, Any] | None:
    """The configuration of a built-in model or one in a local folder; None for one on the Hub."""
    if model_name.startswith("builtin:"):
        return MODELS.get(model_name.removeprefix("builtin:"))
    return config_in(Path(model_name).expanduser())


def config_in(folder: Path) -> dict[str, Any] | None:
    """The mapping in the folder's `config.json`; None if there is none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def expected(
    grid: Sequence[TrainingArguments], config: Mapping[str, Any], gpu_name: str | None
) -> str:
    """The estimate in words: `expected: about 0.4 GPU hours on NVIDIA H100`.

    Args:
        config: the model's `config.json`.
        gpu_name: the GPU's name in NVML or Flyte; None if there is no GPU.
    """
    if gpu_name is None:
        return "expected: no GPU hours, since there is no GPU: a trial on the CPU"
    hours = gpu_hours(grid, n_parameters(config, at_work=True), gpu_name)
    if hours is None:
        return f"expected: unknown GPU hours, since the model or {gpu_name} is not in the tables"
    return f"expected: about {number(hours, 1 if hours >= 0.1 else 2)} GPU hours on {gpu_name}"
