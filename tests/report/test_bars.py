"""The bar plots: which way the bars run, in which order, and what stands where there is none."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from support import grids
from support.pages import Page

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.figures.bars import memory_bars, throughput_bars
from liger_benchmark.run import FAILED, Run

ARMS = ("vanilla", "Liger", "Liger + adamw_torch", "vanilla + adamw_torch")


def texts(svg: str) -> list[str]:
    return Page(svg).svg_texts


def cells_of(n_arms: int, sizes: tuple[int, ...] = (16, 32), **settings: object) -> pd.DataFrame:
    arms = {arm: grids.FOUR_ARMS[arm] for arm in ARMS[:n_arms]}
    return analyse(grids.grid(sizes=sizes, arms=arms, steps=4, **settings)).cells


@pytest.mark.parametrize("n_arms", [1, 2, 3, 4])
def test_bars_are_horizontal_from_three_arms_on(n_arms: int) -> None:
    arms = ARMS[:n_arms]
    shown = texts(throughput_bars(cells_of(n_arms), arms))
    assert ("batch size (sequences)" in shown) is (n_arms < 3)
    assert ("batch size 16" in shown) is (n_arms >= 3)
    for arm in arms:  # in the legend once, or beside each of its bars
        assert shown.count(arm) == (1 if n_arms < 3 else 2)


def test_very_many_bars_of_two_arms_are_horizontal() -> None:
    sizes = tuple(range(1, 22))
    shown = texts(throughput_bars(cells_of(2, sizes, repeats=1), ARMS[:2]))
    assert [text for text in shown if text.startswith("batch size")] == [
        f"batch size {size}" for size in sizes
    ]


def test_horizontal_bars_stand_in_the_order_of_sizes_and_arms() -> None:
    svg = throughput_bars(cells_of(3), ARMS[:3])
    at = [
        (float(y), text)
        for y, text in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>([^<]+)<', svg)
        if text in ARMS
    ]
    assert [text for _, text in sorted(at)] == [*ARMS[:3], *ARMS[:3]]


def test_a_cell_that_was_not_run_or_has_no_value_says_so() -> None:
    cells = cells_of(2)
    cells = cells[~((cells["arm"] == "Liger") & (cells["per_device_train_batch_size"] == 32))]
    assert texts(throughput_bars(cells, ARMS[:2])).count("not run") == 1
    mixed = grids.all_failed()
    mixed[-1] = Run(mixed[-1].training_args, FAILED)
    shown = texts(memory_bars(analyse(mixed).cells, ARMS[:2], "peak", 39.0))
    assert shown.count("failed") == 2 + 1  # the word stands on a line of its own
    assert (shown.count("OOM"), shown.count("OOM,")) == (1, 1)


def test_the_interval_reaches_from_its_stored_lower_end_to_its_upper_end() -> None:
    """Its length on the paper, against that of the bar it stands on."""
    cells = cells_of(1, (16,))
    cells["tokens_per_second"], cells["n_runs"], cells["n_completed"] = 1000.0, 3, 3
    cells["tokens_per_second_low"], cells["tokens_per_second_high"] = 750.0, 1050.0
    svg = throughput_bars(cells, ARMS[:1])
    bar = re.search(r'<path d="M ([\d.]+) ([\d.]+) L [\d.]+ [\d.]+ L [\d.]+ ([\d.]+) '
                    r'L [\d.]+ [\d.]+ z"[^>]*fill-opacity', svg)  # fmt: skip
    line = re.search(r'<path d="M ([\d.]+) ([\d.]+) L ([\d.]+) ([\d.]+) M ([\d.]+) ([\d.]+) '
                     r'L ([\d.]+) ([\d.]+) M', svg)  # fmt: skip
    assert bar and line
    height = float(bar[2]) - float(bar[3])
    foot = float(bar[2])
    assert (foot - float(line[6])) / height == pytest.approx(0.75, abs=0.01)
    assert (foot - float(line[8])) / height == pytest.approx(1.05, abs=0.01)
