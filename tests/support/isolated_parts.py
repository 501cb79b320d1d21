"""Functions that run in a fresh process: which parts of an architecture Liger's patch reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Send = Callable[[Any], None]
# As many layers as the longest pattern of different layers has.
N_LAYERS = 4
# What these configurations leave open by default, and their models need.
NEEDED = {
    "hunyuan_v1_dense": {"head_dim": 64},
    "hunyuan_v1_moe": {"head_dim": 64},
    "ministral": {"head_dim": 64},
    "nemotron": {"num_key_value_heads": 8},
}


def liger_parts(send: Send, model_type: str) -> dict[str, Any]:
    """Apply Liger's default patch, build the architecture without memory, and count its parts.

    The model has its default sizes but `N_LAYERS` layers, and lies on the meta device.

    Returns:
        `model_type` (that of the model too, `live_model_type`), `switches` (Liger's arguments that
        are on by default), `kernels` (ours), `active` and `present` as `active_liger_parts` counts
        them, `not_liger` (by part, how many modules of which class run no code of Liger) and
        `mismatch`, what `check_liger` says, or None. Or `model_type` and `error`, if AutoModel has
        no such causal language model or Liger cannot patch it.
    """
    from liger_benchmark.training import triton_interpreter
    from liger_benchmark.training.environment import gpu

    if gpu() is None:
        triton_interpreter.enable()
    import torch
    from liger_kernel.transformers import AutoLigerKernelForCausalLM

    from liger_benchmark.choices import (
        DEFAULT_LIGER_KERNELS,
    )
    from liger_benchmark.training.activation import (
        LigerMismatch,
        active_liger_parts,
        check_liger,
        inspect_parts,
    )
    from liger_benchmark.training.liger_kernels import (
        kernels_turned_on,
        liger_architectures,
        liger_switches,
    )

    switches = liger_switches(model_type, DEFAULT_LIGER_KERNELS)
    try:
        config = small_config(model_type)
        with torch.device("meta"):
            model: Any = AutoLigerKernelForCausalLM.from_config(config, **switches)
    except Exception as error:
        return {"model_type": model_type, "error": f"{type(error).__name__}: {error}"[:300]}
    live_model_type = model.config.model_type
    parts = active_liger_parts(model)
    not_liger: dict[str, dict[str, int]] = {}
    for part, owner, is_active in inspect_parts(model):
        if not is_active:
            of_part = not_liger.setdefault(part, {})
            of_part[owner] = of_part.get(owner, 0) + 1
    mismatch = None
    try:
        check_liger(parts, DEFAULT_LIGER_KERNELS, live_model_type)
    except LigerMismatch as error:
        mismatch = str(error)
    return {
        "model_type": model_type,
        "live_model_type": live_model_type,
        "class": type(model).__name__,
        "switches": sorted(name for name, on in liger_architectures()[model_type].items() if on),
        "kernels": kernels_turned_on(model_type, DEFAULT_LIGER_KERNELS),
        **parts,
        "not_liger": not_liger,
        "mismatch": mismatch,
    }


def small_config(model_type: str) -> Any:
    """The architecture's default configuration with `N_LAYERS` layers."""
    import transformers

    config_class = transformers.CONFIG_MAPPING[model_type]
    fewer = {"num_hidden_layers": N_LAYERS, **NEEDED.get(model_type, {})}
    if "text_config" in getattr(config_class, "sub_configs", {}):
        return config_class(text_config=fewer)
    return config_class(**fewer)
