"""An arm's settings as lines of Python for TRL, transformers and peft, beside those of another arm.

The arguments are those that a run gives to `trl.SFTConfig`, so that they are names of the pinned
libraries and have the values that were measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liger_benchmark.analysis.arms import comparable, means_nothing, settings_of
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import ALL_LINEAR, BATCH_SIZE, LIGER_KERNELS, LOSS_KERNELS
from liger_benchmark.training.adapters import DOUBLE_QUANTISATION, QUANT_TYPE
from liger_benchmark.training.trainer import sft_config
from liger_benchmark.validation import show
from liger_benchmark.wording import enumerate_words

# Arguments that the benchmark needs for itself, and the loss, which is told by the arm's head.
_NOT_SHOWN = frozenset({"pad_to_multiple_of", "use_cpu", "loss_type", BATCH_SIZE})
# Those that only TRL's SFTConfig has.
_OF_TRL = frozenset({"max_length", "packing", "packing_strategy", "padding_free", "loss_type"})
_LORA = ("peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules")
# Settings that no line below sets. All others are arguments of SFTConfig, of `from_pretrained` or
# of LoraConfig, or a head.
_WITHOUT_CODE = frozenset(
    {
        *("liger_chunk_mem_const", "liger_implementation", "dataset_format", "n_warmup_steps"),
        *("include_num_input_tokens_seen", "n_gpus", "gpu_memory_limit_gib", "environment"),
    }
)
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


def lines_of_code(args: TrainingArguments, baseline: TrainingArguments) -> tuple[str, ...]:
    """The lines that turn the baseline's settings into the arm's, a text for each library."""
    arguments = _arguments(args, baseline)
    common = {k: v for k, v in arguments.items() if k not in _OF_TRL}
    head = args.loss_type
    code = []
    if arguments or head == "trl":
        code.append(f"# {_trls(args)}\nSFTConfig({', '.join(['...', *_keywords(arguments)])})")
    if head in _CALLS:
        code.append(_CALLS[head])
    elif common and common == arguments and head != "trl":
        code.append(f"# transformers\nTrainingArguments({', '.join(['...', *_keywords(common)])})")
    if of_model := _of_model(args, baseline):
        keywords = ", ".join(["...", *of_model])
        code.append(f"# transformers\nAutoModelForCausalLM.from_pretrained({keywords})")
    if args.peft and any(name in changed_settings(args, baseline) for name in _LORA):
        code.append(f"# peft\nget_peft_model(model, LoraConfig({', '.join(_of_adapters(args))}))")
    return tuple(code)


def limits_of_code(args: TrainingArguments, baseline: TrainingArguments) -> str:
    """What the lines cannot say, a sentence or two; often empty."""
    changed = changed_settings(args, baseline)
    sentences = []
    if args.loss_type in _CALLS:
        sentences.append(_HEAD_NOTE)
    elif args.loss_type == "trl":
        sentences.append(_trl_note(args))
    elif changed.get("use_liger") or "loss_type" in changed:
        sentences.append(
            "From TRL 1.15 on SFTTrainer always computes the loss with a fused LM head of its own "
            "instead; transformers' Trainer does what is set."
        )
    if missing := [f"{k}: {show(v)}" for k, v in changed.items() if k in _WITHOUT_CODE]:
        sentences.append(f"The code leaves out {enumerate_words(missing)}.")
    gone = [key for key in _given(baseline) if key not in _given(args) and key not in _NOT_SHOWN]
    gone += ["the adapters"] if baseline.peft and not args.peft else []
    if gone:
        sentences.append(f"It is without {enumerate_words(gone)}.")
    return " ".join(sentences)


def changed_settings(args: TrainingArguments, baseline: TrainingArguments) -> dict[str, Any]:
    """The arm's settings that differ from the baseline's and have an effect.

    A setting that has no effect in the baseline, such as Liger's kernels without Liger, is compared
    with its default.
    """
    default, before = TrainingArguments(), settings_of(baseline)
    for name in before:
        if means_nothing(name, baseline):
            before[name] = comparable(getattr(default, name))
    return {
        name: value
        for name, value in settings_of(args).items()
        if value != before[name] and not means_nothing(name, args)
    }


def _given(args: TrainingArguments) -> dict[str, Any]:
    """What a run of the arm gives to SFTConfig."""
    given = sft_config(args, Path("output"))
    if "fsdp_config" in given:
        # How the benchmark fills the weights of a model that has none yet.
        options = given["fsdp_config"]
        given["fsdp_config"] = {
            k: v for k, v in options.items() if k != "cpu_ram_efficient_loading"
        }
    return given


def _arguments(args: TrainingArguments, baseline: TrainingArguments) -> dict[str, Any]:
    """The arguments of SFTConfig that differ from the baseline's, with Liger's and the loss."""
    changed, before = changed_settings(args, baseline), _given(baseline)
    found: dict[str, Any] = {}
    if "use_liger" in changed:
        found["use_liger_kernel"] = args.use_liger
    for name, value in _given(args).items():
        if name not in _NOT_SHOWN and (name not in before or value != before[name]):
            found[name] = value
    if "liger_kernels" in changed:
        found["liger_kernel_config"] = {name: name in args.liger_kernels for name in LIGER_KERNELS}
    if changed.get("loss_type") == "chunked_nll":
        found["loss_type"] = "chunked_nll"
    return found


def _of_model(args: TrainingArguments, baseline: TrainingArguments) -> list[str]:
    """The arguments of `from_pretrained` that differ from the baseline's."""
    changed = changed_settings(args, baseline)
    found = []
    if "attn_implementation" in changed:
        found.append(f'attn_implementation="{args.attn_implementation}"')
    if args.has_bf16_weights != baseline.has_bf16_weights:
        found.append(f"dtype=torch.{'bfloat16' if args.has_bf16_weights else 'float32'}")
    if "load_in_4bit" in changed:
        config = (
            f'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="{QUANT_TYPE}", '
            f"bnb_4bit_use_double_quant={DOUBLE_QUANTISATION}, "
            f"bnb_4bit_compute_dtype=torch.{'bfloat16' if args.has_bf16_weights else 'float32'})"
        )
        found.append(f"quantization_config={config if args.load_in_4bit else None}")
    if "use_hub_kernels" in changed:
        found.append(f"use_kernels={args.use_hub_kernels}")
    return found


def _of_adapters(args: TrainingArguments) -> list[str]:
    targets = args.lora_target_modules
    return _keywords(
        {
            "r": args.lora_r,
            "lora_alpha": args.lora_alpha,
            "lora_dropout": args.lora_dropout,
            "target_modules": ALL_LINEAR if targets == [ALL_LINEAR] else targets,
            "task_type": "CAUSAL_LM",
        }
    )


def _keywords(arguments: dict[str, Any]) -> list[str]:
    return [
        f'{name}="{value}"' if isinstance(value, str) else f"{name}={value!r}"
        for name, value in arguments.items()
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
