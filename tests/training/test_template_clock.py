"""A chat template makes the same rows of a dataset on every day."""

from __future__ import annotations

import datetime
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.tiny import TINY
from transformers.utils import chat_template_utils

from liger_benchmark.report.data_line import data_line
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.sources import builtin
from liger_benchmark.training.dataset import checksum, load_tokenizer, prepare_datasets
from liger_benchmark.training.row_counts import RowCounts

CHAT = replace(TINY, max_seq_length=512, dataset_format="messages")
MESSAGES = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The teacher."}]
# As Llama 3.2's, and as gpt-oss', which writes it in a macro.
LLAMA = (
    '{% if not date_string is defined %}{% set date_string = strftime_now("%d %b %Y") %}{% endif %}'
    "Today Date: {{ date_string }}\n"
)
GPT_OSS = (
    '{% macro date() %}Current date: {{ strftime_now("%Y-%m-%d") }}{% endmacro %}{{ date() }}\n'
)
CHANCE = "{{ range(99999) | random }} {{ lipsum(n=1) }}\n"
UNMARKED = builtin.CHAT_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    datasets.Dataset.from_list([{"messages": MESSAGES}] * 4).save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def rows_on(
    day: datetime.datetime, template: str, folder: Path, model: Path, mocked: pytest.MonkeyPatch
) -> tuple[str, str, RowCounts]:
    """The checksum of the rows made on a day, the text of the first, and what was counted."""

    class OnThatDay(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return day

    mocked.setattr(chat_template_utils, "datetime", OnThatDay)
    random.seed(day.day)  # as another process begins
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template = template
    counts = RowCounts()
    rows, _ = prepare_datasets(folder, tokenizer, CHAT, counts)
    return checksum(rows), tokenizer.decode(rows["input_ids"][0]), counts


@pytest.mark.parametrize("chat", [builtin.CHAT_TEMPLATE, UNMARKED], ids=["marked", "unmarked"])
@pytest.mark.parametrize("head", [LLAMA, GPT_OSS, CHANCE], ids=["llama", "gpt-oss", "chance"])
def test_rows_are_the_same_on_every_day(
    head: str, chat: str, folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [datetime.datetime(2026, 11, day) for day in (25, 26)]
    first, second = (rows_on(day, head + chat, folder, model_folder, monkeypatch) for day in days)
    assert first[:2] == second[:2]
    for text, wrong in (("26 Jul 2024", LLAMA), ("2024-07-26", GPT_OSS)):
        assert (text in first[1]) == (head == wrong)
    assert "2026" not in first[1]


def test_a_date_that_a_template_writes_is_told(
    folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = datetime.datetime(2026, 11, 25)
    dated, plain = (
        rows_on(day, head + builtin.CHAT_TEMPLATE, folder, model_folder, monkeypatch)[2]
        for head in (LLAMA, "")
    )
    told = "the chat template's date is always 2024-07-26"
    assert dated.record()["template_date"] == "2024-07-26"
    assert dated.describe(512).endswith(told)
    assert told in data_line([Run(CHAT, COMPLETED, record={"dataset": dated.record()})])
    assert "template_date" not in plain.record() and told not in plain.describe(512)
