"""The table of the results: a row for each batch size and arm, one form for all grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from liger_benchmark.analysis.claims import (
    PUBLISHED_MEMORY_SAVING,
    PUBLISHED_SPEEDUP,
    against_range,
)
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.arguments import BATCH_SIZE, LIGER, VANILLA
from liger_benchmark.columns import TOTAL_PEAK_RESIDENT_SET_MB
from liger_benchmark.report.markup import Cell, Column, arm_cell, number_cell, table
from liger_benchmark.wording import (
    NO_VALUE,
    all_the_same,
    enumerate_words,
    known,
    number,
    percent_range,
    signed,
    significant,
    small_fraction,
)


@dataclass(frozen=True)
class _Row:
    """What a row is made from: the arm's cell, its comparison, and Liger's with vanilla there."""

    cell: pd.Series | None
    pair: pd.Series | None
    published: pd.Series | None
    of_size: pd.DataFrame


def by_batch_size(analysis: Analysis) -> str:
    """The table "By batch size": columns that no row has anything for are left out."""
    cells, several = analysis.cells, len(analysis.arms) > 1
    with_mfu, with_energy = cells["mfu"].notna().any(), cells["energy_J_per_token"].notna().any()
    baseline = analysis.baseline

    columns: list[tuple[Column, Callable[[str, _Row], Cell]]] = [
        (Column("Tokens/s", True), lambda _, row: _mean_cell(row, "tokens_per_second", 1.0, 0)),
    ]
    if several:
        columns.append((Column("Speed-up", True), lambda _, row: _gain_cell(row, "speedup")))
    columns.append(
        (Column("GiB", True), lambda _, row: _mean_cell(row, "peak_memory_MB", 1024.0, 2))
    )
    if several:
        columns.append((Column("Saving", True), lambda _, row: _gain_cell(row, "memory_saving")))
    if with_mfu:
        columns.append((Column("MFU, %", True), lambda _, row: _mfu_cell(row)))
    if with_energy:
        columns.append((Column("J/token", True), lambda _, row: _energy_cell(row)))
    if several:
        columns.append((Column("Loss differ\N{SOFT HYPHEN}ence", True), _loss_cell))
    if not analysis.published.empty:
        columns.append(
            (
                Column("Against the published"),
                lambda arm, row: _against(row, analysis) if arm == LIGER else Cell(),
            )
        )
    rows = []
    for size in sorted(cells[BATCH_SIZE].unique()):
        of_size = cells[cells[BATCH_SIZE] == size].set_index("arm")
        for arm in analysis.arms:
            row = _Row(
                of_size.loc[arm] if arm in of_size.index else None,
                _row_of(analysis.comparison, size, arm),
                _row_of(analysis.published, size, arm),
                of_size,
            )
            heading = [Cell(str(size), value=size, is_number=True), arm_cell(arm)]
            rows.append([*heading, *(make(arm, row) for _, make in columns)])
    caption = f"Means with their 95 % intervals; GiB: {memory_name(analysis).lower()}"
    if several:
        caption += f"; speed-up, saving and loss difference: against {baseline}"
    caption += _equal_repeats(cells)
    headings = [Column("Batch size", True), Column("Arm"), *(column for column, _ in columns)]
    return table(f"{caption}.", headings, rows, "dense sortable")


def memory_name(analysis: Analysis) -> str:
    """What the memory figures are: the allocator's on a GPU, the process's on a CPU."""
    on_cpu = analysis.memory_column == TOTAL_PEAK_RESIDENT_SET_MB
    return "Peak resident set" if on_cpu else "Peak reserved memory"


def outcome_words(cell: pd.Series) -> str:
    """What became of a cell's runs: `out of memory`, or with counts where they differ."""
    words = {"n_completed": "completed", "n_out_of_memory": "out of memory", "n_failed": "failed"}
    there = [(int(cell[key]), word) for key, word in words.items() if cell[key]]
    if len(there) == 1:
        return there[0][1]
    return enumerate_words(f"{count} {word}" for count, word in there)


def _row_of(comparison: pd.DataFrame, size: int, arm: str) -> pd.Series | None:
    hit = comparison[(comparison[BATCH_SIZE] == size) & (comparison["arm"] == arm)]
    return None if hit.empty else hit.iloc[0]


def _equal_repeats(cells: pd.DataFrame) -> str:
    """What the caption says about memory, which often is the same in every repeat."""
    spread = cells[cells["peak_memory_MB_low"].notna()]
    same = [*map(all_the_same, spread["peak_memory_MB_low"], spread["peak_memory_MB_high"])]
    if not any(same):
        return ""
    if all(same):
        return "; memory was the same in every repeat"
    return "; memory without ± was the same in every repeat"


def _mean_cell(row: _Row, column: str, scale: float, decimals: int) -> Cell:
    cell = row.cell
    if cell is None:
        return Cell("not run", is_number=True)
    value = cell[column] / scale
    if not known(value):
        text = "OOM" if cell["n_out_of_memory"] and not cell["n_failed"] else outcome_words(cell)
        return Cell(NO_VALUE if cell["n_completed"] else text, is_number=True)
    half = cell[f"{column}_high"] / scale - value
    detail = ""
    if known(half) and not all_the_same(cell[f"{column}_low"], cell[f"{column}_high"]):
        rounded = number(half, decimals)
        detail = f"± {rounded}" if rounded.strip("0.") else f"± < {10**-decimals:g}"
    if cell["n_completed"] < cell["n_runs"]:
        detail += f"\n{cell['n_completed']:.0f} of {cell['n_runs']:.0f}"
    return Cell(number(value, decimals), detail.strip(), value, is_number=True)


def _gain_cell(row: _Row, name: str) -> Cell:
    if row.pair is None:
        return Cell("baseline" if name == "speedup" else NO_VALUE, is_number=True)
    value, low, high = (row.pair[f"{name}_{part}"] for part in ("percent", "low", "high"))
    if not known(value):
        return number_cell(None, "")
    if all_the_same(low, high):
        detail = ""
    else:
        detail = percent_range(low, high, 1) if known(low) else "one repeat"
    # A range with signs is long: it takes two lines, so that the table fits a narrow window.
    detail = detail.replace(" to ", " to\n")
    return number_cell(value, f"{signed(value)} %", detail)


def _mfu_cell(row: _Row) -> Cell:
    value = None if row.cell is None else row.cell["mfu"]
    return number_cell(value, number(100 * value, 1) if known(value) else "")


def _energy_cell(row: _Row) -> Cell:
    value = None if row.cell is None else row.cell["energy_J_per_token"]
    return number_cell(value, significant(value) if known(value) else "")


def _loss_cell(_: str, row: _Row) -> Cell:
    if row.pair is None:
        return number_cell(None, "")
    if not row.pair["same_maths"]:
        return Cell("other maths", is_number=True)
    difference = row.pair["loss_difference"]
    mark = "above bound" if row.pair["loss_above_bound"] else ""
    return number_cell(difference, small_fraction(difference) if known(difference) else "", mark)


def _against(row: _Row, analysis: Analysis) -> Cell:
    """How Liger's gains over vanilla lie to the blog's, whatever the grid's baseline is."""
    pair, of_size = row.published, row.of_size
    if pair is None or not analysis.hardware.timings_count:
        return Cell("no verdict")
    if not known(pair["speedup_percent"]):
        both = [arm for arm in (VANILLA, LIGER) if arm in of_size.index]
        done = [arm for arm in both if of_size.loc[arm, "n_completed"]]
        if len(done) == 1:
            return Cell(f"only {done[0]}", "completed")
        return Cell("no verdict", "no common repeat")
    if pair["n_pairs"] < 2:
        return Cell("no verdict", "one pair of repeats")
    speed = against_range(pair["speedup_percent"], PUBLISHED_SPEEDUP)
    if not known(pair["memory_saving_percent"]):
        return Cell(f"speed {speed}")
    memory = against_range(pair["memory_saving_percent"], PUBLISHED_MEMORY_SAVING)
    return Cell(f"speed {speed}", f"memory {memory}")
