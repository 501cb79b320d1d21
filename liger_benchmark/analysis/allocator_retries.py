"""Retries of the allocator that cost time in what was measured."""

from __future__ import annotations

from liger_benchmark.columns import STEP_PEAK_RESERVED_MB
from liger_benchmark.run import Run


def retries(run: Run) -> int | None:
    """How often the allocator freed its cached blocks in the measured steps; None without a GPU.

    Older records count the whole run. They say zero here where the history shows that it was in the
    warm-up: reserved memory was higher there, and the same in all measured steps.
    """
    memory = run.record.get("memory", {})
    if "retries_in_measured_steps" in memory or not memory.get("allocator_retries"):
        return memory.get("retries_in_measured_steps", memory.get("allocator_retries"))
    if STEP_PEAK_RESERVED_MB in run.history and "is_warmup" in run.history:
        reserved, warmup = run.history[STEP_PEAK_RESERVED_MB], run.history["is_warmup"]
        measured = reserved[~warmup]
        if warmup.any() and measured.nunique() == 1 and measured.max() < reserved[warmup].max():
            return 0
    return memory["allocator_retries"]
