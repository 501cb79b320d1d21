"""The summary that a terminal shows when a grid has ended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import grids
from support.pages import analysis_of

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.blog import claims_apply
from liger_benchmark.report.terminal import print_summary


@pytest.mark.parametrize("name", grids.ALL)
def test_the_terminal_shows_headline_table_and_path(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = analysis_of(name)
    path = Path("/a/rather/long/path" + "/folder" * 30) / "report.html"
    print_summary(analysis, path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(path)
    shown = " ".join(" ".join(lines).split())
    assert analysis.headline in shown
    assert "% of the tokens are padding" in shown or not analysis.cells["n_completed"].any()
    if analysis.hardware.trial:
        assert "Losses" in shown and "Gradients" in shown and "Liger active" in shown
        assert "Speed-up" not in shown and "Published claims" not in shown
        return
    verdict = analysis.verdict if claims_apply(analysis) else "not tested"
    assert shown.count(f"Published claims: {verdict}") == 1
    for size in analysis.cells["per_device_train_batch_size"].unique():
        assert any(re.match(rf"│\s*{size} │", line) for line in lines)


def test_the_terminal_does_not_read_names_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    runs = grids.grid(sizes=(16,), repeats=1, model_name="org/[red]model")
    print_summary(analyse(runs), Path("report.html"))
    assert "[red]model" in capsys.readouterr().out
