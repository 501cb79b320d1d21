"""A grid as it was measured: its runs, arms and tables, worked out once for all that judges them.

Only completed runs enter a mean. Running out of memory is a measurement and is counted as one. A
failed run measures nothing and is counted as failed. No run is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from liger_benchmark.analysis.allocator_retries import retries
from liger_benchmark.analysis.arms import (
    arguments_by_arm,
    arms_in,
    baseline_first,
    choose_baseline,
)
from liger_benchmark.analysis.cells import table_of_cells
from liger_benchmark.analysis.comparison import compare
from liger_benchmark.analysis.counterparts import compare_counterparts
from liger_benchmark.analysis.hardware import Hardware, hardware_of
from liger_benchmark.analysis.ladder import compare_steps
from liger_benchmark.analysis.overhead import largest_overheads
from liger_benchmark.analysis.runs_table import DESCRIPTIVE, table_of_runs
from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.choices import (
    LIGER,
    VANILLA,
)
from liger_benchmark.columns import TOTAL_PEAK_RESERVED_MB, TOTAL_PEAK_RESIDENT_SET_MB
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.wording import model_title


@dataclass(frozen=True)
class MeasuredGrid:
    """The runs of a grid and what follows from them by arithmetic.

    Attributes:
        runs: the runs, as given.
        arms: all arms in the order in which they are shown, the baseline first.
        model: the model's name for people.
        hardware: the device that the grid was measured on.
        runs_table: one row a run, failed ones too: `condition`, `arm`, batch size, `run`,
            `outcome`, `reason` (why it did not complete), `detail` (the reason without the
            outcome's words), `after_last_step` (what failed after the last step of a completed
            run), `unsteady` and `unsteady_steps` (see `steadiness.unsteady_mark`), `n_steps`,
            `avg_tokens_per_second`, the peak memory in MB (2**20 bytes) under `memory_column`,
            `final_loss`, `mfu` (a fraction),
            `energy_J_per_token`, `overhead_seconds`, `wandb_url`, and `invalid`, why the run's cell
            is invalid (empty if it is valid). Measurements are NaN unless the run completed and
            took them.
        cells: one row for each arm and batch size: counts by outcome, and the mean of tokens per
            second and of peak memory with the ends of their 95% intervals (`_low`, `_high`;
            NaN with one repeat), and the means of `mfu` and `energy_J_per_token`. An invalid cell
            has its reason under `invalid` and no means.
        comparison: one row for each batch size and each arm but the baseline: `n_pairs`, speed-up
            and memory saving against the baseline in percent with their 95% intervals, whether
            the two compute the same (`same_maths`) and, if so, the largest relative
            `loss_difference` and whether it is above its bound.
        published: the rows that the blog's claims are about, Liger against vanilla, whatever the
            baseline is; without rows unless the grid has both.
        steps: as `comparison`, each arm of a ladder against the one before, its `previous`; without
            rows for other grids.
        counterparts: as `comparison`, each arm with Liger against the same without, its
            `counterpart`; without rows unless several do other work than the baseline.
        memory_column: `total_peak_memory_reserved_MB`, or `total_peak_resident_set_MB` on a CPU.
        tight: for an arm the batch sizes at which the allocator had to free its cached blocks:
            the memory was short, which costs speed.
        first_overhead_seconds: the largest overhead of a run that began a session and so waited
            for the imports; None if there is none.
        later_overhead_seconds: the largest overhead of any other run; None if there is none.
    """

    runs: list[Run]
    arms: list[str]
    model: str
    hardware: Hardware
    runs_table: pd.DataFrame
    cells: pd.DataFrame
    comparison: pd.DataFrame
    published: pd.DataFrame
    steps: pd.DataFrame
    counterparts: pd.DataFrame
    memory_column: str
    tight: Mapping[str, list[int]]
    first_overhead_seconds: float | None
    later_overhead_seconds: float | None

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.arms[0]


def measured_grid(runs: list[Run], baseline: str | None = None) -> MeasuredGrid:
    """Work out the tables of a grid.

    Args:
        runs: the runs of one experiment, at least one.
        baseline: the arm to compare the others with; the default is `choose_baseline`'s.

    Raises:
        UnknownBaseline: if no arm is called `baseline`.
    """
    baseline = choose_baseline(arguments_by_arm(runs), baseline)
    arms = baseline_first(arms_in(runs), baseline)
    hardware = hardware_of(runs)
    on_cpu = any(TOTAL_PEAK_RESIDENT_SET_MB in run.history for run in runs)
    memory_column = TOTAL_PEAK_RESIDENT_SET_MB if on_cpu else TOTAL_PEAK_RESERVED_MB
    reasons = invalid_reasons(runs, baseline)
    runs_table = table_of_runs(runs, hardware, memory_column)
    runs_table["invalid"] = [reasons.get(cell, "") for cell in _cells_of(runs)]
    valid_runs = _valid_measurements(runs_table)
    compared_by_blog = [LIGER] if {VANILLA, LIGER} <= set(arms) else []
    first, later = largest_overheads(runs)
    return MeasuredGrid(
        runs=runs,
        arms=arms,
        model=model_title(runs[0].training_args.short_model_name),
        hardware=hardware,
        runs_table=runs_table,
        cells=table_of_cells(valid_runs, memory_column, arms),
        comparison=compare(runs, valid_runs, memory_column, baseline, arms[1:]),
        published=compare(runs, valid_runs, memory_column, VANILLA, compared_by_blog),
        steps=compare_steps(runs, valid_runs, memory_column, arms),
        counterparts=compare_counterparts(runs, valid_runs, memory_column, baseline),
        memory_column=memory_column,
        tight=_tight_sizes(runs),
        first_overhead_seconds=first,
        later_overhead_seconds=later,
    )


def _cells_of(runs: Sequence[Run]) -> list[tuple[str, int]]:
    return [(run.training_args.arm, run.training_args.per_device_train_batch_size) for run in runs]


def _valid_measurements(runs_table: pd.DataFrame) -> pd.DataFrame:
    """The table of runs without what was measured in invalid cells."""
    measured = [name for name in runs_table if name not in DESCRIPTIVE]
    table = runs_table.copy()
    table[measured] = table[measured].where(table["invalid"] == "")
    return table


def _tight_sizes(runs: Sequence[Run]) -> dict[str, list[int]]:
    """For each arm the batch sizes at which the memory was short in a completed run.

    The allocator then had to free its cached blocks before it could serve a request. That a run
    reserved all that it was allowed says nothing: the allocator keeps what it can get. What it had
    to do before the measured steps says nothing either; older records do not tell the two apart.
    """
    tight: dict[str, set[int]] = {}
    for run in runs:
        args = run.training_args
        if run.outcome == COMPLETED and retries(run):
            tight.setdefault(args.arm, set()).add(args.per_device_train_batch_size)
    return {arm: sorted(sizes) for arm, sizes in tight.items()}
