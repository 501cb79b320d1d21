"""The report of grids with any arms: its table, figures, inputs file and baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support import grids
from support.pages import HOSTILE, Page, decks_of, html_of
from support.tables import write_grid

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.report.inputs import inputs_yaml
from liger_benchmark.report.page import main, render_page
from liger_benchmark.run import FAILED, Run


def test_the_table_has_a_row_for_every_arm_and_no_empty_column() -> None:
    six = Page(decks_of("six_arms")["Benchmarking Results"]).table("Speed-up")
    assert [row["Arm"] for row in six] == [
        "Liger + torch_compile", "Liger", "vanilla + torch_compile", "vanilla + chunked_nll",
        "vanilla", "vanilla + torch_compile + chunked_nll",
    ]  # fmt: skip
    assert [row["J/token"] for row in six] == [
        *("0.0273", "0.0300", "0.0250", "0.0288", "0.0300", "0.0333"),
    ]
    assert [row["Arm"] for row in six if row["Against the published"]] == ["Liger"]
    four = Page(decks_of("four_arms")["Benchmarking Results"]).table("Speed-up")
    maths = {row["Arm"]: row["Loss differ\N{SOFT HYPHEN}ence"] for row in four[:4]}
    assert maths == {
        "vanilla": "–", "Liger": "0.1%",
        "Liger + adamw_torch": "other maths", "vanilla + adamw_torch": "other maths",
    }  # fmt: skip
    assert "J/token" not in four[0]
    assert "Against the published" not in Page(html_of("no_vanilla")).table("Speed-up")[0]
    alone = Page(html_of("one_arm")).table("GiB")
    assert list(alone[0]) == ["Batch size", "Arm", "Tokens/s", "GiB", "MFU, %"]


def test_the_blogs_claims_are_named_as_liger_against_vanilla_among_other_arms() -> None:
    page = Page(render_page(analyse(grids.six_arms(), "Liger")))
    assert "what this grid shows for Liger against vanilla" in page.text
    rows = page.table("Speed-up")
    assert rows[1]["Arm"] == "Liger" and rows[1]["Speed-up"] == "baseline"
    assert rows[1]["Against the published"] == "speed within memory within"
    text = Page(html_of("no_vanilla")).text
    assert "were not tested: this grid has no arm called vanilla and none called Liger." in text


def test_horizontal_bars_carry_their_numbers_and_their_arms_names() -> None:
    six = Page(decks_of("six_arms")["Benchmarking Results"]).svg_texts
    for number in ("12.6k", "17.0k", "batch size 8", "Liger + torch_compile"):
        assert number in six
    many = Page(decks_of("many_bars")["Benchmarking Results"]).svg_texts
    assert many.count("OOM") == 8 and many.count("failed") == 2 + 4  # in the answer four times
    assert "16.9k 2 of 3" in many


@pytest.mark.parametrize("name", ["complete", "six_arms", "four_arms", "many_bars", "no_vanilla"])
def test_the_inputs_shown_span_the_grid_that_was_run(tmp_path: Path, name: str) -> None:
    runs = grids.ALL[name]()
    assert inputs_yaml(runs) in Page(decks_of(name)["Environment"]).text
    assert "arm_name" not in inputs_yaml(runs)
    assert "baseline" not in inputs_yaml(runs)
    assert spanned_by(inputs_yaml(runs), tmp_path) == [run.training_args for run in runs]


def spanned_by(text: str, folder: Path) -> list[TrainingArguments]:
    """The grid of an inputs file by repeat, batch size and arm, as results are read.

    Every second repeat runs the arms in reverse.
    """
    path = folder / "inputs.yaml"
    path.write_text(text)
    grid = read_inputs_file(path).grid
    arms = [arguments.arm for arguments in grid]
    return sorted(grid, key=lambda a: (a.run, a.per_device_train_batch_size, arms.index(a.arm)))


def test_the_inputs_shown_name_the_arms_of_a_part_and_the_baseline(tmp_path: Path) -> None:
    text = inputs_yaml(grids.six_arms(), "Liger")
    assert yaml.safe_load(text)["experiment_args"] == {
        "use_liger": [False, True],
        "per_device_train_batch_size": [8],
        "torch_compile": [False, True],
        "loss_type": ["nll", "chunked_nll"],
        "arms": list(grids.SIX_ARMS),
        "baseline": "Liger",
    }
    assert spanned_by(text, tmp_path) == [run.training_args for run in grids.six_arms()]


def test_the_inputs_worked_out_from_runs_span_the_same_grid(tmp_path: Path) -> None:
    text = """
experiment_args:
  use_liger: [false, true]
  per_device_train_batch_size: [4, 8]
  liger_kernels: [[rope], [rms_norm, rope], [rope, rms_norm, swiglu, fused_linear_cross_entropy]]
  learning_rate: [1.0e-5, 6.0e-4]
  gpu_memory_limit_gib: [null, 39.5]
  baseline: Liger (rope)
n_runs: 2
"""
    grid = spanned_by(text, tmp_path)
    again = inputs_yaml([Run(args, FAILED) for args in grid], "Liger (rope)")
    assert spanned_by(again, tmp_path) == grid
    assert "baseline: Liger (rope)" in again


def test_an_arms_name_is_escaped_and_taken_literally() -> None:
    arms = {"vanilla": {}, f"{HOSTILE} $x_1$ --> a": {"optim": "adamw_torch"}, "L" * 300: {}}
    arms["L" * 300] = {"seed": 7}
    page = render_page(analyse(grids.grid(sizes=(16,), repeats=2, arms=arms, steps=4)))
    assert "<script>alert" not in page
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert f"{HOSTILE} $x_1$ --> a" in parsed.text
    assert any("$x_1$" in text for text in parsed.svg_texts)


def test_the_command_takes_a_baseline_and_refuses_an_unknown_one_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_grid(tmp_path / "a", grids.six_arms())
    assert main([str(folder), "--baseline", "nobody"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert 'no arm is called "nobody"' in shown.err and "vanilla + chunked_nll" in shown.err
    assert not (folder / "report.html").exists()
    assert main([str(folder), "--baseline", "Liger"]) == 0
    assert "10% faster than Liger" in Page((folder / "report.html").read_text()).text
