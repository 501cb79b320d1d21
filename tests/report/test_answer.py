"""What the page says first: the picture, the order of arms, the advice, the data, Markdown."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support import grids
from support.pages import Page, analysis_of, decks_of, html_of

from liger_benchmark.analysis.headline_words import change
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.report.arm_order import arms_shown, fastest_arm
from liger_benchmark.report.blog import claims_apply
from liger_benchmark.report.data_line import data_line
from liger_benchmark.report.markdown import markdown_table
from liger_benchmark.report.markup import Cell, Column
from liger_benchmark.report.page import render_page
from liger_benchmark.report.recommendation import recommendation
from liger_benchmark.run import FAILED, Run
from liger_benchmark.wording import percent

RESULTS = "Benchmarking Results"


def order_of(html: str, *parts: str) -> list[int]:
    places = [html.find(part) for part in parts]
    assert -1 not in places, [part for part in parts if part not in html]
    return places


def test_the_answer_comes_first_and_tables_last() -> None:
    places = order_of(
        html_of("complete"),
        *('class="headline"', 'data-name="answer"', 'data-name="throughput"'),
        *('data-name="memory"', 'id="turn-on"', 'id="claims"', 'id="by-batch-size"'),
    )
    assert places == sorted(places)


def test_the_picture_has_a_row_for_each_batch_size_or_arm() -> None:
    two = Page(decks_of("complete")[RESULTS]).svg_texts
    assert "batch size 56" in two and two.count("only Liger fits") == 8  # 2 sizes, halves, widths
    assert "+26.4%" in two
    six = Page(decks_of("six_arms")[RESULTS]).svg_texts
    assert "vanilla (baseline)" in six
    rows = [text for text in six if text in (*grids.SIX_ARMS, "vanilla (baseline)")][:5]
    assert rows == [
        "Liger + torch_compile", "Liger", "vanilla + torch_compile", "vanilla + chunked_nll",
        "vanilla (baseline)",  # the name of the slowest stands on two lines
    ]  # fmt: skip


def test_the_published_range_is_shaded_only_for_the_blogs_model_and_arms() -> None:
    assert "Shaded: what the blog reports" in html_of("complete")
    assert "Shaded: what the blog reports" not in html_of("six_arms")
    other = analyse(grids.grid(sizes=(16,), model_name="org/other"))
    assert not claims_apply(other)
    page = Page(render_page(other))
    assert "Shaded: what the blog reports" not in page.text
    assert "they are about Phi-3 mini at 128 tokens a sequence" in page.text
    assert "Against the published" not in page.table("Speed-up")[0]
    assert not claims_apply(analyse(grids.grid(sizes=(16,), max_seq_length=2048)))
    assert claims_apply(analysis_of("six_arms"))


def test_many_arms_are_sorted_by_speed_and_two_are_not() -> None:
    assert arms_shown(analysis_of("complete")) == ["vanilla", "Liger"]
    assert arms_shown(analysis_of("six_arms"))[:2] == ["Liger + torch_compile", "Liger"]
    assert fastest_arm(analysis_of("six_arms")) == "Liger + torch_compile"
    assert fastest_arm(analysis_of("no_vanilla")) == "Liger + max_seq_length=512"
    assert fastest_arm(analysis_of("all_failed")) is None


def test_liger_is_in_the_headline_of_many_arms() -> None:
    assert " Liger is 23" in analysis_of("six_arms").headline
    assert analysis_of("four_arms").headline.count("Liger") == 1


def advice(runs: list[Run], baseline: str | None = None) -> Any:
    return recommendation(analyse(runs, baseline))


def test_what_to_turn_on_is_the_line_for_the_winning_arm() -> None:
    liger = advice(grids.complete())
    assert liger.text.startswith("Use Liger: at batch size 40 it is 36")
    assert liger.code == (
        "# TRL up to 1.14\nSFTConfig(..., use_liger_kernel=True)",
        "# transformers\nTrainingArguments(..., use_liger_kernel=True)",
    )
    assert "From TRL 1.15 on" in liger.note
    both = advice(grids.six_arms())
    assert "use_liger_kernel=True, torch_compile=True)" in both.code[0]
    assert advice(grids.six_arms(), "Liger").code[1] == (
        "# transformers\nTrainingArguments(..., torch_compile=True)"
    )


@pytest.mark.parametrize(
    ("arms", "code"),
    [
        (
            {"vanilla": {}, "fast": {"loss_type": "chunked_nll", "factor": 1.5}},
            ('# TRL up to 1.14\nSFTConfig(..., loss_type="chunked_nll")',),
        ),
        (
            {"vanilla": {}, "fast": {"loss_type": "trl", "factor": 1.5}},
            ("# TRL 1.15 or later\nSFTConfig(...)",),
        ),
        (
            {"vanilla": {}, "fast": {"loss_type": "cce", "factor": 1.5}},
            (
                "# cut-cross-entropy\nlinear_cross_entropy(hidden_states, model.lm_head.weight, "
                "labels, shift=True)",
            ),
        ),
        (
            {"vanilla": {}, "fast": {"attn_implementation": "flex_attention", "factor": 1.5}},
            (
                "# transformers\nAutoModelForCausalLM.from_pretrained(..., "
                'attn_implementation="flex_attention")',
            ),
        ),
    ],
)
def test_settings_that_are_no_training_arguments_have_lines_of_their_own(
    arms: dict[str, Any], code: tuple[str, ...]
) -> None:
    assert advice(grids.grid(sizes=(16,), arms=arms, steps=4)).code == code


def test_only_some_of_ligers_kernels_are_named() -> None:
    arms = {"vanilla": {}, "some": {"use_liger": True, "liger_kernels": ["rope"], "factor": 1.5}}
    line = advice(grids.grid(sizes=(16,), arms=arms, steps=4)).code[0]
    assert "liger_kernel_config={'rope': True, 'rms_norm': False" in line


def test_nothing_is_to_be_changed_where_nothing_wins_for_certain() -> None:
    slower = advice(grids.two_arms(((90.0, 100.0), (91.0, 101.0)), (1000.0, 900.0)))
    assert slower.text.startswith("Keep what you have: ") and slower.code == ()
    once = advice(grids.one_repeat())
    assert once.text.startswith("Nothing is certain yet") and once.code == ()
    leaner = advice(grids.two_arms(((89.0, 100.0), (89.1, 100.0)), (420.0, 1000.0)))
    assert leaner.text.startswith("Keep what you have, unless you are short of memory")
    assert "needs 58" in leaner.text and "at 89" in leaner.text
    assert leaner.code
    assert advice(grids.on_cpu()) is None and advice(grids.one_arm()) is None


def test_a_cpu_run_shows_no_speeds_and_says_once_that_it_has_none() -> None:
    html = html_of("on_cpu")
    page = Page(html)
    assert 'data-name="answer"' not in html and 'data-name="throughput"' not in html
    assert 'data-name="speed"' not in html and 'data-name="loss"' in html
    assert "not tested" not in page.text
    assert "Speed-up" not in page.text.replace("speed-up", "")
    rows = page.table("Liger’s parts active")
    assert [row["Liger’s parts active"] for row in rows] == ["none", "all 130"] * 2


def test_gradients_are_compared_where_they_were_recorded() -> None:
    runs = grids.on_cpu()
    for run in runs:
        run.record["gradients"] = {"w": [1.0, 1.0, -1.0]}
    heading = "Gradient differ\N{SOFT HYPHEN}ence"
    rows = Page(render_page(analyse(runs))).table(heading)
    assert rows[0][heading] == "baseline"
    assert rows[1][heading].startswith("0")


def test_failures_are_listed_with_their_reasons() -> None:
    page = Page(decks_of("with_failures")[RESULTS])
    assert "RuntimeError: CUDA error: an illegal memory access was met" in page.text
    runs = [Run(run.training_args, FAILED) for run in grids.one_batch_size()]
    assert 'data-name="throughput"' not in render_page(analyse(runs))


def test_the_data_line_says_what_became_of_the_rows() -> None:
    run = grids.make_run("Liger", 16)
    assert data_line([run]) == (
        "Data: builtin:instructions: 640 rows a run at most; 12% of the tokens are padding"
    )
    run.record["dataset"] |= {
        "rows_read": 52002, "rows_usable": 51974, "rows_left_out": {"without an answer": 28},
        "rows_used": 640, "rows_cut": 26,
    }  # fmt: skip
    assert data_line([run]) == (
        "Data: builtin:instructions: 52,002 rows read, 51,974 usable (left out: 28 without an "
        "answer); 640 used, 4% of them cut to 128 tokens; 12% of the tokens are padding"
    )
    run.record.pop("dataset")
    assert data_line([run]) == "Data: builtin:instructions"


def test_the_length_to_which_rows_are_cut_is_that_of_the_run_that_used_them() -> None:
    short, long = (grids.make_run("Liger", 16, max_seq_length=length) for length in (128, 512))
    for run, used in ((short, 320), (long, 640)):
        run.record["dataset"] |= {"rows_used": used, "rows_cut": 64}
    assert "640 used, 10% of them cut to 512 tokens" in data_line([short, long])


def test_the_note_below_the_table_says_which_tokens_the_speeds_count() -> None:
    padded = Page(decks_of("complete")[RESULTS]).text
    assert "Tokens include padding, as in the blog." in padded
    arms = {"vanilla": {}, "packed": {"packing": True, "attn_implementation": "flex_attention"}}
    page = Page(render_page(analyse(grids.grid(sizes=(16,), arms=arms, steps=4)))).text
    assert "Tokens are without padding, since an arm is packed" in page
    assert "Tokens include padding" not in page


def test_a_table_in_markdown_escapes_bars_and_keeps_details() -> None:
    columns = [Column("Arm"), Column("Loss differ\N{SOFT HYPHEN}ence", True)]
    shown = markdown_table(columns, [[Cell("a|b"), Cell("+1", "−1 to\n+3")]])
    assert shown == "| Arm | Loss difference |\n| --- | ---: |\n| a\\|b | +1 (−1 to +3) |\n"


@pytest.mark.parametrize(
    ("gain", "shown"), [(9.96, "10%"), (9.94, "9.9%"), (-3.14, "3.1%"), (52.4, "52%")]
)
def test_headline_and_advice_round_a_gain_alike(gain: float, shown: str) -> None:
    assert percent(gain) == shown
    nothing = {"speedup_low": math.nan, "speedup_high": math.nan}
    assert change({"speedup_percent": gain, **nothing}).startswith(f"{shown} ")
