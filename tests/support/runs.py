"""Synthetic runs and whole grids of them for the tests of the analysis and the report.

The numbers follow simple formulas, so that a test can work out the expected results by hand.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from liger_benchmark.analysis.arms import DECIDES_ROWS
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import LIGER_KERNELS
from liger_benchmark.run import COMPLETED, Run

SIZES = (16, 24, 32, 40, 48, 56)
# Tokens per second of repeat 1, 2 and 3, as factors of the cell's own rate.
REPEAT_FACTORS = {"vanilla": (1.00, 1.02, 0.99), "Liger": (1.00, 1.01, 1.00)}
VANILLA_RATE = 12_000.0
GPU = {
    "name": "NVIDIA H100 80GB HBM3",
    "uuid": "GPU-7f0c",
    "memory_GiB": 79.1,
    "driver": "575.57.08",
    "power_limit_W": 700.0,
    "clocks_start": {"sm_MHz": 1980, "memory_MHz": 2619, "temperature_C": 34},
    "clocks_end": {"sm_MHz": 1755, "memory_MHz": 2619, "temperature_C": 58},
    "other_processes": [],
    "window": {"mean_sm_MHz": 1790, "min_sm_MHz": 1755, "slowed_by": {"power cap": 0.9}},
    "others_memory_MB": {"start": 3.0, "end": 3.0},
}
PACKAGES = {
    "torch": "2.13.0",
    "triton": "3.7.1",
    "transformers": "5.23.0",
    "trl": "1.14.0",
    "liger-kernel": "0.8.5",
    "datasets": "5.2.0",
    "nvidia-cudnn-cu13": "9.20.0.48",
}
PARTS = {"rms_norm": 65, "swiglu": 32, "rope": 32, "fused_linear_cross_entropy": 1}
# The first step's gradients by parameter: the norm, then four projections.
GRADIENTS = {
    "model.embed_tokens.weight": [0.41, -0.22, 0.37, 0.05, -0.61],
    "model.layers.0.self_attn.qkv_proj.weight": [3.2, 1.1, -2.9, 4.4, 0.3],
    "model.layers.1.self_attn.qkv_proj.weight": [2.8, -3.6, 0.7, -1.9, 2.2],
    "model.layers.0.mlp.gate_up_proj.weight": [6.1, 5.2, -7.3, 1.4, 8.8],
    "model.layers.1.mlp.gate_up_proj.weight": [5.9, -0.4, 6.6, -5.1, 7.0],
    "model.norm.weight": [0.08, 0.05, -0.11, 0.07, -0.02],
    "lm_head.weight": [12.5, -9.8, 14.2, 11.7, -16.0],
}
# How far honest arms' gradients lie apart, see `gradient_difference`.
APART = {True: 0.02, False: 5e-7}
OPTIMIZERS = {"adamw_torch": "torch.optim.adamw.AdamW", "rmsprop": "torch.optim.rmsprop.RMSprop"}


def make_run(
    arm: str,
    size: int,
    repeat: int = 1,
    *,
    outcome: str = COMPLETED,
    rate: float | None = None,
    memory_mb: float | None = None,
    factor: float = 1.0,
    energy: float | None = None,
    retries: int = 0,
    steps: int = 40,
    cpu: bool = False,
    **arguments: Any,
) -> Run:
    """One run; `rate` is its average tokens per second, `memory_mb` its peak memory.

    `retries` is how often the allocator had to free its cached blocks.

    An arm has Liger if it is called Liger or `arguments` has `use_liger`. It has `factor` times the
    speed and 1/`factor` times the memory of Liger or of vanilla.
    """
    liger = arguments.setdefault("use_liger", arm == "Liger")
    settings: dict[str, Any] = {
        "model_name": "builtin:phi3-mini",
        "dataset_name": "builtin:instructions",
        "gpu_memory_limit_gib": None if cpu else 39.0,
        "bf16": not cpu,
        "max_steps": steps,
        "arm_name": "" if arm in ("Liger", "vanilla") else arm,
    } | arguments
    args = TrainingArguments(per_device_train_batch_size=size, run=repeat, **settings)
    own_rate = VANILLA_RATE * (1 + size / 200) * (1.2 + size / 250 if liger else 1.0)
    own_factors = REPEAT_FACTORS["Liger" if liger else "vanilla"]
    rate = rate or factor * own_rate * own_factors[(repeat - 1) % 3]
    memory_mb = memory_mb or (14_000 + size * (430 if liger else 620)) / factor
    history = _history(args, rate, memory_mb, cpu) if outcome == COMPLETED else pd.DataFrame()
    if energy is not None and outcome == COMPLETED:
        history["avg_energy_J_per_token"] = energy * (2 - history["step"] / args.max_steps)
    return Run(args, outcome, history, _record(args, outcome, repeat, cpu, retries))


def grid(
    sizes: tuple[int, ...] = SIZES,
    repeats: int = 3,
    arms: Iterable[str] | Mapping[str, dict[str, Any]] = ("Liger", "vanilla"),
    **settings: Any,
) -> list[Run]:
    """Every run of a grid, all completed: by repeat, batch size and arm, as results are read.

    `arms` may give each arm settings of its own.
    """
    own = arms if isinstance(arms, Mapping) else dict.fromkeys(arms, {})
    return [
        make_run(arm, size, repeat, **settings | own[arm])
        for repeat in range(1, repeats + 1)
        for size in sizes
        for arm in own
    ]


def _history(args: TrainingArguments, rate: float, memory_mb: float, cpu: bool) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    step_tokens = args.per_device_train_batch_size * args.max_seq_length
    for step in range(1, args.max_steps + 1):
        warm = step <= args.n_warmup_steps
        wobble = 1 + 0.01 * math.sin(1.7 * step + args.run)
        step_rate = rate * (0.35 if step == 1 else wobble)
        # Averages and peaks so far: only the last row's are those of the whole run.
        share = 1 - 0.002 * (args.max_steps - step)
        so_far = rate * share
        # The arms differ by 0.1% in bf16, by far less in fp32, growing over the steps.
        apart = (1e-3 if args.bf16 else 2e-6) * step / args.max_steps if args.use_liger else 0.0
        loss = (1.2 + 9.2 * math.exp(-step / 9)) * (1 + 0.02 * math.sin(step)) * (1 + apart)
        row = {
            "use_liger": args.use_liger,
            "per_device_train_batch_size": args.per_device_train_batch_size,
            "run": args.run,
            "step": step,
            "is_warmup": warm,
            "step_compilations": 30 if step == 1 and not cpu else 0,
            "loss": loss,
            "grad_norm": 3.1 + math.cos(step),
            "learning_rate": args.learning_rate * (1 - step / args.max_steps),
            "num_input_tokens_seen": step * step_tokens,
            "step_seconds": step_tokens / step_rate,
            "step_tokens": step_tokens,
            "step_tokens_per_second": step_rate,
            "avg_tokens_per_second": math.nan if warm else so_far,
            # 12% of the tokens are padding; 3% of the loop's time lies between its steps.
            "avg_real_tokens_per_second": math.nan if warm else 0.88 * so_far,
            "avg_loop_tokens_per_second": math.nan if warm else 0.97 * so_far,
        }
        total = math.nan if warm else memory_mb * share
        if cpu:
            row |= {"step_peak_resident_set_MB": memory_mb, "total_peak_resident_set_MB": total}
        else:
            row |= {
                "step_peak_memory_allocated_MB": 0.96 * memory_mb,
                "step_peak_memory_reserved_MB": memory_mb,
                "total_peak_memory_allocated_MB": 0.96 * total,
                "total_peak_memory_reserved_MB": total,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _record(
    args: TrainingArguments, outcome: str, repeat: int, cpu: bool, retries: int
) -> dict[str, Any]:
    on = args.use_liger
    size = args.per_device_train_batch_size
    position = (repeat - 1) * 100 + size * 2 + (not on)
    record = {
        "session": "5e55107", "host": "0a57",
        "phases": {
            "process": 0.4, "imports": 7.5 if position == 32 else 0.1, "data": 0.3, "model": 1.9,
            "trainer": 0.6, "warmup_steps": 1.2, "steps": round(size * (0.28 if on else 0.38), 2),
            "between_steps": 0.2, "save": 0.1, "teardown": 0.5,
        },
        "liger": _active_parts(args) | {"parts": dict(PARTS)},
        "loss": args.loss_type,
        "weights": {
            "origin": "random", "source": args.model_name, "revision": None,
            "n_parameters": 4_000_000 if cpu else 3_821_079_552, "checksum": _start(args),
            "dtype": "float32" if cpu else "bfloat16", "attn_implementation": "sdpa",
        },
        "dataset": {
            "origin": "builtin", "source": args.dataset_name, "revision": None,
            "rows": size * args.max_steps, "checksum": f"rows-{_rows(args)}",
            "padding_fraction": 0.12,
        },
        "environment": {
            "python": "3.11.2", "platform": "Linux-6.1-x86_64", "cpu": "Xeon",
            "packages": dict(PACKAGES), "gpu": None if cpu else copy.deepcopy(GPU),
            "triton_interpreter": cpu, "variables": {},
        },
        "started_at": f"2026-11-20T10:{position // 60:02d}:{position % 60:02d}+00:00",
        "wandb_url": f"https://wandb.ai/team/liger/runs/{args.slug}",
    }  # fmt: skip
    if outcome == COMPLETED:
        record |= {
            "batches": {"checksum": f"batches-{_rows(args)}", "padding_fraction": 0.12},
            "gradients": _gradients(args),
            "proof": _proof(args),
        }
    return record if cpu else record | {"memory": {"allocator_retries": retries}}


def _active_parts(args: TrainingArguments) -> dict[str, int]:
    active = {part: n for part, n in PARTS.items() if args.use_liger and part in args.liger_kernels}
    return {part: active.get(part, 0) for part in LIGER_KERNELS if part in PARTS}


def _start(args: TrainingArguments) -> str:
    """The checksum of the weights, which the seed and the precision decide."""
    return f"5f0c2a-{args.seed}-{'bf16' if args.bf16 else 'fp32'}"


def _rows(args: TrainingArguments) -> str:
    """What the checksums of rows and batches stand for."""
    decisive = (args.per_device_train_batch_size, *(getattr(args, name) for name in DECIDES_ROWS))
    return "-".join(map(str, decisive))


def _gradients(args: TrainingArguments) -> dict[str, list[float]]:
    """Equal in all arms, but for what rounding may do to the arms with Liger."""
    factor = 1 + APART[args.bf16] * args.use_liger
    return {
        name: [norm, *(factor * value for value in projections)]
        for name, (norm, *projections) in GRADIENTS.items()
    }


def _proof(args: TrainingArguments) -> dict[str, Any]:
    optimizer = OPTIMIZERS.get(args.optim, "torch.optim.sgd.SGD")
    return {
        "graphs": 4 if args.torch_compile else 0,
        "graph_breaks": 0,
        "optimizer": optimizer,
        "optimizer_expected": optimizer,
        "checkpointing": {"active": 32 if args.gradient_checkpointing else 0, "present": 32},
        "attention": {args.attn_implementation: 32},
        "weights_changed": True,
    }
