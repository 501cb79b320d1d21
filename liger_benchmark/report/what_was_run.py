"""What was run, in one line: what stands under the headline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liger_benchmark.analysis.arms import value_on
from liger_benchmark.analysis.result_folders import COMPARED_PACKAGES
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import AUTO, DEFAULT_LIGER_KERNELS
from liger_benchmark.wording import count_of_parameters, number, plural

# Settings that are told where all arms have them and the blog's do not.
_SWITCHES = (
    *("torch_compile", "gradient_checkpointing", "use_hub_kernels"),
    *("packing", "padding_free", "load_in_4bit"),
)
_CHOICES = ("loss_type", "attn_implementation", "dataset_format", "peft", "sharding")


def what_was_run(analysis: Analysis) -> str:
    """Model, rows, steps, arithmetic, GPU with its memory cap, versions and date."""
    args = analysis.runs[0].training_args
    weights, environment = _first(analysis, "weights"), _first(analysis, "environment")
    packages, size = environment.get("packages", {}), weights.get("n_parameters")
    origin = {
        "random": "random weights",
        "hub": "weights from the Hub",
        "folder": "weights from a folder",
    }.get(weights.get("origin", ""), "")
    started = min(
        (r.record["started_at"] for r in analysis.runs if "started_at" in r.record), default=""
    )

    def each(show: Callable[[TrainingArguments], str]) -> str:
        """What `show` says of the runs' arguments: once, or all that an axis makes of it."""
        return " or ".join(dict.fromkeys(show(run.training_args) for run in analysis.runs))

    texts = [
        args.model_name + (f" ({count_of_parameters(size)} parameters)" if size else ""),
        origin,
        f"up to {each(lambda a: number(a.max_seq_length))} tokens a sequence",
        f"{each(lambda a: str(a.max_steps))} steps, "
        f"{each(lambda a: str(a.n_warmup_steps))} of them warm-up",
        each(lambda a: a.precision),
        each(lambda a: a.optim),
        *_in_all_arms(analysis),
        plural(max(run.training_args.run for run in analysis.runs), "repeat"),
        analysis.hardware.name + _memory_cap(analysis, each),
        *(f"{name} {packages[name]}" for name in COMPARED_PACKAGES if name in packages),
        started[:10],
    ]
    return " · ".join(text for text in texts if text)


def _memory_cap(
    analysis: Analysis, each: Callable[[Callable[[TrainingArguments], str]], str]
) -> str:
    """`, memory capped at 39 of its 79 GiB`; empty without a cap."""

    def of_run(args: TrainingArguments) -> str:
        limit = args.gpu_memory_limit_gib
        return "not" if limit is None else f"at {limit:g}"

    cap = each(of_run)
    if cap == "not":
        return ""
    whole = (_first(analysis, "environment").get("gpu") or {}).get("memory_GiB")
    return f", memory capped {cap}{f' of its {number(whole)}' if whole else ''} GiB"


def _in_all_arms(analysis: Analysis) -> list[str]:
    """What all arms have in common and the blog's do not: an axis' values are in their names."""

    def common(axis: str) -> Any:
        values = [value_on(axis, run.training_args) for run in analysis.runs]
        there = [value for value in values if value is not None]
        return there[0] if there and len(set(there)) == 1 else None

    plain, found = TrainingArguments(), []
    kernels = common("liger_kernels")
    if kernels is not None and kernels != tuple(sorted(DEFAULT_LIGER_KERNELS)):
        found.append(f"of Liger only {', '.join(kernels)}")
    for axis in _SWITCHES:
        if common(axis):
            found.append(axis)
    if common("autocast") is False:
        found.append("no autocast")
    if common("max_grad_norm") == 0:
        found.append("no gradient clipping")
    for axis in _CHOICES:
        if common(axis) not in (None, AUTO, getattr(plain, axis)):
            found.append(str(common(axis)))
    micro_batches = common("gradient_accumulation_steps")
    if micro_batches is not None and micro_batches > 1:
        found.append(f"{micro_batches} micro-batches a step")
    return found


def _first(analysis: Analysis, part: str) -> dict[str, Any]:
    """The part of the first record that has it."""
    return next((run.record[part] for run in analysis.runs if run.record.get(part)), {})
