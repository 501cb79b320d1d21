"""Cells without a result: named in one list that a link leads to, and counted in the headline."""

from __future__ import annotations

import pytest
from support import grids
from support.pages import Page, analysis_of, html_of

from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.report.markup import unbroken
from liger_benchmark.report.what_was_run import what_was_run
from liger_benchmark.report.without_result import link_to_without_result, without_result
from liger_benchmark.wording import MINUS, NO_VALUE

WRONG = ("vanilla + chunked_nll", "vanilla + torch_compile")


def two_invalid() -> Analysis:
    """Six arms, the losses of two of which differ from the baseline's by 30 and 60%."""
    runs = grids.six_arms()
    for run in runs:
        if run.training_args.arm in WRONG:
            share = 1.3 + 0.3 * WRONG.index(run.training_args.arm)
            run.history["loss"] = run.history["loss"] * share
    return analyse(runs)


@pytest.mark.parametrize(
    ("name", "link", "item"),
    [
        ("complete", "2 cells out of memory", "vanilla at batch size 56: 3 runs out of memory; "),
        (
            "with_failures",
            "2 cells failed",
            "Liger at batch size 16: 1 run failed; RuntimeError: CUDA ",
        ),
        ("all_failed", "2 cells failed, 2 out of memory", "batch size 56: 2 runs out of memory; "),
    ],
)
def test_the_list_holds_what_failed_or_did_not_fit(name: str, link: str, item: str) -> None:
    analysis = analysis_of(name)
    assert link_to_without_result(analysis) == f'<a href="#failed">{link}</a>'
    assert item in without_result(analysis)
    page = Page(html_of(name))
    assert [a.get("href") for tag, a in page.tags if tag == "a"].count("#failed") == 2


def test_a_whole_grid_has_no_such_list() -> None:
    analysis = analysis_of("one_batch_size")
    assert without_result(analysis) == link_to_without_result(analysis) == ""


def test_arms_that_are_invalid_for_one_reason_are_one_sentence_and_are_counted() -> None:
    analysis = two_invalid()
    first, second = WRONG
    assert analysis.headline.startswith("Fastest of 6 arms (2 invalid) for Phi-3 mini")
    assert analysis.headline.endswith(f" {first} and {second} are invalid at batch size 8.")
    [warning] = [text for text in analysis.warnings if "invalid" in text]
    assert warning.startswith(
        f"{first} and {second} at batch size 8 are invalid, and left out of every comparison: "
        "their losses differ from the baseline's by up to 30% and 60%"
    )
    assert link_to_without_result(analysis) == '<a href="#failed">2 cells invalid</a>'
    assert f"<li>{first} and {second} at batch size 8 are invalid, " in without_result(analysis)


def test_the_memory_cap_stands_under_the_headline() -> None:
    analysis = analysis_of("complete")
    assert "NVIDIA H100 80GB HBM3, memory capped at 39 of its 79 GiB · " in what_was_run(analysis)
    assert "memory capped at 39 of its 79 GiB" in html_of("complete")


@pytest.mark.parametrize(
    "text",
    ["2026-11-25", f"(31{NO_VALUE}37%)", f"{MINUS}3{NO_VALUE}4%", f"1.5{NO_VALUE}2"],
)
def test_no_line_ends_within_a_date_or_a_range(text: str) -> None:
    assert unbroken(f"a {text} b") == f'a <span class="unbroken">{text}</span> b'
    assert unbroken("liger-kernel 0.8.5 & 48") == "liger-kernel 0.8.5 &amp; 48"
