"""The table "By batch size": a row for each batch size and arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from liger_benchmark.analysis.claims import (
    PUBLISHED_MEMORY_SAVING,
    PUBLISHED_SPEEDUP,
    against_range,
)
from liger_benchmark.analysis.runs_table import PADDED_TOKENS_PER_SECOND
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.choices import (
    BATCH_SIZE,
    LIGER,
    VANILLA,
)
from liger_benchmark.columns import TOTAL_PEAK_RESIDENT_SET_MB
from liger_benchmark.report.arm_order import arms_shown
from liger_benchmark.report.blog import claims_apply
from liger_benchmark.report.markup import (
    Cell,
    Column,
    arm_cell,
    integer_cell,
    number_cell,
    text_in_number_column,
)
from liger_benchmark.report.outcomes import completed_of, gain_text, no_number
from liger_benchmark.wording import (
    all_the_same,
    gibibytes,
    known,
    number,
    percent_range,
    signed,
    significant,
    small_fraction,
)


@dataclass(frozen=True)
class _Row:
    """What a row is made from.

    Attributes:
        arm: the row's arm.
        cell: the row of `Analysis.cells`; None if the arm was not run at this batch size.
        pair: the row of `Analysis.comparison`; None for the baseline.
        published: the row of `Analysis.published`; None for every arm but Liger.
        of_size: the cells of all arms at this batch size, by arm.
    """

    arm: str
    cell: pd.Series | None
    pair: pd.Series | None
    published: pd.Series | None
    of_size: pd.DataFrame


@dataclass(frozen=True)
class Table:
    """A table before it is written as HTML or as Markdown."""

    caption: str
    columns: list[Column]
    rows: list[list[Cell]]


def by_batch_size(analysis: Analysis) -> Table:
    """The table "By batch size": columns that no row has anything for are left out."""
    columns = _columns(analysis)
    headings = [Column("Batch size", True), Column("Arm"), *(column for column, _ in columns)]
    arms = arms_shown(analysis)
    rows = []
    for size in sorted(analysis.cells[BATCH_SIZE].unique()):
        of_size = analysis.cells[analysis.cells[BATCH_SIZE] == size].set_index("arm")
        for arm in arms:
            row = _Row(
                arm,
                of_size.loc[arm] if arm in of_size.index else None,
                _row_of(analysis.comparison, size, arm),
                _row_of(analysis.published, size, arm),
                of_size,
            )
            rows.append([integer_cell(size), arm_cell(arm), *(make(row) for _, make in columns)])
    return Table(_caption(analysis), headings, rows)


def _columns(analysis: Analysis) -> list[tuple[Column, Callable[[_Row], Cell]]]:
    """The columns after the arm's, each with what makes its cell for a row."""
    several = len(analysis.arms) > 1
    cells = analysis.cells
    shown: list[tuple[Column, Callable[[_Row], Cell]]] = [(Column("Tokens/s", True), _speed_cell)]
    if several:
        shown.append((Column("Speed-up", True), _speedup_cell))
    shown.append((Column("GiB", True), _memory_cell))
    if several:
        shown.append((Column("Saving", True), _saving_cell))
    if cells["mfu"].notna().any():
        shown.append((Column("MFU, %", True), _mfu_cell))
    if cells["energy_J_per_token"].notna().any():
        shown.append((Column("J/token", True), _energy_cell))
    if several:
        shown.append((Column("Loss differ\N{SOFT HYPHEN}ence", True), _loss_cell))
    if claims_apply(analysis):
        shown.append((Column("Against the published"), _against_cell))
    return shown


def _caption(analysis: Analysis) -> str:
    caption = f"Means with their 95% intervals; GiB: {memory_name(analysis).lower()}"
    if len(analysis.arms) > 1:
        caption += f"; speed-up, saving and loss difference: against {analysis.baseline}"
    caption += _equal_repeats(analysis.cells)
    if analysis.runs_table[PADDED_TOKENS_PER_SECOND].notna().any():
        caption += "; tokens: without padding"
    if analysis.cells["loop_tokens_per_second"].notna().any():
        caption += (
            "; loop: with what lies between the steps (loading and collating batches, copies, "
            "logging)"
        )
    if analysis.cells["allocated_memory_MB"].notna().any():
        caption += "; used: peak memory that was allocated, without the allocator’s stock"
    return f"{caption}."


def tokens_counted(analysis: Analysis) -> str:
    """Which tokens the speeds count, in a sentence."""
    if analysis.runs_table[PADDED_TOKENS_PER_SECOND].notna().any():
        return (
            "Tokens are without padding, since an arm is packed or has none; the rates with it are "
            "under “Runs”."
        )
    return "Tokens include padding, as in the blog."


def memory_name(analysis: Analysis) -> str:
    """What the memory figures are: the allocator's on a GPU, the process's on a CPU."""
    on_cpu = analysis.memory_column == TOTAL_PEAK_RESIDENT_SET_MB
    return "Peak resident set" if on_cpu else "Peak reserved memory"


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


def _speed_cell(row: _Row) -> Cell:
    """Tokens per second of the steps, with that of the whole loop below."""
    more = _detail(row.cell, "loop_tokens_per_second", lambda rate: f"loop {number(rate)}")
    return _mean_cell(row, "tokens_per_second", 1.0, 0, more)


def _memory_cell(row: _Row) -> Cell:
    """Peak reserved memory, with the peak that was allocated below."""
    more = _detail(row.cell, "allocated_memory_MB", lambda mb: f"used {gibibytes(mb, 2)}")
    return _mean_cell(row, "peak_memory_MB", 1024.0, 2, more)


def _speedup_cell(row: _Row) -> Cell:
    more = _detail(row.pair, "loop_speedup_percent", lambda percent: f"loop {signed(percent)}%")
    return _gain_cell(row, "speedup", more)


def _saving_cell(row: _Row) -> Cell:
    more = _detail(row.pair, "allocated_saving_percent", lambda p: f"used {signed(p)}%")
    return _gain_cell(row, "memory_saving", more)


def _detail(values: pd.Series | None, name: str, write: Callable[[float], str]) -> str:
    return write(values[name]) if values is not None and known(values[name]) else ""


def _mean_cell(row: _Row, column: str, divisor: float, decimals: int, more: str = "") -> Cell:
    """A cell's mean with its interval, and `more` below."""
    cell = row.cell
    if cell is None or not known(cell[column]):
        return text_in_number_column(no_number(cell))
    value, high = (cell[name] / divisor for name in (column, f"{column}_high"))
    details = []
    if known(high) and not all_the_same(cell[f"{column}_low"], cell[f"{column}_high"]):
        rounded = number(high - value, decimals)
        details.append(f"± {rounded}" if rounded.strip("0.") else f"± < {10**-decimals:g}")
    details += [completed_of(cell), more]
    return number_cell(value, lambda v: number(v, decimals), "\n".join(filter(None, details)))


def _gain_cell(row: _Row, name: str, more: str = "") -> Cell:
    """A gain over the baseline with its interval and the number of pairs, and `more` below."""
    if row.pair is None or not known(row.pair[f"{name}_percent"]):
        return text_in_number_column(gain_text(row.pair, name))
    value, low, high = (row.pair[f"{name}_{part}"] for part in ("percent", "low", "high"))
    n_pairs = int(row.pair["n_pairs"])
    if all_the_same(low, high):
        detail = f"same in\n{n_pairs} repeats" if n_pairs > 1 else ""
    else:
        detail = f"{percent_range(low, high, 1)}" if known(low) else "one repeat"
    # A range with signs is long: it takes two lines, so that the table fits a narrow window.
    details = (detail.replace(" to ", " to\n"), more)
    return number_cell(value, lambda _: gain_text(row.pair, name), "\n".join(filter(None, details)))


def _mfu_cell(row: _Row) -> Cell:
    value = None if row.cell is None else row.cell["mfu"]
    return number_cell(value, lambda fraction: number(100 * fraction, 1))


def _energy_cell(row: _Row) -> Cell:
    return number_cell(None if row.cell is None else row.cell["energy_J_per_token"], significant)


def _loss_cell(row: _Row) -> Cell:
    if row.pair is None:
        return number_cell(None, small_fraction)
    if not row.pair["same_maths"]:
        return text_in_number_column("other maths")
    mark = "above bound" if row.pair["loss_above_bound"] else ""
    return number_cell(row.pair["loss_difference"], small_fraction, mark)


def _against_cell(row: _Row) -> Cell:
    """How Liger's gains over vanilla lie to the blog's, whatever the grid's baseline is."""
    pair, of_size = row.published, row.of_size
    if row.arm != LIGER:
        return Cell()
    if pair is None:
        return Cell("no verdict")
    if not known(pair["speedup_percent"]):
        both = [arm for arm in (VANILLA, LIGER) if arm in of_size.index]
        done = [arm for arm in both if of_size.loc[arm, "n_completed"]]
        if len(done) == 1:
            return Cell(f"only {done[0]}", "completed")
        invalid = [arm for arm in both if of_size.loc[arm, "invalid"]]
        return Cell("no verdict", f"{invalid[0]} is invalid" if invalid else "no common repeat")
    if pair["n_pairs"] < 2:
        return Cell("no verdict", "one pair of repeats")
    speed = _against(pair, "speedup", PUBLISHED_SPEEDUP)
    if not known(pair["memory_saving_percent"]):
        return Cell(f"speed {speed}")
    memory = _against(pair, "memory_saving", PUBLISHED_MEMORY_SAVING)
    return Cell(f"speed {speed}", f"memory {memory}")


def _against(pair: pd.Series, name: str, published: tuple[float, float]) -> str:
    """Where a gain lies to the published range, decided as the claims are."""
    value, low, high = (pair[f"{name}_{part}"] for part in ("percent", "low", "high"))
    return against_range(value, low, high, published)
