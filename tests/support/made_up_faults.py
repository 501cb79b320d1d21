"""How faults are planted in made-up runs, and what a report says of an invalid cell."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from liger_benchmark.analysis.claims import EXCEEDED, REPRODUCED
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import BATCH_SIZE
from liger_benchmark.run import FAILED, Run
from support.tables import row

Change = Callable[[Run], None]


def of_liger(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.training_args.use_liger]


def at(runs: Iterable[Run], *sizes: int) -> list[Run]:
    return [run for run in runs if run.training_args.per_device_train_batch_size in sizes]


def fail(runs: list[Run], which: Iterable[Run]) -> None:
    """Make runs of a grid failures."""
    failing = list(map(id, which))
    runs[:] = [
        Run(run.training_args, FAILED, record={"error": {"type": "RuntimeError"}})
        if id(run) in failing
        else run
        for run in runs
    ]


def assert_invalid(analysis: Analysis, arm: str, size: int, reason: str) -> None:
    """The cell is invalid for that reason, and nothing is concluded from what it measured."""
    cell = row(analysis.cells, arm=arm, per_device_train_batch_size=size)
    assert cell["invalid"].startswith(reason), cell["invalid"]
    assert math.isnan(cell["tokens_per_second"]) and math.isnan(cell["peak_memory_MB"])
    for table in (analysis.comparison, analysis.published):
        compared = table[table[BATCH_SIZE] == size]
        if arm != analysis.baseline:
            compared = compared[compared["arm"] == arm]
        assert (compared["n_pairs"] == 0).all()
        gains = [name for name in compared if name.endswith(("_percent", "_low", "_high"))]
        assert compared[gains].isna().all(axis=None)
    for claim in analysis.claims:
        assert size not in claim.judged_at
    assert analysis.verdict not in (REPRODUCED, EXCEEDED)
    named = rf"\b{re.escape(arm)}( and [^.]+)? (is|are) invalid at batch size"
    assert re.search(named, analysis.headline)
    assert "faster" not in analysis.headline and " less " not in analysis.headline
    named = rf"(\S.* and )?{re.escape(arm)}( and .+)? at batch size {size} (is|are) invalid"
    assert any(c.kind == "invalid" and re.match(named, c.text) for c in analysis.caveats)


def scale_gradients(run: Run, factor: float) -> None:
    run.record["gradients"] = {
        name: [factor * value for value in values]
        for name, values in run.record["gradients"].items()
    }


def turn_gradients(run: Run) -> None:
    """Another direction and the same norms, as where RoPE is left out."""
    run.record["gradients"] = {
        name: [norm, *(-value for value in projections)]
        for name, (norm, *projections) in run.record["gradients"].items()
    }
