"""The values that settings may have, under the names that the libraries give them."""

from __future__ import annotations

# The names transformers gives them; a test holds both tuples against the installed library. Some
# optimisers need a package that requirements.txt does not have: see `training.optional_packages`.
OPTIMIZERS = (
    *("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"),
    *("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit"),
    *("lion_8bit", "lion_32bit", "paged_lion_8bit", "paged_lion_32bit"),
    *("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
    *("rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
    *("adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_xla", "adamw_torch_npu_fused"),
    *("adamw_anyprecision", "grokadamw", "stable_adamw", "lomo", "adalomo"),
    *("galore_adamw", "galore_adamw_8bit", "galore_adafactor", "galore_adamw_layerwise"),
    *("galore_adamw_8bit_layerwise", "galore_adafactor_layerwise"),
    *("apollo_adamw", "apollo_adamw_layerwise"),
    *("schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"),
)
LR_SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
# Characters. A folder's name has 255 at most; `store` and `files` append a key and a suffix.
LONGEST_SLUG = 160
STRATEGIES = ("no", "steps", "epoch")
TRACKERS = ("none", "wandb")
# What turns the last hidden states into a loss; see `training.heads`.
LOSSES = ("nll", "chunked_nll", "trl", "cce", "torch")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
LIGER_IMPLEMENTATIONS = ("triton", "cutedsl")
# How several GPUs share the work: each has the whole model, or a part of it (FSDP2 is torch's
# fully_shard, ZeRO-3 is DeepSpeed's).
DDP, FSDP2, ZERO3 = SHARDINGS = ("ddp", "fsdp2", "zero3")
# Flash attention needs a package of its own: see `training.optional_packages`.
ATTENTION = ("sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3")
DATASET_FORMATS = ("text", "prompt_completion", "messages")
# The format is found by the rows' columns.
AUTO = "auto"
# The columns that a format reads, see `training.row_formats`.
ROW_COLUMNS = (
    *("text", "prompt", "completion", "messages", "conversations"),
    *("instruction", "input", "output", "system", "tools"),
)
# Liger's own names. The first four are what Liger turns on by itself.
LOSS_KERNELS = ("fused_linear_cross_entropy", "cross_entropy")
LIGER_KERNELS = ("rope", "rms_norm", "swiglu", *LOSS_KERNELS)
DEFAULT_LIGER_KERNELS = LIGER_KERNELS[:4]
# Settings without effect unless another one is on.
EFFECTIVE_WITH = {
    "liger_kernels": "use_liger",
    "liger_chunk_mem_const": "use_liger",
    "liger_implementation": "use_liger",
    "torch_compile_mode": "torch_compile",
    "autocast": "bf16",
    "packing_strategy": "packing",
    **dict.fromkeys(("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"), "peft"),
}
# The two arms that the blog compares, and the field that results are plotted against.
LIGER, VANILLA = "Liger", "vanilla"
ADAPTERS = ("lora",)
WEIGHTS_DTYPES = ("bf16", "fp32")
# TRL's third, "wrapped", cuts documents anywhere and lets them see each other.
PACKING_STRATEGIES = ("bfd", "bfd_split")
# peft's word for every linear layer but the head.
ALL_LINEAR = "all-linear"
BATCH_SIZE = "per_device_train_batch_size"
