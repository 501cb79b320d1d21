"""The dense bf16 peak of the GPUs that people train on, each with its source."""

from __future__ import annotations

import re

# Dense bf16 tensor-core peak in TFLOP/s, accumulated in fp32, and the document of NVIDIA's that
# gives it; "half of" where it prints the value with sparsity, which is twice the dense one. Looked
# for in NVML's names, in this order: a special form stands before the name that is a part of it.
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
    """The GPU's dense bf16 peak in TFLOP/s; None for one not in the table or a MIG slice of one."""
    if "MIG" in gpu_name:
        return None
    hits = (peak for pattern, peak, _ in DENSE_BF16_TFLOPS if re.search(pattern, gpu_name, re.I))
    return next(hits, None)
