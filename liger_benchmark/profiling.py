"""Where a training step spends the GPU's time, by kind of kernel.

    liger-benchmark profile INPUTS.yaml [--arm NAME] [--batch-size N] [--steps N]

trains one condition of an experiment, profiles a few steps after the warm-up with torch's profiler,
and prints the time by kind of kernel, and the GPU's measured rate of bf16 matrix products. The
profiler slows down kernel launches: use the shares from here, and speeds from the benchmark.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.experiment.preflight import check_experiment
from liger_benchmark.folders import use_writable_caches
from liger_benchmark.kernel_kinds import summary
from liger_benchmark.sources.fetch import SourceUnavailable, fetch_dataset, fetch_model
from liger_benchmark.training import environment
from liger_benchmark.training.condition import train
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated
from liger_benchmark.training.isolated_process import summary as summary_of
from liger_benchmark.training.process_group import run_group
from liger_benchmark.validation import InvalidInput, did_you_mean, show

MATRIX_SIZE = 8192


def profile_run(
    send: Any, arguments: TrainingArguments, dataset: Path, model: Path, output: Path, n_steps: int
) -> dict[str, Any]:
    """Train in this process, which must be fresh, and profile the last `n_steps` steps.

    Returns:
        `milliseconds`: GPU time per step by kernel name; `wall_milliseconds`: mean duration of the
        profiled steps; `matmul_tflops`: see `measure_matmul`; `tokens_a_step`, `n_parameters`,
        `condition`, `gpu` and `n_gpus`.

    Raises:
        MemoryError: if the GPU ran out of memory.
    """
    import torch
    import transformers

    class Profile(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.profiler = torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Tell the profiler that a step has ended."""
            # Starting the profiler takes about a second, which here is part of no step.
            if state.global_step == state.max_steps - n_steps:
                self.profiler.start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            """Stop the profiler."""
            self.profiler.stop()

    callback = Profile()
    rows: list[dict[str, Any]] = []

    def keep(message: dict[str, Any]) -> None:
        if "step" in message:  # a row, and neither a sign of life nor the record
            rows.append(message)

    record = train(keep, arguments, dataset, model, output, callbacks=[callback])
    if "out_of_memory" in record:
        raise MemoryError(record["out_of_memory"]["message"])
    milliseconds = {
        kernel.key: kernel.self_device_time_total / 1000 / n_steps
        for kernel in callback.profiler.key_averages()
        if kernel.device_type == torch.autograd.DeviceType.CUDA
    }
    wall = [1000 * row["step_seconds"] for row in rows[-n_steps:]]
    return {
        "condition": arguments.condition,
        "milliseconds": milliseconds,
        "wall_milliseconds": sum(wall) / len(wall),
        "tokens_a_step": rows[-1]["step_tokens"],
        "n_parameters": record["weights"]["n_parameters"],
        "matmul_tflops": measure_matmul(),
        "gpu": record["environment"]["gpu"]["name"],
        "n_gpus": arguments.n_gpus,
    }


def profile_group(send: Any, arguments: TrainingArguments, *inputs: Any) -> dict[str, Any]:
    """The profile of rank 0 of a condition on several GPUs, see `profile_run`.

    Communication runs beside other kernels, so that the kinds may add up to more than a step.
    """
    return dict(run_group(profile_run, arguments.n_gpus, arguments, *inputs)[0])


def measure_matmul(n_repeats: int = 30) -> float:
    """The rate in TFLOP/s at which the GPU multiplies random bf16 matrices of 8192 × 8192.

    The values are random because a GPU at its power limit multiplies zeros faster.
    """
    import torch

    a, b = (
        torch.randn(MATRIX_SIZE, MATRIX_SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2)
    )
    for _ in range(5):
        a @ b
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(n_repeats):
        a @ b
    end.record()
    end.synchronize()
    seconds = begin.elapsed_time(end) / 1000 / n_repeats
    return 2 * MATRIX_SIZE**3 / seconds / 1e12


def choose(
    grid: Sequence[TrainingArguments], arm: str | None, batch_size: int | None
) -> TrainingArguments:
    """The condition of the grid with that arm and batch size.

    The default is the grid's last arm and its largest batch size.

    Raises:
        InvalidInput: if the grid has no such arm or batch size.
    """
    arms = list(dict.fromkeys(arguments.arm for arguments in grid))
    sizes = sorted({arguments.per_device_train_batch_size for arguments in grid})
    arm, batch_size = arm or arms[-1], batch_size or sizes[-1]
    if arm not in arms:
        raise InvalidInput(
            f"--arm: {show(arm)} is no arm of this grid{did_you_mean(arm, arms)}; "
            f"its arms are {', '.join(arms)}"
        )
    if batch_size not in sizes:
        raise InvalidInput(
            f"--batch-size: {batch_size} is not in this grid; it has {', '.join(map(str, sizes))}"
        )
    return next(
        arguments
        for arguments in grid
        if arguments.arm == arm and arguments.per_device_train_batch_size == batch_size
    )


def condition_to_profile(options: argparse.Namespace) -> TrainingArguments:
    """The condition that the command names, with as many steps as are profiled after the warm-up.

    Raises:
        InvalidInput: if it cannot be profiled, or not be run on this machine.
    """
    chosen = choose(read_inputs_file(options.inputs).grid, options.arm, options.batch_size)
    if chosen.environment:
        raise InvalidInput(
            f"--arm: {show(chosen.arm)} takes its libraries from the environment "
            f"{show(chosen.environment)}, and a profile is made with those of this command; name "
            "another arm, or run the command from that environment"
        )
    gpu = environment.visible_gpu()
    if gpu is None:
        raise InvalidInput("there is no GPU whose kernels could be timed; run it where you train")
    if options.steps < 1:
        raise InvalidInput(f"--steps: {options.steps} must be 1 or more")
    warm_up = max(chosen.n_warmup_steps, 2)
    chosen = dataclasses.replace(
        chosen,
        n_warmup_steps=warm_up,
        max_steps=warm_up + options.steps,
        parallel_conditions=1,
    )
    check_experiment([chosen], on_cluster=False, gpu=gpu)
    return chosen


def profile_condition(chosen: TrainingArguments, n_steps: int, folder: Path) -> dict[str, Any]:
    """Fetch the condition's dataset and model, and profile it in a process of its own.

    Args:
        folder: an empty folder for what is fetched and written.

    Raises:
        InvalidInput, SourceUnavailable: as `fetch_dataset` and `fetch_model`.
        ChildFailed: if the condition failed.
    """
    dataset = fetch_dataset(
        *(chosen.dataset_name, folder / "dataset"), chosen.dataset_config, chosen.dataset_split
    )
    model = fetch_model(chosen.model_name, folder / "model")
    profile, _ = run_isolated(
        profile_group if chosen.in_group else profile_run,
        *(chosen, dataset, model, folder / "output", n_steps),
        on_message=lambda message: None,
        devices=environment.visible_devices()[: chosen.n_gpus],
        has_children=chosen.in_group,
    )
    return profile


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile one condition and print its summary.

    Returns:
        The exit status: 0, or 1 after an error that was printed on one line.
    """
    parser = argparse.ArgumentParser(
        prog="liger-benchmark profile",
        description="Profile one condition of an experiment on this machine's GPU.",
    )
    parser.add_argument("inputs", type=Path, metavar="INPUTS", help="the inputs file")
    parser.add_argument("--arm", metavar="NAME", help="default: the grid's last")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: the largest")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="steps to profile")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the profile as JSON")
    options = parser.parse_args(arguments)
    use_writable_caches()
    try:
        chosen = condition_to_profile(options)
        with tempfile.TemporaryDirectory() as folder:
            profile = profile_condition(chosen, options.steps, Path(folder))
    except (InvalidInput, SourceUnavailable) as error:
        print(f"profiling: {error}", file=sys.stderr)
        return 1
    except ChildFailed as error:
        print(f"profiling: {summary_of(error)}", file=sys.stderr)
        return 1
    if options.output:
        options.output.write_text(json.dumps(profile, indent=2) + "\n", encoding="utf-8")
    print(summary(profile))
    return 0
