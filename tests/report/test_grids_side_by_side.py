"""Grids of several folders side by side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import grids
from support.pages import HOSTILE, Page
from support.runs import make_run

from liger_benchmark.__main__ import main
from liger_benchmark.analysis.grids_side_by_side import facts, results, unique_names
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.side_by_side import side_by_side_markdown, side_by_side_page
from liger_benchmark.run import Run, write_run

PROJECT = Path(__file__).parents[2]


def on_another_machine() -> list[Run]:
    runs = grids.grid(sizes=(16, 24), max_seq_length=1024)
    for run in runs:
        environment = run.record["environment"]
        environment["gpu"] = environment["gpu"] | {"name": "NVIDIA A100-SXM4-40GB"}
        environment["packages"] = environment["packages"] | {"torch": "2.12.0"}
    return runs


def test_what_differs_is_shown_and_what_all_settings_share_is_not() -> None:
    both = {"h": analyse(grids.one_batch_size()), "a": analyse(on_another_machine())}
    found = facts(both)
    assert found["hardware"] == {"h": "NVIDIA H100 80GB HBM3", "a": "NVIDIA A100-SXM4-40GB"}
    assert found["torch"] == {"h": "2.13.0", "a": "2.12.0"}
    assert found["triton"] == {"h": "3.7.1", "a": "3.7.1"}
    assert found["max_seq_length"]["a"] == "1024"
    assert "seed" not in found and "per_device_train_batch_size" not in found


def test_every_size_and_arm_of_any_grid_has_a_row() -> None:
    both = {"h": analyse(grids.one_batch_size()), "a": analyse(on_another_machine())}
    found = results(both)
    assert list(found) == [(16, "vanilla"), (16, "Liger"), (24, "vanilla"), (24, "Liger")]
    assert found[24, "Liger"]["h"].cell is None
    assert found[16, "vanilla"]["h"].is_baseline


def test_page_and_markdown_show_each_grids_own_gain_with_its_interval() -> None:
    analysis = analyse(grids.one_batch_size())
    both = {"h": analysis, "a": analyse(on_another_machine())}
    page = Page(side_by_side_page(both))
    speeds, memory = page.tables[:2]
    assert speeds[0] == ["Batch size", "Arm", "h", "a"]
    gain = analysis.comparison["speedup_percent"].iloc[0]
    assert re.fullmatch(rf"[\d,]+ \+{gain:.1f}% \(.*%\)", speeds[2][2])
    assert speeds[1][2].endswith("baseline") and speeds[3][2] == "not run"
    assert memory[0] == speeds[0]
    text = side_by_side_markdown(both)
    assert "| Batch size | Arm | h | a |\n| ---: | --- | ---: | ---: |" in text
    assert f"* **h**: {analysis.headline}" in text


def test_a_trial_shows_no_speeds_and_names_are_no_markup() -> None:
    text = side_by_side_page({HOSTILE: analyse(grids.on_cpu()), "b": analyse(grids.all_failed())})
    assert "<script>alert" not in text
    [row, *_] = Page(text).table("Batch size")
    assert row[HOSTILE] == "a trial"


def test_folders_of_one_name_are_told_apart() -> None:
    assert unique_names(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]


def test_the_command_writes_page_and_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "mine"
    for size in (16, 24):
        write_run(other / "runs" / f"{size}", make_run("vanilla", size))
    output = tmp_path / "out" / "both.html"
    published = PROJECT / "results" / "phi3-mini-h200-fastest-2048"
    assert main(["compare", str(published), str(other), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output.with_suffix('.md')}\n{output}\n"
    assert "phi3-mini-h200-fastest-2048" in output.with_suffix(".md").read_text(encoding="utf-8")
    assert main(["compare", str(other)]) == 1
    assert capsys.readouterr().err == "compare: name two result folders or more\n"


def test_names_are_escaped_in_markdown_as_in_every_other_table() -> None:
    both = {"a|b": analyse(grids.one_batch_size()), "c\\d": analyse(on_another_machine())}
    text = side_by_side_markdown(both)
    assert "| Batch size | Arm | a\\|b | c\\\\d |" in text
