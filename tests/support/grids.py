"""Fixed synthetic grids for the tests of the analysis and the report."""

from __future__ import annotations

from typing import Any

import pandas as pd

from liger_benchmark.run import FAILED, OUT_OF_MEMORY, Run
from support.runs import SIZES, grid, make_run

# use_liger × torch_compile × loss_type, without what excludes each other.
SIX_ARMS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "vanilla + chunked_nll": {"loss_type": "chunked_nll", "factor": 1.04},
    "vanilla + torch_compile": {"torch_compile": True, "factor": 1.2},
    "vanilla + torch_compile + chunked_nll": {
        "torch_compile": True, "loss_type": "chunked_nll", "factor": 0.9,
    },
    "Liger": {},
    "Liger + torch_compile": {"use_liger": True, "torch_compile": True, "factor": 1.1},
}  # fmt: skip
# use_liger × optim: the optimisers compute different things.
FOUR_ARMS: dict[str, dict[str, Any]] = {
    "Liger": {},
    "Liger + adamw_torch": {"use_liger": True, "optim": "adamw_torch", "factor": 0.85},
    "vanilla": {},
    "vanilla + adamw_torch": {"optim": "adamw_torch", "factor": 0.85},
}


def two_arms(
    speeds: tuple[tuple[float, float], ...], memory: tuple[float, float] = (900.0, 1000.0)
) -> list[Run]:
    """Batch size 16; a (Liger, vanilla) pair of tokens per second for each repeat."""
    return [
        make_run(arm, 16, repeat, rate=rate, memory_mb=used, steps=4)
        for repeat, pair in enumerate(speeds, start=1)
        for arm, rate, used in zip(("Liger", "vanilla"), pair, memory, strict=True)
    ]


def complete() -> list[Run]:
    """36 runs: vanilla runs out of memory at 48 and 56, everything else completes."""
    return [_out_of_memory(run) if _is_vanilla_above(run, 40) else run for run in grid(SIZES)]


def with_failures() -> list[Run]:
    """Two batch sizes; one Liger run crashed, both arms of one repeat gave no result."""
    runs = grid(sizes=(16, 24))
    for position, error in (
        (0, {"type": "RuntimeError", "message": "CUDA error: an illegal memory access\nwas met",
             "traceback": "Traceback …"}),
        (5, None),
        (9, None),
    ):  # fmt: skip
        run = runs[position]
        runs[position] = Run(run.training_args, FAILED, record={"error": error} if error else {})
    return runs


def one_repeat() -> list[Run]:
    """A grid run once: no interval, no verdict."""
    return [_out_of_memory(run) if _is_vanilla_above(run, 40) else run for run in grid(repeats=1)]


def one_arm() -> list[Run]:
    """Vanilla alone."""
    return [
        _out_of_memory(run) if _is_vanilla_above(run, 40) else run
        for run in grid(arms=("vanilla",))
    ]


def one_batch_size() -> list[Run]:
    """Both arms at batch size 16."""
    return grid(sizes=(16,))


def all_failed() -> list[Run]:
    """Nothing completed: four runs failed, four ran out of memory."""
    runs = grid(sizes=(16, 56), repeats=2)
    return [
        _out_of_memory(run)
        if run.training_args.per_device_train_batch_size == 56
        else Run(run.training_args, FAILED)
        for run in runs
    ]


def on_cpu() -> list[Run]:
    """A smoke run: Triton's interpreter, fp32, resident set in place of the allocator."""
    return grid(
        sizes=(2, 4), repeats=2, steps=6, cpu=True, model_name="builtin:phi3-tiny",
    )  # fmt: skip


def wide_intervals() -> list[Run]:
    """Two repeats far apart, as on a shared machine: intervals leave the plot; a tiny bar."""
    rates = {("vanilla", 1): 4100.0, ("vanilla", 2): 9500.0, ("Liger", 1): 21.0, ("Liger", 2): 30.0}
    return [
        make_run(arm, 2, repeat, rate=rate, memory_mb=430.0, steps=3, cpu=True)
        for (arm, repeat), rate in rates.items()
    ]


def smoke_model_on_gpu() -> list[Run]:
    """The tiny model on a GPU: real timings, which say nothing about the kernels."""
    return grid(sizes=(2, 4), repeats=2, steps=6, model_name="builtin:phi3-tiny")


def uncertain() -> list[Run]:
    """A GPU that was shared: every interval of the speed-up reaches from minus to plus."""
    rates = ((15_000.0, 12_000.0), (10_500.0, 12_100.0), (14_200.0, 11_000.0))
    return [
        make_run(arm, size, repeat, rate=rate * (1 + size / 100), memory_mb=used + 200 * size)
        for repeat, pair in enumerate(rates, start=1)
        for size in (16, 24, 32)
        for arm, rate, used in zip(("Liger", "vanilla"), pair, (21_000.0, 24_000.0), strict=True)
    ]


def without_environment() -> list[Run]:
    """Runs that ended before they could say what they ran on."""
    runs = all_failed()
    for run in runs:
        run.record.pop("environment", None)
    return runs


def six_arms() -> list[Run]:
    """Many arms at a single batch size, with the energy that they took."""
    arms = {
        name: {"energy": 0.03 / own.get("factor", 1.0), **own} for name, own in SIX_ARMS.items()
    }
    return grid(sizes=(8,), repeats=2, arms=arms, steps=12)


def four_arms() -> list[Run]:
    """Arms that compute different things, at three batch sizes; the largest fits two of them."""
    runs = grid(sizes=(16, 32, 48), repeats=2, arms=FOUR_ARMS, steps=12)
    for i, run in enumerate(runs):
        args = run.training_args
        if args.per_device_train_batch_size == 48 and not args.use_liger:
            runs[i] = _out_of_memory(run)
    runs[1] = Run(runs[1].training_args, FAILED, record={"error": {"type": "RuntimeError"}})
    return runs


def many_bars() -> list[Run]:
    """Six arms at three batch sizes: too many bars for numbers that lie; some gave no result."""
    runs = grid(sizes=(8, 16, 128), repeats=3, arms=SIX_ARMS, steps=6)
    for i, run in enumerate(runs):
        args = run.training_args
        if args.per_device_train_batch_size == 128 and not args.use_liger:
            runs[i] = _out_of_memory(run)
        elif args.arm == "vanilla + torch_compile" and args.per_device_train_batch_size == 16:
            runs[i] = Run(args, FAILED, record={"error": {"type": "RuntimeError"}})
        elif args.arm == "Liger + torch_compile" and args.run == 2:
            runs[i] = Run(args, FAILED)
    return runs


def long_names() -> list[Run]:
    """Eight arms with names of up to ninety letters, at six batch sizes."""
    kernels = {
        "Liger (rope, rms_norm, swiglu)": {
            "use_liger": True,
            "liger_kernels": ["rope", "rms_norm", "swiglu"],
        }
    }
    arms = {
        " + ".join([base, *extra]): {**own, **dict.fromkeys(extra, True), **length}
        for base, own in {"vanilla": {}, **kernels}.items()
        for more in ((), ("torch_compile", "gradient_checkpointing"))
        for length in ({}, {"max_seq_length": 2048})
        for extra in [(*more, *(f"{name}={value}" for name, value in length.items()))]
    }
    for own in arms.values():
        own.pop("max_seq_length=2048", None)
    return grid(sizes=(2, 4, 8, 16, 32, 64), repeats=2, arms=arms, steps=3)


def no_vanilla() -> list[Run]:
    """Two lengths of text, with Liger alone: neither of the arms is one of the blog's."""
    arms = {
        f"Liger + max_seq_length={length}": {
            "use_liger": True,
            "max_seq_length": length,
            "factor": factor,
        }
        for length, factor in ((512, 1.0), (2048, 0.8))
    }
    return grid(sizes=(2, 4), repeats=2, arms=arms, steps=6)


ALL = {
    "complete": complete,
    "with_failures": with_failures,
    "one_repeat": one_repeat,
    "one_arm": one_arm,
    "one_batch_size": one_batch_size,
    "all_failed": all_failed,
    "on_cpu": on_cpu,
    "wide_intervals": wide_intervals,
    "smoke_model_on_gpu": smoke_model_on_gpu,
    "uncertain": uncertain,
    "six_arms": six_arms,
    "four_arms": four_arms,
    "many_bars": many_bars,
    "long_names": long_names,
    "no_vanilla": no_vanilla,
}


def _is_vanilla_above(run: Run, size: int) -> bool:
    return run.training_args.arm == "vanilla" and (
        run.training_args.per_device_train_batch_size > size
    )


def _out_of_memory(run: Run) -> Run:
    of_the_end = ("phases", "gradients", "proof", "batches")
    record = {key: value for key, value in run.record.items() if key not in of_the_end}
    record["out_of_memory"] = {
        "phase": "first step",
        "step": 1,
        "requested_MB": 938.0,
        "allocated_MB": 38_802.5,
        "reserved_MB": 39_410.0,
        "message": "CUDA out of memory. Tried to allocate 938.00 MiB.",
    }
    record["phases"] = {"process": 0.4, "imports": 0.1, "data": 0.3, "model": 1.9, "teardown": 0.5}
    return Run(run.training_args, OUT_OF_MEMORY, pd.DataFrame(), record)
