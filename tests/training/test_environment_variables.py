"""Which environment variables count as a part of a measurement."""

from __future__ import annotations

import pytest

from liger_benchmark.training.environment_variables import variables_that_matter


@pytest.mark.parametrize(
    "name",
    [
        "PYTORCH_CUDA_ALLOC_CONF",
        "PYTORCH_ALLOC_CONF",
        "TORCHDYNAMO_DISABLE",
        "TORCHINDUCTOR_MAX_AUTOTUNE",
        "TORCH_COMPILE_DISABLE",
        "TORCH_CUDNN_V8_API_DISABLED",
        "CUDA_LAUNCH_BLOCKING",
        "NVIDIA_TF32_OVERRIDE",
        "CUBLAS_WORKSPACE_CONFIG",
        "CUBLASLT_WORKSPACE_SIZE",
        "NCCL_P2P_DISABLE",
        "TRITON_F32_DEFAULT",
        "TRITON_ALLOW_TF32",
        "LIGER_NO_COMPILE",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TOKENIZERS_PARALLELISM",
        "USE_HUB_KERNELS",
        "DISABLE_KERNEL_MAPPING",
    ],
)
def test_a_variable_that_can_change_a_measurement_is_recorded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "some value")
    assert variables_that_matter()[name] == "some value"
    monkeypatch.delenv(name)
    assert name not in variables_that_matter()


@pytest.mark.parametrize(
    "name",
    [
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDA_VERSION",
        "CUDNN_VERSION",
        "NCCL_VERSION",
        "NVIDIA_REQUIRE_CUDA",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_PRODUCT_NAME",
        "TORCH_HOME",
        "TRITON_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRANSFORMERS_CACHE",
        "HF_HOME",
        "LIGER_BENCHMARK_BUILD",
        "OMPI_COMM_WORLD_RANK",
        "TRITON_INTERPRET",
        "PYTORCH_NVML_BASED_CUDA_CHECK",
        "PATH",
        "HOME",
    ],
)
def test_where_something_lies_and_what_this_package_sets_is_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/somewhere")
    assert name not in variables_that_matter()


def test_they_are_sorted_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "CUDA_LAUNCH_BLOCKING", "TRITON_DEBUG"):
        monkeypatch.setenv(name, "1")
    assert list(variables_that_matter()) == sorted(variables_that_matter())
