"""What a grid says besides its comparison, in grids whose numbers are known."""

from __future__ import annotations

from typing import Any

from support.runs import grid

from liger_benchmark.analysis.notes import break_even_of_compiling, many_chunks
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.results import results
from liger_benchmark.run import Run

LAYERS = ["rope", "rms_norm", "swiglu"]


def compiled(factor: float, seconds: tuple[float, ...] = (60.0, 10.0)) -> list[Run]:
    """A grid of an arm and its twin that compiles, which takes `seconds` in each repeat."""
    arms: dict[str, dict[str, Any]] = {
        "vanilla": {},
        "vanilla + torch_compile": {"torch_compile": True, "factor": factor},
    }
    runs = grid((40,), len(seconds), arms)
    for run in runs:
        run.history["step_seconds"] = 0.5
        if run.training_args.torch_compile:
            run.history["step_seconds"] = 0.5 / factor
            run.record["phases"]["rehearsal"] = seconds[run.training_args.run - 1]
    return runs


def test_compiling_pays_after_its_seconds_over_the_seconds_that_a_step_is_shorter() -> None:
    analysis = analyse(compiled(2.0))
    [sentence] = break_even_of_compiling(analysis)
    # 60 s over 0.25 s.
    assert sentence == (
        "vanilla + torch_compile at batch size 40: compiling takes 60 s, 10 s once it is cached, "
        "and a step is 250 ms shorter: it pays after 240 steps."
    )
    assert sentence in results(analysis)


def test_compiling_that_gains_nothing_never_pays() -> None:
    [sentence] = break_even_of_compiling(analyse(compiled(0.9, (60.0,))))
    assert sentence.endswith("compiling takes 60 s, and its steps are no faster for it.")


def test_an_arm_without_a_twin_has_no_break_even() -> None:
    arms = {"vanilla": {}, "Liger + torch_compile": {"use_liger": True, "torch_compile": True}}
    assert break_even_of_compiling(analyse(grid((40,), 2, arms))) == []


def test_the_headline_holds_the_fastest_arm_against_trls_default_too() -> None:
    arms = {
        "vanilla": {},
        "TRL": {"loss_type": "trl", "factor": 1.1},
        "Liger layers + TRL": {
            "use_liger": True, "liger_kernels": LAYERS, "loss_type": "trl", "factor": 1.32 / 1.36,
        },
    }  # fmt: skip
    headline = analyse(grid((40,), 2, arms)).headline
    assert headline.startswith("Fastest for Phi-3 mini at batch size 40: Liger layers + TRL, 31")
    assert " Against TRL's default, Liger layers + TRL is 19% faster (" in headline
    # Not where TRL is the baseline, or the fastest itself.
    assert "Against TRL" not in analyse(grid((40,), 2, arms), "TRL").headline
    del arms["Liger layers + TRL"]
    assert "Against TRL" not in analyse(grid((40,), 2, arms)).headline


def test_many_chunks_of_ligers_loss_are_said_with_the_setting() -> None:
    runs = grid((8,), 2)
    assert many_chunks(analyse(runs)) == []
    for run in runs:
        if run.training_args.use_liger:
            run.record["head"] = {"loss_type": "nll", "chunks": 128}
    [sentence] = many_chunks(analyse(runs))
    assert "In Liger Liger's" not in sentence
    assert "128 chunks" in sentence and "liger_chunk_mem_const" in sentence
