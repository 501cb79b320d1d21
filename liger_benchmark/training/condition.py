"""Train one condition of the grid and return what was measured.

`run_condition` is called by the workflow and by scripts: it starts a fresh process, passes its
history rows on, and returns a `Run`. `train` is what runs inside that process.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import COMPLETED, OUT_OF_MEMORY, Run
from liger_benchmark.sources.fetch import provenance
from liger_benchmark.training import (
    compilation,
    environment,
    heads,
    hub_kernels,
    liger_options,
    process_group,
    sharding,
)
from liger_benchmark.training.activation import active_liger_parts, check_liger, expected_parts
from liger_benchmark.training.adapters import add_adapters, base_model
from liger_benchmark.training.compile_counter import CompilationCounter
from liger_benchmark.training.dataset import (
    check_token_ids,
    checksum,
    load_tokenizer,
    prepare_datasets,
)
from liger_benchmark.training.device import (
    CpuDevice,
    CudaDevice,
    record_gpu_at_end,
    set_up_device,
)
from liger_benchmark.training.ending import AFTER_LAST_STEP, FINISHED, Ending, save
from liger_benchmark.training.flops import flops_per_token
from liger_benchmark.training.group_condition import train_group
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated, summary
from liger_benchmark.training.measurement import EfficiencyCallback
from liger_benchmark.training.model import (
    describe_weights,
    load_model,
    weights_checksum,
)
from liger_benchmark.training.other_environment import run_elsewhere
from liger_benchmark.training.out_of_memory import reason_or_raise
from liger_benchmark.training.phases import Phases, position
from liger_benchmark.training.row_counts import RowCounts
from liger_benchmark.training.trainer import build_trainer
from liger_benchmark.training.weights_place import give_memory, where_to_make_it

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Send = Callable[[dict[str, Any]], None]
# Which runs were made one after the other by one process, and on which host. Hashed: only equality
# of hosts matters.
SESSION = {
    "session": uuid.uuid4().hex[:12],
    "host": hashlib.sha256(platform.node().encode()).hexdigest()[:12],
}


def run_condition(
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
    *,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    devices: Sequence[str] | None = None,
) -> Run:
    """Train one condition in a process of its own and return what was measured.

    Args:
        on_row: called in this process with each step's row, as soon as the step has ended.
        devices: the GPUs to take it from, by index or UUID; by default all that are visible.

    Raises:
        ChildFailed: if the run failed for another reason than the GPU's memory before the end of
            its last step. Its `rows` are those of the finished steps.
    """
    rows: list[dict[str, Any]] = []
    finished: dict[str, Any] = {}

    def keep(message: dict[str, Any]) -> None:
        if FINISHED in message:
            finished.update(message[FINISHED])
        else:
            rows.append(message)
            on_row(message)

    folders = (Path(dataset_folder), Path(model_folder), Path(output_folder))
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        record, of_process = _in_its_process(arguments, folders, keep, devices)
    except ChildFailed as error:
        if not finished:
            error.rows = rows
            raise
        record, of_process = {**finished, AFTER_LAST_STEP: {"process": summary(error)}}, {}
    outcome = OUT_OF_MEMORY if "out_of_memory" in record else COMPLETED
    phases = record.pop("phases")
    if of_process:
        phases = {"process": of_process["process"], **phases, "teardown": of_process["teardown"]}
    record = {"started_at": started_at, **SESSION, **record, "phases": phases}
    return Run(arguments, outcome, pd.DataFrame(rows), record)


def _in_its_process(
    arguments: TrainingArguments,
    folders: tuple[Path, ...],
    on_message: Send,
    devices: Sequence[str] | None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train in a fresh process: of another environment, of a group, or alone."""
    devices = environment.visible_devices() if devices is None else devices
    devices = devices[: arguments.n_gpus]
    if arguments.environment:
        return run_elsewhere(train, arguments, *folders, on_message=on_message, devices=devices)
    if arguments.in_group:
        return run_isolated(
            train_group,
            *(train, arguments, *folders),
            on_message=on_message,
            devices=devices,
            has_children=True,
        )
    return run_isolated(train, arguments, *folders, on_message=on_message, devices=devices)


def train(
    send: Send,
    arguments: TrainingArguments,
    dataset_folder: Path,
    model_folder: Path,
    output_folder: Path,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Train one condition in this process, which must be fresh, and return its record.

    Args:
        send: called with each step's history row, and with the record after the last, see `ending`.
        callbacks: `transformers.TrainerCallback`s to add to the one that measures.

    Returns:
        The record. If the GPU ran out of memory before the end of the last step, it holds
        `out_of_memory`; other errors until then are raised.
    """
    phases = Phases(begins=lambda name: process_group.says(send, name))
    record: dict[str, Any] = {}
    with phases("imports"):
        on_gpu = set_up_device(arguments, record)
        sharding.begin(on_gpu)
    compilations = CompilationCounter()
    compilations.start()
    device = CudaDevice() if on_gpu else CpuDevice()
    callback = EfficiencyCallback(
        arguments.n_warmup_steps,
        device,
        compilations=lambda: compilations.total,
        counts_tokens_seen=arguments.include_num_input_tokens_seen,
    )
    at_end = partial(record_gpu_at_end, device)
    ending = Ending(send, arguments, callback, phases, record, at_end)
    try:
        with phases("data"):
            tokenizer = load_tokenizer(model_folder)
            rows = _prepare_rows(arguments, dataset_folder, tokenizer, record)
        with phases("model"):
            model = _prepare_model(arguments, model_folder, on_gpu, record)
            check_token_ids(rows, cast(Any, model.get_input_embeddings()).num_embeddings)
        with phases("trainer"):
            trainer = _trainer(
                arguments, model, tokenizer, *rows, output_folder, callback, compilations, record
            )
            for other in callbacks:
                trainer.add_callback(other)
            ending.observed = trainer.observed
        with phases("training"), ending.kept():
            trainer.train()
        with phases("save"):
            _record_end(ending, model, arguments)
            with ending.kept("save"):
                save(trainer, arguments)
    except Exception as error:
        if ending.is_finished:  # in a rank of a group, which `run_condition` keeps
            raise
        out_of_memory = reason_or_raise(error, record["environment"]["gpu"])
        record["out_of_memory"] = {**position(phases, callback), **out_of_memory}
        at_end(record)
    record["phases"] = phases.with_steps(callback)
    return record


def _trainer(
    arguments: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: Any,
    output_folder: Path,
    callback: EfficiencyCallback,
    compilations: CompilationCounter,
    record: dict[str, Any],
) -> Any:
    """The trainer, with the arm's head in place."""
    forward = vars(base_model(model)).get("forward")
    trainer = build_trainer(
        *(arguments, model, tokenizer, train_rows, eval_rows, output_folder),
        *(callback, compilations),
        weights_on_host=record["weights"]["made"] == "on the host",
    )
    heads.put_arms_head_in_place(arguments, model, forward, record)
    return trainer


def _record_end(ending: Ending, model: PreTrainedModel, arguments: TrainingArguments) -> None:
    """Record whether the steps changed the weights, and the FLOPs that they took."""
    record, seen = ending.record, ending.observed
    with ending.kept("record"):
        end = weights_checksum(model)
        record["proof"]["weights_changed"] = end != record["weights"]["checksum"]
    with ending.kept("record", others_wait=False):
        record["flops"] = flops_per_token(model, arguments, seen.lengths, seen.tokens)


def _prepare_rows(
    arguments: TrainingArguments, folder: Path, tokenizer: Any, record: dict[str, Any]
) -> tuple[Any, Any]:
    """The training and evaluation rows; describes the dataset in `record`."""
    counts = RowCounts()
    train_rows, eval_rows = prepare_datasets(folder, tokenizer, arguments, counts)
    record["dataset"] = {
        **provenance(folder, arguments.dataset_name),
        "rows": len(train_rows),
        "checksum": checksum(train_rows),
        **counts.record(),
    }
    return train_rows, eval_rows


def _prepare_model(
    arguments: TrainingArguments,
    folder: Path,
    on_gpu: bool,
    record: dict[str, Any],
) -> PreTrainedModel:
    """Load the condition's model, verify its Liger kernels, and describe both in `record`.

    Raises:
        LigerMismatch: if other kernels are active than the arm's.
        InvalidInput: if the model cannot be loaded.
    """
    liger_options.apply(arguments)
    if arguments.torch_compile:
        compilation.prepare(arguments.use_liger)
    device, on_host = where_to_make_it(arguments, folder, on_gpu)
    model = load_model(
        folder,
        use_liger=arguments.use_liger,
        bf16=arguments.has_bf16_weights,
        seed=arguments.seed,
        device=device,
        liger_kernels=arguments.liger_kernels,
        attn_implementation=arguments.attn_implementation,
        load_in_4bit=arguments.load_in_4bit,
    )
    parts = active_liger_parts(model)
    kernels = arguments.liger_kernels if arguments.use_liger else ()
    check_liger(parts, kernels, model.config.model_type)
    expected = expected_parts(parts, kernels, model.config.model_type)
    record["liger"] = {**parts["active"], "parts": parts["present"], "expected": expected}
    if arguments.use_hub_kernels:
        hub_kernels.put_in_place(model)
    model = add_adapters(model, arguments)
    record["weights"] = describe_weights(model, folder, arguments.model_name)
    record["weights"]["made"] = "on the host" if on_host else "on the device"
    if device == "meta":
        give_memory(model)
    return model
