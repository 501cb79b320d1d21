"""The caveats about a grid: which records raise one, and how it is worded."""

from __future__ import annotations

import pytest
from support import grids

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.columns import STEP_PEAK_RESERVED_MB


@pytest.mark.parametrize(
    ("part", "words"),
    [("weights", "did not start from the same weights"), ("dataset", "did not see the same rows")],
)
def test_arms_with_unequal_weights_or_rows_raise_a_warning(part: str, words: str) -> None:
    runs = grids.grid(sizes=(16, 24), repeats=2)
    runs[2].record[part]["checksum"] = "another"
    assert any(f"{words} at batch size 24" in text for text in analyse(runs).warnings)


def test_arms_with_the_wrong_kernels_active_raise_a_warning() -> None:
    runs = grids.one_batch_size()
    runs[0].record["liger"] = dict.fromkeys(("rms_norm", "swiglu"), 0)
    runs[1].record["liger"]["rope"] = 32
    warnings = " ".join(analyse(runs).warnings)
    assert "of the Liger arm no part of Liger was active" in warnings
    assert "of the vanilla arm parts of Liger were active" in warnings


def test_other_processes_on_the_gpu_and_several_drivers_raise_warnings() -> None:
    runs = grids.one_batch_size()
    gpu = runs[0].record["environment"]["gpu"]
    gpu["other_processes"] = [{"pid": 7, "name": "trainer", "memory_MB": None}]
    gpu["driver"] = "590.1"
    warnings = " ".join(analyse(runs).warnings)
    assert "Other processes were on the GPU in 1 run: trainer" in warnings
    assert "different driver versions: 575.57.08 and 590.1" in warnings


def test_runs_that_reserve_the_whole_memory_limit_raise_a_warning() -> None:
    runs = grids.complete()
    assert not any("barely fits" in warning for warning in analyse(runs).warnings)
    tight = next(r for r in runs if r.training_args.slug.endswith("bs-40-vanilla-run-1"))
    limit_gib = tight.training_args.gpu_memory_limit_gib
    assert limit_gib is not None
    tight.history[STEP_PEAK_RESERVED_MB] = limit_gib * 1024
    [warning] = [w for w in analyse(runs).warnings if "barely fits" in w]
    assert "vanilla arm barely fits at batch size 40" in warning
    other = next(r for r in runs if r.training_args.slug.endswith("bs-40-liger-run-2"))
    other.history[STEP_PEAK_RESERVED_MB] = limit_gib * 1024
    [warning] = [w for w in analyse(runs).warnings if "barely fit" in w]
    assert warning.startswith("The arms vanilla and Liger barely fit at batch size 40: each ")


@pytest.mark.parametrize("name", grids.ALL)
def test_a_caveat_of_the_kind_trial_stands_in_front_of_exactly_the_trials(name: str) -> None:
    analysis = analyse(grids.ALL[name]())
    kinds = [caveat.kind for caveat in analysis.caveats]
    trials = [] if analysis.hardware.timings_count else ["trial"]
    assert [kind for kind in kinds if kind == "trial"] == kinds[: len(trials)] == trials
    assert analysis.warnings == [caveat.text for caveat in analysis.caveats]


def test_each_caveat_has_a_kind() -> None:
    runs = grids.complete()
    runs[0].record["environment"]["gpu"]["driver"] = "590.1"
    runs[0].record["weights"]["checksum"] = "another"
    runs[0].history[STEP_PEAK_RESERVED_MB] = 39.0 * 1024
    assert [caveat.kind for caveat in analyse(runs).caveats] == ["start", "memory_limit", "drivers"]
