"""The report's texts, tables and downloads against the data, on fixed grids."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from support import grids
from support.pages import HOSTILE, Page, analysis_of, decks_of, html_of

from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.figures.bars import memory_bars, throughput_bars
from liger_benchmark.report.page import render_decks, render_page, write_page
from liger_benchmark.run import FAILED, Run

DECKS = ["Benchmarking Results", "Training curves", "Where the time goes", "Runs", "Environment"]


@pytest.fixture(scope="module")
def complete() -> Page:
    return Page(html_of("complete"))


@pytest.mark.parametrize("name", grids.ALL)
def test_every_grid_has_five_decks_and_a_page(name: str) -> None:
    analysis = analysis_of(name)
    decks = decks_of(name)
    assert list(decks) == DECKS
    for title, html in decks.items():
        fragment = Page(html)
        assert f"{title}" in fragment.text
        assert fragment.headings[0] == 2
    page = Page(html_of(name))
    assert analysis.headline in page.text
    assert "nan" not in page.text.lower().split()


@pytest.mark.parametrize("name", grids.ALL)
def test_headings_descend_one_level_at_a_time(name: str) -> None:
    levels = Page(html_of(name)).headings
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below <= above + 1 for above, below in zip(levels, levels[1:], strict=False))


def test_every_figure_has_a_name_and_every_table_a_caption(complete: Page) -> None:
    svgs = [attrs for tag, attrs in complete.tags if tag == "svg"]
    assert len(svgs) == 7  # the answer is drawn for a wide and for a narrow window
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in svgs)
    tags = [tag for tag, _ in complete.tags]
    assert tags.count("table") == tags.count("caption")
    assert all("scope" in attrs for tag, attrs in complete.tags if tag == "th")


def test_ids_are_unique_and_every_reference_finds_its_own(complete: Page) -> None:
    ids = [str(attrs["id"]) for _, attrs in complete.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    html = html_of("complete")
    used = re.findall(r'xlink:href="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert used and set(used) <= set(ids)


def test_the_same_runs_give_the_same_page() -> None:
    assert render_page(analyse(grids.complete())) == html_of("complete")


def test_the_page_loads_nothing(complete: Page) -> None:
    loading = {"src", "srcset", "action", "poster", "data"}
    for tag, attrs in complete.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not loading & set(attrs)
        href = str(attrs.get("href") or attrs.get("xlink:href") or "#")
        assert href.startswith(("#", "data:", "https://wandb.ai/"))
    html = html_of("complete")
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


def test_a_page_of_36_runs_of_40_steps_stays_small() -> None:
    assert len(html_of("complete").encode()) < 2_000_000


def test_bars_carry_their_means_and_cells_out_of_memory_say_so() -> None:
    analysis = analysis_of("complete")
    texts = Page(decks_of("complete")["Benchmarking Results"]).svg_texts
    for _, cell in analysis.cells.iterrows():
        if cell["n_completed"]:
            assert f"{cell['tokens_per_second'] / 1000:,.1f}k" in texts
            assert f"{cell['peak_memory_MB'] / 1024:.1f}" in texts
    assert texts.count("OOM") == 4  # two cells in either plot
    assert {"limit", "39 GiB", "tokens per second", "batch size (sequences)"} <= set(texts)


def test_failed_cells_and_incomplete_ones_are_written_into_the_figure() -> None:
    runs = [
        Run(run.training_args, FAILED)
        if run.training_args.slug.startswith("phi3-mini-bs-24-vanilla")
        else run
        for run in grids.with_failures()
    ]
    texts = Page(render_decks(analyse(runs))["Benchmarking Results"]).svg_texts
    assert "failed" in texts and "2 of 3" in texts


def test_an_interval_that_leaves_the_plot_does_not_hide_the_number() -> None:
    analysis = analysis_of("wide_intervals")
    speed = throughput_bars(analysis.cells, analysis.arms)
    memory = memory_bars(analysis.cells, analysis.arms, "peak", None)
    assert {"6,800", "26", "0.42"} <= {*Page(speed).svg_texts, *Page(memory).svg_texts}


def test_the_table_by_batch_size_holds_the_comparison() -> None:
    analysis = analysis_of("complete")
    rows = Page(decks_of("complete")["Benchmarking Results"]).table("Speed-up")
    assert [(row["Batch size"], row["Arm"]) for row in rows] == [
        (str(size), arm) for size in grids.SIZES for arm in ("vanilla", "Liger")
    ]
    for vanilla, liger, (_, compared) in zip(
        rows[::2], rows[1::2], analysis.comparison.iterrows(), strict=True
    ):
        assert (vanilla["Speed-up"], vanilla["Saving"]) == ("baseline", "–")
        assert vanilla["Against the published"] == ""
        if compared["n_pairs"]:
            low, high = compared["speedup_low"], compared["speedup_high"]
            speedup = f"+{compared['speedup_percent']:.1f}%"
            gain = f"{speedup} {low:.1f}–{high:.1f}%\nloop {speedup}"
            assert liger["Speed-up"] == gain
            assert liger["Saving"].startswith(f"+{compared['memory_saving_percent']:.1f}%")
        else:
            assert (vanilla["Tokens/s"], vanilla["GiB"]) == ("OOM", "OOM")
            assert liger["Speed-up"] == liger["Saving"] == "–"
            assert liger["Against the published"] == "only Liger completed"
    assert [row["MFU, %"] for row in rows[:2]] == ["30.1", "38.1"]
    assert rows[1]["Against the published"] == "speed within memory within"
    assert rows[7]["Against the published"] == "speed above memory above"


def test_claims_and_verdict_are_shown_with_their_numbers(complete: Page) -> None:
    assert "The published gains are reproduced." in complete.text
    rows = complete.table("Judgement")
    assert [row["Judgement"] for row in rows] == ["reproduced"] * 3
    assert "+26.4% (23.3–29.6%) at batch size 16" in rows[0]["Measured here"]
    assert rows[1]["Measured here"] == (
        "from 12.7% less at batch size 16 to 19.6% less at batch size 40, "
        "the same in all 3 repeats; of the memory used 12.7% less to 19.6% less"
    )


def test_equal_repeats_are_named_in_the_caption_and_have_no_interval(complete: Page) -> None:
    assert "memory was the same in every repeat" in complete.text
    assert "± 0.00" not in complete.text and "± < 0.1 " not in complete.text
    row = complete.table("Speed-up")[1]
    assert row["GiB"] == "20.39 used 19.57"
    assert row["Saving"] == "+12.7% same in\n3 repeats\nused +12.7%"
    assert "±" in row["Tokens/s"]
    runs = grids.one_batch_size()
    for run in runs:
        run.history["total_peak_memory_reserved_MB"] += run.training_args.run
    page = Page(render_page(analyse(runs)))
    assert "the same in every repeat" not in page.text
    assert page.table("Speed-up")[1]["GiB"] == "20.39 ± < 0.01\nused 19.57"


def test_vanilla_stands_before_liger_in_every_table(complete: Page) -> None:
    for rows in complete.tables:
        arms = [cell for row in rows[1:] for cell in row[:2] if cell in ("vanilla", "Liger")]
        assert arms == ["vanilla", "Liger"] * (len(arms) // 2)
        headings = " ".join(rows[0])
        if "vanilla" in headings:
            assert headings.index("vanilla") < headings.index("Liger")


def test_how_to_repeat_a_run_names_the_versions_only_where_they_are_recorded(
    complete: Page,
) -> None:
    text = complete.text
    assert text.index("Machine and packages") < text.index("with the versions above, start it")
    bare = [Run(run.training_args, FAILED) for run in grids.one_batch_size()]
    assert "with the versions above" not in Page(render_page(analyse(bare))).text


def test_one_repeat_gives_neither_a_verdict_nor_an_interval() -> None:
    page = Page(html_of("one_repeat"))
    assert "Not enough repeats for a verdict" in page.text
    assert page.table("Speed-up")[1]["Speed-up"] == "+26.4% one repeat\nloop +26.4%"
    assert "± " not in page.table("Speed-up")[1]["Tokens/s"]


def test_a_cpu_run_says_on_top_that_its_timings_mean_nothing() -> None:
    page = Page(decks_of("on_cpu")["Benchmarking Results"])
    assert page.text.startswith("Benchmarking ResultsLiger's kernels ran in Triton's interpreter")
    assert "timings and memory mean nothing" in page.text
    smoke = Page(decks_of("smoke_model_on_gpu")["Benchmarking Results"])
    assert smoke.text.startswith("Benchmarking ResultsA smoke model, too small to say anything")
    for trial in (page, smoke):
        assert trial.text.count("mean nothing") <= 2  # the notice and the headline
        headings = {heading for rows in trial.tables for heading in rows[0]}
        assert not {"Speed-up", "Tokens/s", "GiB", "Judgement"} & headings
        assert trial.table("Outcome")[1]["Liger’s parts active"] == "all 130"


def test_every_run_is_listed_with_its_reason_and_its_links() -> None:
    fragment = decks_of("with_failures")["Runs"]
    rows = Page(fragment).table("Outcome")
    assert len(rows) == 12
    assert rows[1]["Outcome"] == (
        "failed RuntimeError: CUDA error: an illegal memory access was met"
    )
    assert rows[4]["Outcome"] == "failed no result was returned; see the task's log"
    assert fragment.count('href="https://wandb.ai/team/liger/runs/') == 9


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", 7, None])
def test_only_web_addresses_become_links(url: object) -> None:
    run = grids.make_run("Liger", 16)
    run.record["wandb_url"] = url
    hrefs = [str(a["href"]) for t, a in Page(render_page(analyse([run]))).tags if t == "a"]
    assert all(href.startswith(("data:text/csv", "data:application/json", "#")) for href in hrefs)


def test_the_raw_numbers_are_inside_the_page(complete: Page) -> None:
    files = complete.downloads()
    runs = list(csv.DictReader(io.StringIO(files["runs.csv"])))
    steps = list(csv.DictReader(io.StringIO(files["histories.csv"])))
    content = json.loads(files["analysis.json"])
    assert len(runs) == len(content["runs"]) == 36
    assert len(steps) == 30 * 40
    first = grids.complete()[0]
    assert float(steps[0]["loss"]) == pytest.approx(first.history["loss"][0], rel=1e-8)
    assert content["verdict"] == "reproduced"
    assert content["runs"][0]["weights"]["n_parameters"] == 3_821_079_552


def test_active_liger_parts_and_recorded_values_are_shown(complete: Page) -> None:
    vanilla, liger = complete.table("RMSNorm")
    assert (liger["RMSNorm"], vanilla["RMSNorm"]) == ("65 of 65", "0 of 65")
    assert liger["fused linear cross-entropy"] == "1 of 1"
    for value in ("2.13.0", "575.57.08", "700", "builtin:instructions", "sdpa", "0.12"):
        assert any(value in row[-1] for rows in complete.tables for row in rows)


def hostile_runs() -> list[Run]:
    runs = grids.grid(sizes=(16,), repeats=2, model_name=f"x/{HOSTILE}", dataset_name=HOSTILE)
    runs[0] = Run(runs[0].training_args, FAILED, record={
        "error": {"type": HOSTILE, "message": HOSTILE, "traceback": HOSTILE}})  # fmt: skip
    for run in runs[1:]:
        run.record["environment"]["gpu"]["name"] = HOSTILE
        run.record["environment"]["packages"][HOSTILE] = HOSTILE
        run.record["weights"]["source"] = HOSTILE
        run.record["wandb_url"] = f"https://wandb.ai/{HOSTILE}"
    runs[1].record["environment"]["gpu"]["other_processes"] = [{"pid": 1, "name": HOSTILE}]
    return runs


def test_what_comes_from_inputs_is_escaped() -> None:
    page = render_page(analyse(hostile_runs()))
    assert "<script>alert" not in page
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert HOSTILE in parsed.text
    known = {
        "class", "href", "download", "rel", "data-value", "scope", "lang", "charset", "name",
        "content", "role", "aria-label", "id", "d", "style", "transform", "x", "y", "width",
        "height", "viewbox", "version", "xmlns", "xmlns:xlink", "xlink:href", "clip-path", "type",
        "patternunits", "fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin",
        "data-name", "data-copy", "data-whole", "data-lines", "tabindex", "hidden",
    }  # fmt: skip
    assert {name for _, attrs in parsed.tags for name in attrs} <= known


def test_the_page_is_written_into_the_folder(tmp_path: Path) -> None:
    path = write_page(analyse(grids.one_batch_size()), tmp_path / "new")
    assert path == tmp_path / "new" / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
