"""How the ranks of a group share a model: the trainer's settings, and reading what is spread.

`ddp` gives every rank the whole model, and averages gradients. `fsdp2` is torch's `fully_shard` as
transformers 5 sets it up through accelerate: every rank keeps a part of each weight, gradient and
optimizer state, and gathers a layer's weights when it computes the layer.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    DDP,
    FSDP2,
    ZERO3,
)
from liger_benchmark.training import ranks

if TYPE_CHECKING:
    import torch

# What wrappers of torch add to the names of parameters.
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


def trainer_settings(arguments: TrainingArguments, *, weights_on_host: bool) -> dict[str, Any]:
    """The arguments of `trl.SFTConfig` by which a group shares the model.

    Under FSDP2 the weights stay in the precision in which they were loaded: with `bf16` accelerate
    would hold them in fp32 (`fsdp2_prepare_model`), twice the memory of the same run on one GPU.
    There is no autocast then, and activation checkpointing is FSDP's own.

    Args:
        weights_on_host: see `weights_place`.
    """
    if arguments.sharding == FSDP2:
        return {
            "gradient_checkpointing": False,
            "fsdp": True,
            "fsdp_config": {
                "version": 2,
                "reshard_after_forward": arguments.reshard_after_forward,
                "activation_checkpointing": arguments.gradient_checkpointing,
                "cpu_ram_efficient_loading": weights_on_host,
            },
        }
    if arguments.sharding == ZERO3:
        return {"deepspeed": _zero3(arguments)}
    assert arguments.sharding == DDP
    return {}


def _zero3(arguments: TrainingArguments) -> dict[str, Any]:
    return {
        "zero_optimization": {"stage": 3},
        "bf16": {"enabled": arguments.bf16},
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }


def begin(on_gpu: bool) -> None:
    """Set what a rank needs before it joins its group, after its environment was recorded."""
    if on_gpu or not ranks.in_group():
        return
    # All ranks are on this host, whose name need not lead anywhere.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    share = max((os.cpu_count() or 1) // ranks.n_ranks(), 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))
    import torch

    torch.set_num_threads(share)


def end() -> None:
    """Leave the group."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def plain_name(name: str) -> str:
    """A parameter's name without what wrappers of torch have added to it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def own_part(tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """This rank's part of a tensor, flat, and where it begins in the whole, in elements.

    Of a tensor that every rank has whole, all but rank 0 have an empty part: a sum over the ranks
    counts each element once.

    Raises:
        ValueError: if it is spread in another way than by its first dimension.
    """
    from torch.distributed.tensor import DTensor, Replicate, Shard
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    if not isinstance(tensor, DTensor):
        flat = tensor.reshape(-1)
        return (flat if ranks.rank() == 0 else flat[:0]), 0
    placements = tensor.placements
    if all(isinstance(placement, Replicate) for placement in placements):
        flat = tensor.to_local().reshape(-1)
        return (flat if ranks.rank() == 0 else flat[:0]), 0
    if len(placements) != 1 or not isinstance(placements[0], Shard) or placements[0].dim != 0:
        raise ValueError(f"weights spread as {placements} cannot be read")
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, placements)
    local = tensor.to_local().reshape(-1)
    return local, (offset[0] * math.prod(tensor.shape[1:]) if local.numel() else 0)


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether the tensor's elements are spread over the ranks."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """The sum of every rank's `values`; each rank has to call this."""
    import torch

    torch.distributed.all_reduce(values)
    return values


@contextlib.contextmanager
def gradients_shared(model: Any) -> Iterator[None]:
    """Have the ranks share gradients inside the block, though a step has more micro-batches.

    Under DDP the trainer has them shared at a step's last micro-batch, under FSDP2 at every one.
    """
    before = getattr(model, "require_backward_grad_sync", None)
    if before is None:
        yield
        return
    model.require_backward_grad_sync = True
    try:
        yield
    finally:
        model.require_backward_grad_sync = before


def checkpointed_layers(model: Any) -> dict[str, int] | None:
    """How many layers FSDP has wrapped to compute their activations again; None if none are.

    Returns:
        `active` and `present`, the number of layers of the same classes.
    """
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper

    wrapped = [m._checkpoint_wrapped_module for m in model.modules()
               if isinstance(m, CheckpointWrapper)]  # fmt: skip
    if not wrapped:
        return None
    classes = tuple({type(module) for module in wrapped})
    present = sum(isinstance(module, classes) for module in model.modules())
    return {"active": len(wrapped), "present": present}


def shard_on_cpu(trainer: Any) -> None:
    """Make accelerate shard the model of a trainer without a GPU, which it does with one only."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    trainer.is_fsdp_enabled = True
