"""What a reader should turn on in their own training: the winning arm's settings as code.

An arm wins only if its speed-up is certain: its 95% interval lies above zero at the batch size
that the headline is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from liger_benchmark.analysis.arms import arguments_by_arm, settings_of
from liger_benchmark.analysis.headline import headline_rows
from liger_benchmark.analysis.ladder import in_a_sentence
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import (
    BATCH_SIZE,
    DEFAULT_LIGER_KERNELS,
    LIGER_KERNELS,
    LOSS_KERNELS,
)
from liger_benchmark.wording import decimals_for, known, number, percent_range

# Settings of an arm that are arguments of transformers' TrainingArguments, by our name.
_ARGUMENTS = {
    "use_liger": "use_liger_kernel",
    "torch_compile": "torch_compile",
    "gradient_checkpointing": "gradient_checkpointing",
    "optim": "optim",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "bf16": "bf16",
    "fp16": "fp16",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "warmup_ratio": "warmup_ratio",
    "max_grad_norm": "max_grad_norm",
    "torch_compile_mode": "torch_compile_mode",
    "lr_scheduler_type": "lr_scheduler_type",
}
# Those that only TRL's SFTConfig has.
_SFT_ARGUMENTS = {"chunked_nll": "loss_type", "max_seq_length": "max_length"}


# Heads that no setting turns on: what computes the loss from the last hidden states.
_CALLS = {
    "cce": (
        "# cut-cross-entropy\nlinear_cross_entropy(hidden_states, model.lm_head.weight, labels, "
        "shift=True)"
    ),
    "torch": (
        "# PyTorch 2.13 or later\ntorch.nn.functional.linear_cross_entropy(hidden_states, "
        "model.lm_head.weight, labels, options=torch.nn.LinearCrossEntropyOptions())"
    ),
}
_HEAD_NOTE = "No setting of TRL or transformers turns this head on: call it in a loss of your own."


@dataclass(frozen=True)
class Recommendation:
    """What to turn on.

    Attributes:
        text: the advice and what it rests on, a sentence or two.
        code: lines of Python for TRL and transformers; empty where nothing is to be changed.
        note: a limit of the advice; often empty.
    """

    text: str
    code: tuple[str, ...] = ()
    note: str = ""


def recommendation(analysis: Analysis) -> Recommendation | None:
    """The advice that a grid supports; None where it compares nothing or was a trial."""
    rows = headline_rows(analysis)
    if analysis.hardware.trial or rows.empty:
        return None
    baseline, size = analysis.baseline, rows[BATCH_SIZE].iloc[0]
    if rows["speedup_low"].isna().all():
        return Recommendation(
            "Nothing is certain yet: each condition ran once. Run it with n_runs: 2 or more before "
            "you change anything."
        )
    faster = rows[rows["speedup_low"] > 0]
    if not faster.empty:
        best = faster.loc[faster["speedup_percent"].idxmax()]
        text = (
            f"Use {in_a_sentence(best['arm'])}: at batch size {size} it is "
            f"{_percent(best['speedup_percent'])} faster than {baseline} "
            f"(95% interval {_interval(best, 'speedup')}){_memory(best)}."
        )
        return _with_code(analysis, best["arm"], text)
    leaner = rows[rows["memory_saving_low"] > 0]
    if leaner.empty:
        return Recommendation(
            f"Keep what you have: at batch size {size} nothing is faster than {baseline} for "
            "certain, and nothing saves memory for certain."
        )
    best = leaner.loc[leaner["memory_saving_percent"].idxmax()]
    text = (
        f"Keep what you have, unless you are short of memory: nothing is faster than {baseline} "
        f"for certain at batch size {size}. {in_a_sentence(best['arm'])} needs "
        f"{_percent(best['memory_saving_percent'])} less peak memory, at {_speed(best)}."
    )
    return _with_code(analysis, best["arm"], text)


def _with_code(analysis: Analysis, arm: str, text: str) -> Recommendation:
    arguments = arguments_by_arm(analysis.runs)
    changed = _changed(arguments[arm], arguments[analysis.baseline])
    common = _keywords(changed, _ARGUMENTS)
    if (config := changed.get("liger_kernels")) is not None:
        kernels = {name: name in config for name in LIGER_KERNELS}
        common.append(f"liger_kernel_config={kernels!r}")
    if changed.get("loss_type") == "chunked_nll":
        changed["chunked_nll"] = "chunked_nll"
    of_sft = _keywords(changed, _SFT_ARGUMENTS)
    head = arguments[arm].loss_type
    code = []
    if common or of_sft or head == "trl":
        settings = ", ".join(["...", *common, *of_sft])
        code.append(f"# {_trls(arguments[arm])}\nSFTConfig({settings})")
    if head in _CALLS:
        code.append(_CALLS[head])
    elif common and not of_sft and head != "trl":
        code.append(f"# transformers\nTrainingArguments(..., {', '.join(common)})")
    if "attn_implementation" in changed:
        argument = f'attn_implementation="{changed["attn_implementation"]}"'
        code.append(f"# transformers\nAutoModelForCausalLM.from_pretrained(..., {argument})")
    return Recommendation(text, tuple(code), _note(arguments[arm], changed))


def _changed(args: TrainingArguments, baseline: TrainingArguments) -> dict[str, Any]:
    """The arm's settings that differ from the baseline's, without Liger's default kernels."""
    before = settings_of(baseline)
    changed = {k: v for k, v in settings_of(args).items() if v != before[k]}
    if changed.get("liger_kernels") in (None, tuple(sorted(DEFAULT_LIGER_KERNELS))):
        changed.pop("liger_kernels", None)
    if changed.get("torch_compile_mode") in (None, "default"):
        changed.pop("torch_compile_mode", None)
    return changed


def _keywords(changed: dict[str, Any], names: dict[str, str]) -> list[str]:
    return [
        f'{names[key]}="{value}"' if isinstance(value, str) else f"{names[key]}={value!r}"
        for key, value in changed.items()
        if key in names
    ]


def _trls(args: TrainingArguments) -> str:
    """TRL, and the versions in which the arm's settings do what was measured."""
    if args.loss_type == "trl":
        return "TRL 1.15 or later"
    loss_of_liger = args.use_liger and any(kernel in LOSS_KERNELS for kernel in args.liger_kernels)
    return "TRL up to 1.14" if loss_of_liger or args.loss_type == "chunked_nll" else "TRL"


def _trl_note(args: TrainingArguments) -> str:
    """What SFTTrainer does by itself, and what it says of Liger."""
    text = "SFTTrainer puts its own fused head in place by itself, whatever is set."
    if args.use_liger:
        text += (
            " It then leaves out Liger's loss, and deprecates use_liger_kernel (removed in TRL 2.0)"
            ": loading the model with AutoLigerKernelForCausalLM gives the same layers."
        )
    return text


def _note(args: TrainingArguments, changed: dict[str, Any]) -> str:
    if args.loss_type in _CALLS:
        return _HEAD_NOTE
    if args.loss_type == "trl":
        return _trl_note(args)
    if changed.get("use_liger") or "loss_type" in changed:
        return (
            "From TRL 1.15 on SFTTrainer always computes the loss with a fused LM head of its own "
            "instead; transformers' Trainer does what is set."
        )
    return ""


def _memory(row: pd.Series) -> str:
    low, high = row["memory_saving_low"], row["memory_saving_high"]
    if not known(low) or low <= 0 <= high:
        return ""
    value = row["memory_saving_percent"]
    return f" and needs {_percent(value)} {'less' if value > 0 else 'more'} peak memory"


def _speed(row: pd.Series) -> str:
    """`89% of the speed`, or that the two cannot be told apart."""
    if not known(row["speedup_high"]) or row["speedup_high"] >= 0:
        return "about the same speed"
    return f"{number(100 + row['speedup_percent'])}% of the speed"


def _interval(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return percent_range(low, high, decimals_for(low, high))


def _percent(value: float) -> str:
    return f"{number(abs(value), 0 if abs(value) >= 10 else 1)}%"
