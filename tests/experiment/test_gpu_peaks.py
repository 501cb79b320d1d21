"""GPU peaks are found by the names that NVML gives the cards."""

from __future__ import annotations

import pytest

from liger_benchmark.experiment.gpu_peaks import dense_bf16_tflops


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA B200", 2250.0),
        ("NVIDIA A40", 149.7),
        ("NVIDIA GeForce RTX 4090", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_peaks_are_found_by_nvmls_names(name: str, peak: float | None) -> None:
    assert dense_bf16_tflops(name) == peak
