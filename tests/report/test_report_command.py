"""The command that rebuilds a page from folders of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import grids
from support.pages import Page
from support.tables import write_grid

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.page import main


def test_the_command_rebuilds_the_page_from_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = grids.one_batch_size()
    parts = [write_grid(tmp_path / "a", runs[:3]), write_grid(tmp_path / "b", runs[3:])]
    output = tmp_path / "out" / "page.html"
    assert main([*map(str, parts), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert analyse(runs).headline in Page(output.read_text(encoding="utf-8")).text
    assert main([str(parts[0])]) == 0
    assert (parts[0] / "report.html").exists()


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        write_grid(tmp_path / "a", [grids.make_run("Liger", 16)]),
        write_grid(tmp_path / "b", [grids.make_run("vanilla", 16, seed=7)]),
    ]
    assert main([str(part) for part in parts]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert "seed differs: 42 in a/" in shown.err
    assert not (parts[0] / "report.html").exists()
