"""What the report writes about a cell's runs, and in place of a number that is not there.

A cell is a row of `Analysis.cells`: an arm at one batch size. A pair is a row of
`Analysis.comparison`: an arm against the baseline at one batch size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liger_benchmark.wording import NO_VALUE, enumerate_words, known, signed


def no_number(cell: Mapping[str, Any] | None) -> str:
    """Why a cell has no mean: `not run`, `invalid`, `OOM` or `failed`, or a dash if runs completed.

    A cell that was not run is None or has no runs.
    """
    if cell is None or not cell["n_runs"]:
        return "not run"
    if cell["invalid"]:
        return "invalid"
    if cell["n_completed"]:
        return NO_VALUE
    if cell["n_out_of_memory"] and cell["n_failed"]:
        return "OOM, failed"
    return "OOM" if cell["n_out_of_memory"] else "failed"


def completed_of(cell: Mapping[str, Any]) -> str:
    """`2 of 3` runs completed; empty if all did."""
    if cell["n_completed"] == cell["n_runs"]:
        return ""
    return f"{cell['n_completed']:.0f} of {cell['n_runs']:.0f}"


def gain_text(pair: Mapping[str, Any] | None, name: str) -> str:
    """`+26.4%`, or a dash where nothing could be compared.

    Args:
        pair: None for the baseline itself, which is marked as that in the speed-up's place.
        name: "speedup" or "memory_saving".
    """
    if pair is None:
        return "baseline" if name == "speedup" else NO_VALUE
    percent = pair[f"{name}_percent"]
    return f"{signed(percent)}%" if known(percent) else NO_VALUE


def outcome_words(cell: Mapping[str, Any]) -> str:
    """What became of a cell's runs: `out of memory`, or with counts where they differ."""
    if cell["invalid"]:
        return f"invalid: {cell['invalid']}"
    words = {"n_completed": "completed", "n_out_of_memory": "out of memory", "n_failed": "failed"}
    there = [(int(cell[key]), word) for key, word in words.items() if cell[key]]
    if len(there) == 1:
        return there[0][1]
    return enumerate_words(f"{count} {word}" for count, word in there)


def no_gain(
    cell: Mapping[str, Any] | None, of_baseline: Mapping[str, Any] | None, arm: str, baseline: str
) -> str:
    """Why an arm could not be compared with the baseline: `only Liger fits`, `vanilla failed`.

    Args:
        cell, of_baseline: the cells of the two at one batch size.
    """
    own, other = no_number(cell), no_number(of_baseline)
    if own == other:
        shown = {NO_VALUE: "no common repeat", "OOM": "both out of memory"}
        return shown.get(own, f"both {own}")
    if own == NO_VALUE:
        return f"only {arm} fits" if other == "OOM" else f"{baseline}: {other}"
    return "out of memory" if own == "OOM" else own
