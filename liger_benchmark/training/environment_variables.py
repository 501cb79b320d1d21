"""The environment variables that can change a measurement: recorded, and part of a run's key.

`PYTORCH_CUDA_ALLOC_CONF` changes what fits, `TORCHDYNAMO_DISABLE` switches torch.compile off,
`CUDA_LAUNCH_BLOCKING` costs speed, `NVIDIA_TF32_OVERRIDE` changes what fp32 means.
"""

from __future__ import annotations

import os
import re

# All variables of PyTorch, CUDA and its libraries, Triton, Liger, and of the libraries that share
# out a CPU's threads.
_MATTERS = re.compile(
    r"(PYTORCH|TORCH[A-Z]*|CUDA|NVIDIA|CUBLAS(LT)?|CUDNN|NCCL|TRITON|LIGER|OMP|GOMP|MKL|KMP"
    r"|OPENBLAS|TOKENIZERS|ACCELERATE|TRANSFORMERS)_\w+|DISABLE_KERNEL_MAPPING|USE_HUB_KERNELS|LOCAL_KERNELS"
)
# Where something lies, which version an image says it has, which card is seen (its UUID is in the
# key), what this package sets, and what torch's launcher sets in every rank.
_DOES_NOT = re.compile(
    r"LIGER_BENCHMARK_\w+|\w+_(HOME|PATH|DIR|ROOT|CACHE|VERSION)|(CUDA|NVIDIA)_VISIBLE_DEVICES"
    r"|NVIDIA_(REQUIRE|DRIVER)_\w+|NVIDIA_PRODUCT_NAME|CUDA_DEVICE_ORDER|TRITON_INTERPRET"
    r"|PYTORCH_NVML_BASED_CUDA_CHECK|TORCHELASTIC_\w+|TORCH_ELASTIC_\w+"
    r"|TORCH_NCCL_ASYNC_ERROR_HANDLING"
)


def variables_that_matter() -> dict[str, str]:
    """The variables that are set and can change a measurement, by name in alphabetical order."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if _MATTERS.fullmatch(name) and not _DOES_NOT.fullmatch(name)
    }
