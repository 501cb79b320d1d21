"""The time of a profile by kind of kernel, and in words."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

# Regular expressions for the names of kernels, by kind. The first match counts.
KINDS = (
    ("communication", r"nccl"),
    ("matrix products", r"gemm|nvjet|cutlass|cublas|triton_tem_fused.*mm|splitk|xmma"),
    (
        "attention",
        r"flash|fmha|attention|softmax_warp|triton_tem_fused|cudnn::fusion|dot_do_o|convert_dq",
    ),
    ("loss", r"cross_entropy|nll_loss|softmax|element_mul_kernel"),
    ("norm", r"rms_norm|layer_norm|RMSNorm"),
    ("rope", r"rope|rotary"),
    ("gated MLP", r"swiglu|geglu|silu"),
    ("optimizer", r"multi_tensor|foreach|adam|sgd"),
    ("fused by Inductor", r"^triton_"),
    ("copies", r"memcpy|memset|copy|CatArray"),
    ("elementwise", r"elementwise|reduce|index|gather|scatter|fill|embedding"),
)
IDLE = "idle"


def kind_of(kernel: str) -> str:
    """The kind of work of a kernel by its name, one of `KINDS` or "other"."""
    return next((kind for kind, names in KINDS if re.search(names, kernel, re.I)), "other")


def by_kind(profile: dict[str, Any]) -> pd.DataFrame:
    """A table by kind, idle time included: `milliseconds` per step and `share` (a fraction)."""
    spent: dict[str, float] = {}
    for kernel, milliseconds in profile["milliseconds"].items():
        spent[kind_of(kernel)] = spent.get(kind_of(kernel), 0.0) + milliseconds
    wall = profile["wall_milliseconds"]
    spent[IDLE] = max(wall - sum(spent.values()), 0.0)
    table = pd.DataFrame({"milliseconds": spent}).sort_values("milliseconds", ascending=False)
    table["share"] = table["milliseconds"] / wall
    return table


def summary(profile: dict[str, Any]) -> str:
    """The profile as text: rates, the table by kind, and the twelve longest kernels."""
    flops = 6 * profile["n_parameters"] * profile["tokens_a_step"]
    achieved = flops / (profile["wall_milliseconds"] / 1000) / 1e12
    table = by_kind(profile)
    lines = [
        f"{profile['condition']} on {profile['gpu']}{_of_group(profile)}",
        f"a step: {profile['wall_milliseconds']:.1f} ms under the profiler, "
        f"{profile['tokens_a_step']} tokens, {achieved:.0f} TFLOP/s by 6 × parameters × tokens",
        f"bf16 matrix product: {profile['matmul_tflops']:.0f} TFLOP/s measured; "
        f"the step reaches {achieved / profile['matmul_tflops']:.1%} of it",
        "",
        *(
            f"{kind:20s} {row['milliseconds']:9.2f} ms {row['share']:7.1%}"
            for kind, row in table.iterrows()
        ),
        "",
    ]
    longest = sorted(profile["milliseconds"].items(), key=lambda item: -item[1])[:12]
    lines += [f"{spent:9.2f} ms  {kind_of(name):18s} {name[:90]}" for name, spent in longest]
    return "\n".join(lines)


def _of_group(profile: dict[str, Any]) -> str:
    n_gpus = profile.get("n_gpus", 1)
    return f", rank 0 of {n_gpus} GPUs; communication overlaps" if n_gpus > 1 else ""
