"""Workarounds for torch.compile, alone and with Liger.

Each names the library's fault that it avoids, and can be removed once that is fixed.
"""

from __future__ import annotations

from liger_benchmark.arguments import TrainingArguments

# Modes of torch.compile that replay recorded CUDA graphs.
_CUDA_GRAPHS = ("reduce-overhead", "max-autotune")


def prepare(use_liger: bool) -> None:
    """Apply the workarounds in this process; must be called before the model is loaded.

    AOTAutograd's cache is switched off in every arm; Inductor's stays on. PyTorch 2.11 and 2.13
    write a corrupt entry where a graph returns a view of the output of a linear layer without bias,
    as attention does in front of Liger's rope: the view's sizes are read from freed memory
    (PyTorch's issue 185630). The process that writes the entry may crash, and one that reads it
    fails with a wrong shape.

    Liger's losses are excluded from compilation and run eagerly. Compiled, the fused loss of Liger
    0.8.5 ends in an illegal memory access or a wrong loss, because the graph does not keep the
    zeros that its kernel leaves in the rows of ignored tokens (Liger's pull request 1338).
    """
    import torch
    import torch._functorch.config

    torch._functorch.config.enable_autograd_cache = False
    if not use_liger:
        return
    from liger_kernel.transformers import functional, monkey_patch

    for module in (functional, monkey_patch):  # monkey_patch imports one of them by name
        for name in ("liger_fused_linear_cross_entropy", "liger_cross_entropy"):
            if hasattr(module, name):
                setattr(module, name, torch.compiler.disable(getattr(module, name)))


def compile_mode(arguments: TrainingArguments) -> str | None:
    """The mode for transformers, which compiles as soon as one is given; None for the default."""
    mode = arguments.torch_compile_mode
    return mode if arguments.torch_compile and mode != "default" else None


def begins_graphs(arguments: TrainingArguments) -> None:
    """Say that a new step begins, where CUDA graphs reuse the memory of the last one's outputs."""
    if compile_mode(arguments) in _CUDA_GRAPHS:
        import torch

        torch.compiler.cudagraph_mark_step_begin()
