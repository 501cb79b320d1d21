"""Where the ranks of a group make their model: each on its GPU, or one of them in main memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import FSDP2
from liger_benchmark.training import ranks
from liger_benchmark.training.device import gpu_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The share of a GPU's memory up to which every rank makes the whole model before it gives up
# what is not its part. Above it the model is made in main memory, once.
WHOLE_MODEL_SHARE = 0.6


def where_to_make_it(arguments: TrainingArguments, folder: Path, on_gpu: bool) -> tuple[str, bool]:
    """The device of torch to make the model on, and whether a group makes it in main memory."""
    if not on_gpu:
        return "cpu", False
    gpu = f"cuda:{ranks.rank()}"
    if arguments.sharding != FSDP2:
        return gpu, False
    size = weights_bytes(folder, arguments.has_bf16_weights)
    if not weights_on_host(arguments, size, gpu_bytes()):
        return gpu, False
    return "cpu" if ranks.rank() == 0 else "meta", True


def weights_on_host(arguments: TrainingArguments, n_bytes: int, total_bytes: int) -> bool:
    """Whether the ranks make their model in main memory, once, instead of each on its GPU.

    The whole model on each GPU starts from the same weights as a run on one. Where it does not fit
    beside its part, rank 0 makes it in main memory and sends each rank its part; random weights are
    then others, since a CPU draws other numbers than a GPU.

    Args:
        n_bytes: the size of all weights.
        total_bytes: the memory of a GPU, of which all ranks have as much.
    """
    if arguments.gpu_memory_limit_gib is not None:
        total_bytes = min(total_bytes, int(arguments.gpu_memory_limit_gib * 2**30))
    return arguments.sharding == FSDP2 and n_bytes > WHOLE_MODEL_SHARE * total_bytes


def give_memory(model: PreTrainedModel) -> None:
    """Move the parameters of a model on the meta device to main memory, without values.

    accelerate tells parameters apart by their addresses. The memory is not used before it is
    written to.
    """
    import torch

    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            empty = torch.empty_like(parameter, device="cpu")
            setattr(module, name, torch.nn.Parameter(empty, parameter.requires_grad))
    model.tie_weights()


def weights_bytes(folder: Path, bf16: bool) -> int:
    """The size of the model's weights, from its config.json."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters()) * (2 if bf16 else 4)
