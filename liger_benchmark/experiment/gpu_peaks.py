"""The dense bf16 peaks of common training GPUs, each with its source."""

from __future__ import annotations

import re

# A pattern for NVML's name, the dense bf16 tensor-core peak in TFLOP/s with fp32 accumulation, and
# the NVIDIA document that gives it. "Half of" marks documents that print the value with sparsity,
# which is twice the dense one. The first match counts, so variants stand before the plain name.
DENSE_BF16_TFLOPS = (
    (r"\bB200\b", 2250.0, "half of 4,500, NVIDIA's specification of B200"),
    (r"\bH200$", 989.4, "half of 1,979, H200 data sheet"),
    (r"\bH100 PCIe\b", 756.0, "half of 1,513, H100 PCIe data sheet"),
    (r"\bH100 NVL\b", 835.5, "half of 1,671, H100 data sheet"),
    # The SXM board, which NVML calls "NVIDIA H100 80GB HBM3".
    (r"\bH100\b", 989.4, "half of 1,979, H100 data sheet"),
    (r"\bA100\b", 312.0, "A100 data sheet"),
    (r"\bA40\b", 149.7, "A40 data sheet"),
    (r"\bA10G\b", 70.0, "A10G data sheet"),
    (r"\bA10\b", 125.0, "A10 data sheet"),
    (r"\bL40S\b", 362.0, "L40S data sheet"),
    (r"\bL4\b", 121.0, "half of 242, L4 data sheet"),
)


def dense_bf16_tflops(gpu_name: str) -> float | None:
    """The GPU's dense bf16 peak in TFLOP/s; None for a MIG slice or a GPU not in the table."""
    if "MIG" in gpu_name:
        return None
    hits = (peak for pattern, peak, _ in DENSE_BF16_TFLOPS if re.search(pattern, gpu_name, re.I))
    return next(hits, None)
