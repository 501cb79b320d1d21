"""What has to be set before torch.compile compiles a model, with Liger in it or without.

Each is a way round a fault in a library, named here so that it can go when the fault has.
"""

from __future__ import annotations


def prepare(use_liger: bool) -> None:
    """Make this process ready to compile a model; call it before the model is loaded.

    PyTorch 2.13 (and 2.11) write garbage into AOTAutograd's cache where a graph hands out a view of
    a linear layer without bias, as attention's does in front of Liger's rope: the sizes of that
    view are read from freed memory (PyTorch's issue 185630). The run that writes it may crash, and
    the next one that reads it fails with a nonsensical shape. So that cache is not used, in any
    arm; Inductor's own is.

    Traced, the fused loss of Liger 0.8.5 ends in an illegal memory access, or in a wrong loss: the
    graph does not keep the zeros that its kernel leaves in the rows of ignored tokens (Liger's pull
    request 1338). So torch.compile steps around Liger's losses, which run as they would without it;
    everything else is compiled.
    """
    import torch
    import torch._functorch.config

    torch._functorch.config.enable_autograd_cache = False
    if not use_liger:
        return
    from liger_kernel.transformers import functional, monkey_patch

    for module in (functional, monkey_patch):  # the latter has a name of its own for one of them
        for name in ("liger_fused_linear_cross_entropy", "liger_cross_entropy"):
            if hasattr(module, name):
                setattr(module, name, torch.compiler.disable(getattr(module, name)))
