"""Whether a model fits into the memory that a training pod is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import estimate
from liger_benchmark.experiment.grid import most_gpus
from liger_benchmark.flyte.settings import MEMORY, quantity
from liger_benchmark.validation import InvalidInput

# What torch, transformers, trl and CUDA take of a training pod's memory beside the weights, in GiB.
IMPORTS_GIB = 4.0


def check_pod_memory(grid: Sequence[TrainingArguments], config: Mapping[str, Any]) -> None:
    """Refuse a grid whose model's weights do not fit into a training pod's memory.

    The pod of a condition on several GPUs has the memory of as many. The weights are counted whole,
    though most formats are read piece by piece on their way to the GPU. A model whose size
    `config.json` does not tell is not checked.

    Raises:
        InvalidInput: naming the variable to set.
    """
    parameters = estimate.n_parameters(config)
    if parameters is None:
        return
    weights = (
        parameters * (2 if all(arguments.has_bf16_weights for arguments in grid) else 4) / 2**30
    )
    n_gpus = most_gpus(grid)
    # For each GPU.
    needed = weights / n_gpus + IMPORTS_GIB
    if quantity(MEMORY) / 2**30 < needed:
        a_gpu = f" for each of {n_gpus} GPUs" if n_gpus > 1 else ""
        raise InvalidInput(
            f"LIGER_BENCHMARK_MEMORY: {MEMORY}{a_gpu} cannot hold the model's weights "
            f"({weights:.1f} GiB) and what a training pod imports ({IMPORTS_GIB:.0f} GiB{a_gpu}); "
            f"register with {math.ceil(needed)}Gi or more"
        )
