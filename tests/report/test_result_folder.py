"""A result folder's page, and the index of all result folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import grids
from support.pages import HOSTILE, Page

from liger_benchmark import files, store
from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.report import page, result_folder
from liger_benchmark.report.page import render_page
from liger_benchmark.report.result_folder import publish, publish_part, write_index


def fake_page(analysis: Analysis, notice: str = "") -> str:
    return f"<main><p>{notice}</p>the page</main>"


@pytest.fixture(autouse=True)
def quick_page(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (page, result_folder):
        monkeypatch.setattr(module, "render_page", fake_page)


def test_the_index_lists_every_folder_with_its_headline_and_latest_is_the_newest(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "2026-11-24-phi3-h100", tmp_path / "2026-11-25-phi3-h100"
    analysis = analyse(grids.one_batch_size())
    publish(analysis, first)
    os.utime(first / "report.html", (1, 1))
    publish(analyse(grids.all_failed()), second)
    index = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    rows = index.table("Experiment")
    assert [row["Experiment"] for row in rows] == [second.name, first.name]
    assert rows[1]["Result"] == analysis.headline
    assert rows[0]["Runs"] == "0 of 8 completed"
    links = [attrs["href"] for tag, attrs in index.tags if tag == "a"]
    assert links == [f"{second.name}/report.html", f"{first.name}/report.html"]
    assert (tmp_path / "latest").resolve() == second


def test_the_index_shows_texts_as_texts_and_folders_of_earlier_versions(tmp_path: Path) -> None:
    for name in ("old", "odd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").touch()
    store.update_experiment_file(tmp_path / "odd", {"headline": HOSTILE})
    rows = Page(write_index(tmp_path).read_text(encoding="utf-8")).table("Experiment")
    assert {row["Experiment"]: row["Result"] for row in rows} == {"old": "", "odd": HOSTILE}


def test_a_part_of_a_grid_says_on_top_that_it_is_one(tmp_path: Path) -> None:
    analysis = analyse(grids.one_batch_size()[:4])
    path = publish_part(analysis, tmp_path / "grid", 36)
    assert "<main><p" in (text := path.read_text(encoding="utf-8"))
    assert "A part of the grid: 4 of 36 runs have ended." in text
    assert store.read_experiment_file(path.parent)["headline"].startswith("A part of the grid")
    publish(analysis, path.parent)
    assert store.read_experiment_file(path.parent)["headline"] == analysis.headline


def test_the_notice_stands_on_top_of_the_page_as_text() -> None:
    analysis = analyse(grids.one_batch_size()[:4])
    assert '<main><p class="notice">4 &lt; 36</p><section>' in render_page(analysis, "4 < 36")
    assert "<main><section>" in render_page(analysis)


def test_a_page_that_a_browser_reloads_is_the_old_one_or_the_whole_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError("disk full")

    (tmp_path / "report.html").write_text("the old page")
    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        publish(analyse(grids.one_batch_size()), tmp_path)
    assert (tmp_path / "report.html").read_text() == "the old page"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
