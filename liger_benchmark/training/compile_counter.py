"""How much a process has compiled so far, so that a step that compiles can be told from the others.

Triton compiles a kernel again for each specialisation of its arguments: a whole number that is
divisible by 16 gives another kernel than one that is not. Dynamo compiles a graph for each shape.
Either may happen in any step of a run.
"""

from __future__ import annotations

from typing import Any


class CompilationCounter:
    """Counts from `start` on; before it, everything reads 0."""

    def __init__(self) -> None:
        self.triton_kernels = 0

    def start(self) -> None:
        """Count Triton's kernels from now on, those that it loads from its cache on disk too."""
        try:
            from triton import knobs
        except ImportError:
            return  # a CPU build of PyTorch brings no Triton
        earlier = knobs.runtime.jit_post_compile_hook

        def count(*args: Any, **kwargs: Any) -> Any:
            self.triton_kernels += 1
            return earlier(*args, **kwargs) if earlier is not None else None

        knobs.runtime.jit_post_compile_hook = count

    @property
    def graphs(self) -> int:
        """Graphs that Dynamo has handed to its backend."""
        return int(_dynamo_counters()["stats"]["unique_graphs"])

    @property
    def graph_breaks(self) -> int:
        """Places at which Dynamo gave up a graph, by its own count."""
        return int(sum(_dynamo_counters()["graph_break"].values()))

    @property
    def total(self) -> int:
        """Kernels and graphs together."""
        return self.triton_kernels + self.graphs


def _dynamo_counters() -> Any:
    from torch._dynamo.utils import counters

    return counters
