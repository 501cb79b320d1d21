"""The arguments of a training run, and how they are checked.

The dataclass checks its values whenever an instance is made: from the command line, from a YAML
file, in a container. Nothing heavy is imported, so that a mistake in a file is reported as soon as
the command is typed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from liger_benchmark.catalog import DATASETS, MODELS
from liger_benchmark.choices import (
    ADAPTERS,
    ALL_LINEAR,
    ATTENTION,
    AUTO,
    COMPILE_MODES,
    DATASET_FORMATS,
    DDP,
    DEFAULT_LIGER_KERNELS,
    FSDP2,
    LIGER,
    LIGER_IMPLEMENTATIONS,
    LIGER_KERNELS,
    LONGEST_SLUG,
    LOSSES,
    LR_SCHEDULERS,
    OPTIMIZERS,
    PACKING_STRATEGIES,
    ROW_COLUMNS,
    SHARDINGS,
    STRATEGIES,
    TRACKERS,
    VANILLA,
    WEIGHTS_DTYPES,
)
from liger_benchmark.conflicts import conflict
from liger_benchmark.validation import (
    Check,
    InvalidInput,
    at_least,
    check_field,
    fraction,
    one_of,
    plain_name,
    positive,
    read_fields,
    setting,
)


def _source(builtin_names: Iterable[str]) -> Check:
    builtins = tuple(f"builtin:{name}" for name in builtin_names)

    def check(value: str) -> str | None:
        if not value.strip() or value != value.strip():
            return "must be a Hub id, a folder or builtin:NAME, without blanks around it"
        if not value.isprintable():
            return "must not hold control characters"
        return one_of(builtins)(value) if value.startswith("builtin:") else None

    return check


def _not_blank(value: str) -> str | None:
    blank = not value.strip() or value != value.strip() or not value.isprintable()
    return "must be a name, without blanks around it" if blank else None


def _known_columns(mapping: dict[str, str]) -> str | None:
    for needed, given in mapping.items():
        if needed not in ROW_COLUMNS:
            hint = f"; write {given}: {needed}" if given in ROW_COLUMNS else ""
            return f"maps to {needed}, which no format needs{hint}; one of {', '.join(ROW_COLUMNS)}"
        if not given.strip():
            return f"maps no column to {needed}"
    if len(set(mapping.values())) < len(mapping):
        return "uses a column of the dataset twice"
    return None


def _only_one(value: int) -> str | None:
    return None if value == 1 else "must be 1: every step is measured, so every step is logged"


@dataclass(frozen=True)
class TrainingArguments:
    """The settings of one training run. The defaults are the blog's experiment.

    Lengths are in tokens, batch sizes in sequences, GPU memory in GiB (2**30 bytes).

    Raises:
        InvalidInput: if a value is of the wrong type or out of range.
    """

    model_name: str = setting("microsoft/Phi-3-mini-4k-instruct", _source(MODELS))
    dataset_name: str = setting("tatsu-lab/alpaca", _source(DATASETS))
    dataset_config: str | None = setting(None, _not_blank)
    dataset_split: str = setting("train", _not_blank)
    dataset_format: str = setting("text", one_of((*DATASET_FORMATS, AUTO)))
    # Which column of the dataset stands for which that the format needs: {prompt: question}.
    columns: dict[str, str] = dataclasses.field(
        default_factory=dict, metadata={"check": _known_columns}
    )
    use_liger: bool = setting(False)
    liger_kernels: list[str] = setting(DEFAULT_LIGER_KERNELS, one_of(LIGER_KERNELS))
    torch_compile: bool = setting(False)
    torch_compile_mode: str = setting("default", one_of(COMPILE_MODES))
    loss_type: str = setting("nll", one_of(LOSSES))
    liger_chunk_mem_const: int = setting(1, at_least(1))
    liger_implementation: str = setting("triton", one_of(LIGER_IMPLEMENTATIONS))
    use_hub_kernels: bool = setting(False)
    attn_implementation: str = setting("sdpa", one_of(ATTENTION))
    gradient_checkpointing: bool = setting(False)
    # Adapters to train instead of the weights, which may then be held in 4 bits (QLoRA).
    peft: str | None = setting(None, one_of(ADAPTERS))
    lora_r: int = setting(16, at_least(1))
    lora_alpha: int = setting(32, at_least(1))
    lora_dropout: float = setting(0.0, fraction)
    lora_target_modules: list[str] = setting((ALL_LINEAR,), _not_blank)
    load_in_4bit: bool = setting(False)
    max_seq_length: int = setting(128, at_least(1))
    # Rows of several documents, or batches laid end to end: no padding, see `training.packing`.
    packing: bool = setting(False)
    packing_strategy: str = setting("bfd", one_of(PACKING_STRATEGIES))
    padding_free: bool = setting(False)
    bf16: bool = setting(True)
    fp16: bool = setting(False)
    # Null: that of the arithmetic. fp32 beside bf16 are master weights with autocast.
    weights_dtype: str | None = setting(None, one_of(WEIGHTS_DTYPES))
    autocast: bool = setting(True)
    max_steps: int = setting(40, at_least(1))
    num_train_epochs: float = setting(1.0, positive)
    optim: str = setting("sgd", one_of(OPTIMIZERS))
    per_device_train_batch_size: int = setting(16, at_least(1))
    per_device_eval_batch_size: int = setting(16, at_least(1))
    gradient_accumulation_steps: int = setting(1, at_least(1))
    eval_strategy: str = setting("no", one_of(STRATEGIES))
    save_strategy: str = setting("no", one_of(STRATEGIES))
    learning_rate: float = setting(6e-4, positive)
    weight_decay: float = setting(0.05, at_least(0))
    # 0: the gradients are not clipped.
    max_grad_norm: float = setting(1.0, at_least(0))
    warmup_ratio: float = setting(0.1, fraction)
    lr_scheduler_type: str = setting("cosine", one_of(LR_SCHEDULERS))
    logging_steps: int = setting(1, _only_one)
    include_num_input_tokens_seen: bool = setting(True)
    report_to: str = setting("none", one_of(TRACKERS))
    seed: int = setting(42, at_least(0))
    n_warmup_steps: int = setting(2, at_least(0))
    # GPUs of one host that train one condition together; batch sizes are for each of them.
    n_gpus: int = setting(1, at_least(1))
    sharding: str = setting(DDP, one_of(SHARDINGS))
    # FSDP2 gives up the gathered weights of a layer after its forward pass.
    reshard_after_forward: bool = setting(True)
    # Conditions that a local grid runs at the same time, each on GPUs of its own.
    parallel_conditions: int = setting(1, at_least(1))
    gpu_memory_limit_gib: float | None = setting(None, positive)
    require_idle_gpu: bool = setting(False)
    # Which of `environments` a run takes its libraries from; this one by default.
    environment: str = setting("", plain_name)
    # The name of each environment, and its requirements file or interpreter.
    environments: dict[str, str] = dataclasses.field(default_factory=dict)
    run: int = setting(1, at_least(1))
    # What the grid calls the arm that the run belongs to; see `arm`.
    arm_name: str = setting("", plain_name)

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            check_field(type(self), "training_args", f.name, getattr(self, f.name))
        if self.n_warmup_steps >= self.max_steps:
            raise InvalidInput(
                f"n_warmup_steps: {self.n_warmup_steps} leaves no step to measure; "
                f"it must be less than max_steps, {self.max_steps}",
                "training_args",
            )
        problem = conflict(self)
        if problem:
            raise InvalidInput(problem, "training_args")

    @classmethod
    def from_mapping(cls, mapping: Any) -> TrainingArguments:
        """Read a mapping as it comes out of YAML or JSON.

        Raises:
            InvalidInput: if a key is unknown or a value does not fit.
        """
        return cls(**read_fields(cls, "training_args", mapping))

    @classmethod
    def from_json(cls, text: str, **_: Any) -> TrainingArguments:
        """Read JSON as strictly as `from_mapping`; flytekit's command line calls this method."""
        return cls.from_mapping(json.loads(text))

    @property
    def arm(self) -> str:
        """The name of the condition's arm, the label of its bars, curves and rows."""
        return self.arm_name or (LIGER if self.use_liger else VANILLA)

    @property
    def has_bf16_weights(self) -> bool:
        """Whether the weights that are loaded are bf16 rather than fp32."""
        return self.bf16 and self.weights_dtype != "fp32"

    @property
    def is_rounded(self) -> bool:
        """Whether the arithmetic is in 16 bits, bf16 or fp16."""
        return self.bf16 or self.fp16

    @property
    def uses_autocast(self) -> bool:
        """Whether autocast is on. FSDP2 does without, see `sharding.trainer_settings`."""
        return self.autocast and self.is_rounded and self.sharding != FSDP2

    @property
    def precision(self) -> str:
        """`bf16`, `fp32`, or `bf16 on fp32 weights`: the arithmetic, and the weights if other."""
        if not self.is_rounded:
            return "fp32"
        arithmetic = "bf16" if self.bf16 else "fp16"
        return arithmetic if self.has_bf16_weights else f"{arithmetic} on fp32 weights"

    @property
    def short_model_name(self) -> str:
        """`phi3-mini` for `builtin:phi3-mini`, the last part of a Hub id or of a folder."""
        return re.split(r"[:/]", self.model_name.rstrip("/"))[-1][:60]

    @property
    def in_group(self) -> bool:
        """Whether the condition is run by a process group, which has a rank for each GPU."""
        return self.n_gpus > 1 or self.sharding != DDP

    @property
    def condition(self) -> str:
        """The condition's name for people: `Phi-3-mini-4k-instruct bs=40 liger run=2`."""
        return (
            f"{self.short_model_name} bs={self.per_device_train_batch_size} "
            f"{self.arm.lower()} run={self.run}"
        )

    @property
    def slug(self) -> str:
        """The condition's name as a folder: letters, digits, dots and dashes, nothing else.

        At most `LONGEST_SLUG` characters; a longer name is cut and ends in a digest of the whole.
        """
        slug = _slug(self.condition)
        if len(slug) <= LONGEST_SLUG:
            return slug
        digest = hashlib.sha256(self.condition.encode()).hexdigest()[:8]
        return f"{slug[: LONGEST_SLUG - 9]}-{digest}"

    @property
    def model_slug(self) -> str:
        """The model's short name as a part of a folder's name; `model` if no letter is left."""
        return _slug(self.short_model_name) or "model"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower()
