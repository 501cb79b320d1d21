"""Packages that only some settings need: what is missing is named before anything starts."""

from __future__ import annotations

import importlib.util

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.validation import InvalidInput, show

# By transformers' names of its optimisers: the package to install, and the module it brings.
# Those left out need nothing but PyTorch and transformers. Source: `trainer_optimizer.py` of
# transformers 5.23 and 5.24.
_BITSANDBYTES = ("bitsandbytes", "bitsandbytes")
_OPTIMIZER_PACKAGES = {
    "adamw_bnb_8bit": _BITSANDBYTES,
    "adamw_8bit": _BITSANDBYTES,
    "ademamix": _BITSANDBYTES,
    "ademamix_8bit": _BITSANDBYTES,
    "lion_8bit": _BITSANDBYTES,
    "lion_32bit": _BITSANDBYTES,
    "paged_adamw_32bit": _BITSANDBYTES,
    "paged_adamw_8bit": _BITSANDBYTES,
    "paged_ademamix_32bit": _BITSANDBYTES,
    "paged_ademamix_8bit": _BITSANDBYTES,
    "paged_lion_32bit": _BITSANDBYTES,
    "paged_lion_8bit": _BITSANDBYTES,
    "rmsprop_bnb": _BITSANDBYTES,
    "rmsprop_bnb_8bit": _BITSANDBYTES,
    "rmsprop_bnb_32bit": _BITSANDBYTES,
    "adamw_torch_4bit": ("torchao", "torchao"),
    "adamw_torch_8bit": ("torchao", "torchao"),
    "adamw_torch_xla": ("torch_xla", "torch_xla"),
    "adamw_torch_npu_fused": ("torch_npu", "torch_npu"),
    "adamw_anyprecision": ("torchdistx", "torchdistx"),
    "galore_adamw": ("galore-torch", "galore_torch"),
    "galore_adamw_8bit": ("galore-torch", "galore_torch"),
    "galore_adafactor": ("galore-torch", "galore_torch"),
    "galore_adamw_layerwise": ("galore-torch", "galore_torch"),
    "galore_adamw_8bit_layerwise": ("galore-torch", "galore_torch"),
    "galore_adafactor_layerwise": ("galore-torch", "galore_torch"),
    "lomo": ("lomo-optim", "lomo_optim"),
    "adalomo": ("lomo-optim", "lomo_optim"),
    "grokadamw": ("grokadamw", "grokadamw"),
    "schedule_free_radam": ("schedulefree", "schedulefree"),
    "schedule_free_adamw": ("schedulefree", "schedulefree"),
    "schedule_free_sgd": ("schedulefree", "schedulefree"),
    "apollo_adamw": ("apollo-torch", "apollo_torch"),
    "apollo_adamw_layerwise": ("apollo-torch", "apollo_torch"),
    "stable_adamw": ("torch-optimi", "optimi"),
}
_ATTENTION_PACKAGES = {
    "flash_attention_2": ("flash-attn", "flash_attn"),
    "flash_attention_3": ("flash-attn-3", "flash_attn_interface"),
}


def check_packages(arguments: TrainingArguments) -> None:
    """Refuse a setting whose package is not installed here.

    Raises:
        InvalidInput: naming the setting and the package.
    """
    needed = {
        "peft": (arguments.peft, ("peft", "peft") if arguments.peft else None),
        "load_in_4bit": (
            arguments.load_in_4bit,
            _BITSANDBYTES if arguments.load_in_4bit else None,
        ),
        "optim": (arguments.optim, _OPTIMIZER_PACKAGES.get(arguments.optim)),
        "attn_implementation": (
            arguments.attn_implementation,
            _ATTENTION_PACKAGES.get(arguments.attn_implementation),
        ),
    }
    for key, (value, package) in needed.items():
        if package is not None and importlib.util.find_spec(package[1]) is None:
            raise InvalidInput(
                f"training_args.{key}: {show(value)} needs the package {package[0]}, which is not "
                f"installed; pip install {package[0]}, or choose another value"
            )
