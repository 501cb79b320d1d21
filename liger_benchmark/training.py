"""One condition of the grid, from its arguments to its record.

`run_condition` is what a workflow or a script calls: it starts a fresh process, passes the child's
log lines on, and returns a `Run`. `train` is what happens inside that process.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from liger_benchmark import compilation, environment, liger_on_cpu
from liger_benchmark.arguments import InvalidInput, TrainingArguments
from liger_benchmark.dataset import PAD_TO_MULTIPLE_OF, checksum, load_tokenizer, prepare_datasets
from liger_benchmark.efficiency import CpuDevice, CudaDevice, EfficiencyCallback
from liger_benchmark.isolation import ChildFailed, run_isolated
from liger_benchmark.model import (
    active_liger_parts,
    check_liger,
    describe_weights,
    load_model,
    loss_in_use,
)
from liger_benchmark.runs import COMPLETED, OUT_OF_MEMORY, Run
from liger_benchmark.sources import provenance
from liger_benchmark.store import code_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Send = Callable[[dict[str, Any]], None]
IDENTITY = ("use_liger", "per_device_train_batch_size", "run")


def run_condition(
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
    *,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Run:
    """Train one condition in a process of its own and return what was measured.

    Args:
        on_row: called in this process with each step's row, as soon as the step is done.

    Raises:
        ChildFailed: if the run failed for any other reason than the GPU's memory.
    """
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        on_row(row)

    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        record, process_seconds = run_isolated(
            train,
            arguments,
            Path(dataset_folder),
            Path(model_folder),
            Path(output_folder),
            on_message=keep,
        )
    except ChildFailed as error:
        error.rows = rows
        raise
    outcome = OUT_OF_MEMORY if "out_of_memory" in record else COMPLETED
    phases = {
        "process": process_seconds["process"],
        **record.pop("phases"),
        "teardown": process_seconds["teardown"],
    }
    record = {"started_at": started_at, **record, "phases": phases}
    return Run(arguments, outcome, pd.DataFrame(rows), record)


@dataclass
class Phases:
    """How long each phase of a run took, in seconds, in the order in which they began."""

    seconds: dict[str, float] = field(default_factory=dict)
    current: str = ""

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.current = name
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began


def train(
    send: Send,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Train one condition in this process, which must be fresh, and return its record.

    Every step's row is passed to `send`. Memory that the GPU refuses ends the run and is part of
    the record, under `out_of_memory`; anything else that goes wrong is raised. `callbacks` are
    called by the trainer besides the one that measures.
    """
    phases = Phases()
    record: dict[str, Any] = {}
    with phases("imports"):
        on_gpu = _set_up_device(arguments, record)
    callback = EfficiencyCallback(
        arguments.n_warmup_steps,
        CudaDevice() if on_gpu else CpuDevice(),
        counts_tokens_seen=arguments.include_num_input_tokens_seen,
        on_row=lambda row: send({k: getattr(arguments, k) for k in IDENTITY} | row),
    )
    try:
        with phases("data"):
            tokenizer = load_tokenizer(model_folder)
            train_rows, eval_rows = prepare_datasets(dataset_folder, tokenizer, arguments)
            record["dataset"] = {
                **provenance(dataset_folder, arguments.dataset_name),
                "rows": len(train_rows),
                "checksum": checksum(train_rows),
            }
        with phases("model"):
            if arguments.torch_compile:
                compilation.prepare(arguments.use_liger)
            model = load_model(
                model_folder,
                use_liger=arguments.use_liger,
                bf16=arguments.bf16,
                seed=arguments.seed,
                device="cuda" if on_gpu else "cpu",
                liger_kernels=arguments.liger_kernels,
                attn_implementation=arguments.attn_implementation,
            )
            parts = active_liger_parts(model)
            check_liger(
                parts,
                arguments.liger_kernels if arguments.use_liger else (),
                model.config.model_type,
            )
            _check_vocabulary(model, tokenizer)
            record["liger"] = {**parts["active"], "parts": parts["present"]}
            record["weights"] = describe_weights(model, model_folder, arguments.model_name)
        with phases("trainer"):
            trainer = build_trainer(
                arguments, model, tokenizer, train_rows, eval_rows, output_folder, callback
            )
            record["loss"] = loss_in_use(model)
            if record["loss"] != arguments.loss_type:
                raise RuntimeError(
                    f"loss_type: {arguments.loss_type} was asked for, and the live model computes "
                    f"{record['loss']}"
                )
            for other in callbacks:
                trainer.add_callback(other)
        with phases("training"):
            trainer.train()
            padding = trainer.padding_tokens / max(trainer.counted_tokens, 1)
            record["dataset"]["padding_fraction"] = round(padding, 4)
        with phases("save"):
            trainer.save_state()
            if arguments.save_strategy != "no":
                trainer.save_model()
    except Exception as error:
        refused = _refused_memory(error)
        if refused is None:
            raise
        stage = callback.stage if phases.current == "training" else phases.current
        # Steps are counted from 1; memory that is refused before the first belongs to none.
        step = callback.steps_this_session + 1 if phases.current == "training" else 0
        record["out_of_memory"] = {"phase": stage, "step": step, **refused}
    if on_gpu:
        record["environment"]["gpu"]["clocks_end"] = environment.clocks()
        record["memory"] = {"allocator_retries": _allocator_retries()}
    in_training = phases.seconds.pop("training", 0.0)
    phases.seconds |= {
        "warmup_steps": callback.warmup_seconds,
        "steps": callback.seconds,
        "between_steps": max(in_training - callback.warmup_seconds - callback.seconds, 0.0),
    }
    record["phases"] = phases.seconds
    return record


def build_trainer(
    arguments: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: Any,
    output_folder: Path,
    callback: EfficiencyCallback,
) -> Any:
    """trl's SFTTrainer with `callback` in it, and with nothing that one arm alone would pay for.

    trl computes entropy and accuracy from the vanilla arm's logits in every step, a tenth of its
    speed, and asks Liger for something else instead. Both arms take the plain loss of
    `transformers.Trainer`, as the blog's did.
    """
    import transformers
    import trl

    class BenchmarkTrainer(trl.SFTTrainer):
        counted_tokens = 0
        padding_tokens = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            callback.count_tokens(inputs["input_ids"].numel())
            return super().training_step(model, inputs, *args, **kwargs)

        def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
            batches, n_items = super().get_batch_samples(*args, **kwargs)
            for batch in batches:  # still on the CPU, and outside the timed step
                self.counted_tokens += batch["attention_mask"].numel()
                self.padding_tokens += int((batch["attention_mask"] == 0).sum())
            return batches, n_items

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            inputs.pop("_prediction_loss_only", None)  # SFTTrainer's note to its own compute_loss
            return transformers.Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    class Callback(EfficiencyCallback, transformers.TrainerCallback):
        pass

    callback.__class__ = Callback
    trainer = BenchmarkTrainer(
        model=model,
        args=trl.SFTConfig(**sft_config(arguments, output_folder)),
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        callbacks=[cast(transformers.TrainerCallback, callback)],
    )
    # Their lines would go to the standard output of every condition.
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def sft_config(arguments: TrainingArguments, output_folder: Path) -> dict[str, Any]:
    """The blog's settings as today's trl and transformers spell them: the one place for that."""
    return {
        "output_dir": str(output_folder),
        "max_length": arguments.max_seq_length,
        "pad_to_multiple_of": PAD_TO_MULTIPLE_OF,
        "bf16": arguments.bf16,
        "torch_compile": arguments.torch_compile,
        "max_steps": arguments.max_steps,
        "num_train_epochs": arguments.num_train_epochs,
        "optim": arguments.optim,
        "per_device_train_batch_size": arguments.per_device_train_batch_size,
        "per_device_eval_batch_size": arguments.per_device_eval_batch_size,
        "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
        "eval_strategy": arguments.eval_strategy,
        "save_strategy": arguments.save_strategy,
        "learning_rate": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        # transformers 5 has no warmup_ratio: warmup_steps below 1 is the ratio.
        "warmup_steps": arguments.warmup_ratio,
        "lr_scheduler_type": arguments.lr_scheduler_type,
        "logging_strategy": "steps",
        "logging_steps": arguments.logging_steps,
        # transformers' own count makes the CPU wait for the GPU in the middle of every step, so the
        # callback counts instead.
        "include_num_input_tokens_seen": "no",
        "seed": arguments.seed,
        # W&B is the workflow's: the parent logs what the child sends.
        "report_to": "none",
        # Each of these differs from the blog's trl by today's default.
        "loss_type": arguments.loss_type,
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "packing": False,
        # The rows come with their labels: trl would go through them three times more.
        "dataset_kwargs": {"skip_prepare_dataset": True},
        # The model is patched before the trainer sees it, so that the data path is one for both.
        "use_liger_kernel": False,
        # The filter would replace a loss that is not a number by an average, in silence.
        "logging_nan_inf_filter": False,
        "prediction_loss_only": True,
        "disable_tqdm": True,
        "use_cpu": environment.visible_gpu() is None,
    }


def _set_up_device(arguments: TrainingArguments, record: dict[str, Any]) -> bool:
    """Import torch, look at the GPU, cap its memory; returns whether there is a GPU."""
    others = environment.other_processes()
    if arguments.require_idle_gpu:
        environment.check_idle(others)
    gpu = environment.gpu()
    record["environment"] = {"code": code_digest(), **environment.software(), "gpu": gpu}
    if gpu is None:
        liger_on_cpu.check_without_gpu(arguments)
        liger_on_cpu.enable()
    _quieten_libraries()
    import torch

    record["environment"]["triton_interpreter"] = gpu is None
    if gpu is None:
        return False
    gpu |= {"other_processes": others, "clocks_start": environment.clocks()}
    if arguments.gpu_memory_limit_gib is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        share = arguments.gpu_memory_limit_gib * environment.GIB / total
        if share > 1:
            raise InvalidInput(
                f"training_args.gpu_memory_limit_gib: {arguments.gpu_memory_limit_gib} is more "
                f"than this GPU has, {total / environment.GIB:.1f} GiB"
            )
        torch.cuda.set_per_process_memory_fraction(share)
    return True


def _quieten_libraries() -> None:
    """Silence what says nothing about a run and would be said once a condition."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    # Liger names its optional backends that are not installed.
    logging.getLogger("liger_kernel").setLevel(logging.ERROR)
    # trl and transformers disagree on what the option is called; both names mean the same.
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)


def _check_vocabulary(model: PreTrainedModel, tokenizer: Any) -> None:
    embeddings = cast(Any, model.get_input_embeddings()).num_embeddings
    if len(tokenizer) > embeddings:
        raise InvalidInput(
            f"training_args.model_name: the tokenizer knows {len(tokenizer)} tokens and the model "
            f"embeds {embeddings}; take both from the same model"
        )


# How CUDA, its libraries and Triton say that memory was refused, besides PyTorch's own exception.
_OUT_OF_MEMORY = re.compile(
    r"CUDA\]?( driver)?( error)?:? out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED", re.I
)
_TRIED = re.compile(r"Tried to allocate ([\d.]+) (GiB|MiB|KiB|bytes)")
_IN_MIB = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "bytes": 1 / 2**20}


def _allocator_retries() -> int:
    """How often the allocator had to give back what it cached before a request could be met."""
    import torch

    return int(torch.cuda.memory_stats().get("num_alloc_retries", 0))


def _refused_memory(error: BaseException) -> dict[str, Any] | None:
    """What the GPU refused and what was in use (MB of 2**20 bytes), or None for another error."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError) and not (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))
    ):
        return None
    tried = _TRIED.search(str(error))
    return {
        "requested_MB": float(tried[1]) * _IN_MIB[tried[2]] if tried else None,
        "allocated_MB": torch.cuda.memory_allocated() / environment.MIB,
        "reserved_MB": torch.cuda.memory_reserved() / environment.MIB,
        "message": " ".join(str(error).split()),
    }
