"""A mixture of experts, told by the keys of a model's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The names that architectures give to how many experts a layer has, and how many a token uses.
COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
AT_WORK = ("num_experts_per_tok", "moe_k")


def n_experts(config: Mapping[str, Any]) -> int:
    """The experts of each layer that chooses among some; 0 for a dense model."""
    count = _first(config, COUNTS)
    return count if count > 1 else 0


def n_at_work(config: Mapping[str, Any]) -> int:
    """The experts that work for a token; all of them where the configuration does not say."""
    return _first(config, AT_WORK) or n_experts(config)


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((int(count) for count in map(config.get, names) if count), 0)
