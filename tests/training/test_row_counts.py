"""Rows that are left out or cut, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.rows import ANSWER, LONG, QUESTION, Learnt

from liger_benchmark.sources import builtin
from liger_benchmark.training.dataset import prepare_datasets
from liger_benchmark.training.row_counts import RowCounts, few_rows
from liger_benchmark.validation import InvalidInput

# As Gemma's: a conversation with a system turn is refused.
NO_SYSTEM = "{{ messages[0]['role'] == 'system' and raise_exception('no system role') or '' }}"


def test_a_row_of_which_no_answer_is_left_is_left_out(learnt: Learnt, tokenizer: Any) -> None:
    # It would have no label, and alone in a batch a loss of NaN.
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message.role == 'assistant' %}"
        "{% generation %}{{ message.content }}{% endgeneration %}{{ 'end of it ' * 20 }}"
        "{% else %}{{ message.content }}{% endif %}{% endfor %}"
    )
    arguments = replace(LONG, dataset_format="messages", max_seq_length=32)
    with pytest.raises(InvalidInput, match="max_seq_length: 32 leaves no token of an answer"):
        learnt([{"messages": [QUESTION, ANSWER]}] * 3, arguments)
    long = {"role": "assistant", "content": "It is open. " * 50}
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{ 'end of it ' * 20 }}",
        "{{ 'end of it ' * 20 if message.content | length < 99 else '' }}",
    )
    counts = RowCounts()
    rows = [{"messages": [QUESTION, ANSWER]}, {"messages": [QUESTION, long]}] * 4
    assert all(learnt(rows, arguments, counts=counts))
    assert counts.left_out.keys() == {"with no token of the answer left"}


def test_rows_that_the_template_refuses_are_left_out_and_counted(
    learnt: Learnt, tokenizer: Any
) -> None:
    tokenizer.chat_template = NO_SYSTEM + builtin.CHAT_TEMPLATE
    arguments = replace(LONG, dataset_format="messages")
    rows = [{"messages": [QUESTION, ANSWER]}] * 8
    refused = {"messages": [{"role": "system", "content": "Be."}, QUESTION, ANSWER]}
    counts = RowCounts()
    assert set(learnt([refused, *rows, refused], arguments, counts=counts)) == {"It is open.</s>"}
    assert counts.left_out.keys() == {"refused by the chat template"}
    assert counts.read == 10 and counts.usable == 10 - counts.left_out.total()


def test_a_template_that_refuses_most_rows_is_an_error_that_names_one(
    learnt: Learnt, tokenizer: Any
) -> None:
    tokenizer.chat_template = NO_SYSTEM + builtin.CHAT_TEMPLATE
    rows = [{"messages": [{"role": "system", "content": "Be."}, QUESTION, ANSWER]}] * 20
    with pytest.raises(InvalidInput, match=r"has in row \d+ what .* no system role.*18 of the 18"):
        learnt(rows, replace(LONG, dataset_format="messages"))


def test_the_rows_of_a_small_batch_are_the_first_of_a_large_one(
    tokenizer: Any, tmp_path: Path
) -> None:
    tokenizer.chat_template = NO_SYSTEM + builtin.CHAT_TEMPLATE
    system = {"role": "system", "content": "Be."}
    rows = [
        {"messages": [*([system] if i % 3 == 0 else []), QUESTION, ANSWER | {"content": f"{i}"}]}
        for i in range(40)
    ]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
    arguments = replace(LONG, dataset_format="messages", max_steps=2)
    small, large = (
        prepare_datasets(
            tmp_path / "rows", tokenizer, replace(arguments, per_device_train_batch_size=size)
        )[0]["input_ids"][:]
        for size in (2, 6)
    )
    assert large[:4] == small


def test_counts_say_why_rows_are_left_out_and_how_many_are_cut(learnt: Learnt) -> None:
    rows = [{"text": text} for text in (None, "", "no marker", "### Response:\n ")]
    rows += [{"text": f"### Response:\n{'long ' * n}"} for n in (1, 1, 1, 50, 50, 50)]
    counts = RowCounts()
    learnt(rows, replace(LONG, max_seq_length=32), counts=counts)
    record = counts.record()
    assert record["rows_read"] == 10 and record["rows_usable"] == 6
    assert record["rows_left_out"] == {"empty": 2, "without an answer": 2}
    assert record["rows_used"] == 5 and record["rows_cut"] in (2, 3)


def test_counts_are_one_line() -> None:
    counts = RowCounts(read=52_002, used=2240, cut=67)
    counts.left_out["without an answer"] = 28
    assert counts.describe(128) == (
        "data: 52,002 rows read, 51,974 usable (28 without an answer); "
        "of 2,240 used, 3% cut at 128 tokens"
    )
    assert counts.warning(2240, 56) is None
    few = RowCounts(read=12, used=10)
    assert few.warning(200, 4) == (
        "warning: 12 usable rows are few (under 64): speed and memory hold for their lengths; "
        "each is trained on about 20 times, and losses say little"
    )
    once = "12 usable rows are few (under 64): speed and memory hold for their lengths"
    assert few.warning(10, 4) == f"warning: {once}"
    assert few_rows(64, 10, 10, 4) is None
    assert str(few_rows(100, 100, 128, 128)).startswith("100 usable rows are few (under 128)")
