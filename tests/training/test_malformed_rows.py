"""One malformed row costs itself and no other; a content of parts is read as its text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.report.data_line import data_line
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.sources import builtin
from liger_benchmark.sources.fetch import fetch_dataset
from liger_benchmark.training.dataset import IGNORED, load_tokenizer, prepare_datasets
from liger_benchmark.training.row_counts import RowCounts
from liger_benchmark.validation import InvalidInput

CHAT = replace(
    TINY,
    max_seq_length=512,
    max_steps=1,
    n_warmup_steps=0,
    per_device_train_batch_size=1,
    dataset_format="messages",
)
QUESTION = {"role": "user", "content": "Is the gate open?"}
ANSWER = {"role": "assistant", "content": "It is open."}
TEXT = {"type": "text", "text": "It is open."}
PICTURE = {"type": "image_url", "image_url": {"url": "gate.png"}}
# As SmolVLM's: a content is a list of parts.
ONLY_PARTS = (
    "{% for m in messages %}{{ m.role }}: {% for part in m.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture
def tokenizer(model_folder: Path) -> Any:
    return load_tokenizer(model_folder)


def learnt(
    rows: list[dict[str, Any]],
    tokenizer: Any,
    folder: Path,
    arguments: TrainingArguments = CHAT,
    counts: RowCounts | None = None,
) -> set[str]:
    """What the loss is taken on of the training rows of a file of JSON lines, as texts."""
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    saved = fetch_dataset(str(file), folder / "saved")
    needed = replace(arguments, max_steps=len(rows))
    train, _ = prepare_datasets(saved, tokenizer, needed, counts)
    labels = [[label for label in row if label != IGNORED] for row in train["labels"]]
    return {tokenizer.decode(row).strip() for row in labels}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([QUESTION, {"role": "assistant", "content": None}], "with a message without content"),
        ([QUESTION, {"role": "assistant"}], "with a message without content"),
        ([{"content": "Hi"}, ANSWER], "with a message without a role"),
        ([{"role": None, "content": "Hi"}, ANSWER], "with a message without a role"),
        ([{"role": 1, "content": "Hi"}, ANSWER], "with a message without a role"),
        (
            [
                QUESTION,
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {"name": "look", "arguments": "{}"},
                },
            ],
            "with a function_call, which tool_calls have replaced",
        ),
        ("Is it open?", "whose messages are no list of mappings"),
        ({"role": "user", "content": "Hi"}, "whose messages are no list of mappings"),
        (["Is it open?", ANSWER], "whose messages are no list of mappings"),
        ([None, ANSWER], "whose messages are no list of mappings"),
        (7, "whose messages are no list of mappings"),
        ([QUESTION, {"role": "assistant", "content": 4}], "with a content that is no text, such a"),
        (
            [{"role": "user", "content": [PICTURE, TEXT]}, ANSWER],
            "with a content that is no text, such as an image",
        ),
    ],
)
def test_a_malformed_row_is_left_out_and_counted(
    messages: Any, reason: str, tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    counts = RowCounts()
    rows = [{"messages": [QUESTION, ANSWER]}] * 5 + [{"messages": messages}]
    assert learnt(rows, tokenizer, tmp_path, counts=counts) == {"It is open.</s>"}
    [(said, n)] = counts.left_out.items()
    assert said.startswith(reason) and n == 1 and counts.usable == 5
    assert f"6 rows read, 5 usable (1 {said})" in counts.describe(512)
    line = data_line([Run(CHAT, COMPLETED, record={"dataset": counts.record()})])
    assert f"6 rows read, 5 usable (left out: 1 {said})" in line


def test_where_most_rows_are_malformed_the_first_is_shown(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    rows = [{"messages": [QUESTION, ANSWER]}] * 2 + [{"messages": [{"content": "Hi"}]}] * 3
    with pytest.raises(InvalidInput, match=r"in row 3 messages \[{\"content\".*\(3 of 5 rows are"):
        learnt(rows, tokenizer, tmp_path)


def test_a_malformed_row_of_prompt_and_completion_is_left_out(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    arguments = replace(CHAT, dataset_format="prompt_completion")
    rows = [{"prompt": [QUESTION], "completion": [ANSWER]}] * 4
    rows += [{"prompt": [QUESTION], "completion": [{"role": "assistant", "content": None}]}]
    counts = RowCounts()
    assert learnt(rows, tokenizer, tmp_path, arguments, counts) == {"It is open.</s>"}
    assert counts.left_out == {"with a message without content": 1}


@pytest.mark.parametrize(
    "content",
    [
        [TEXT],
        ["It is open."],
        [{"text": "It is open."}],
        [{"type": "output_text", "text": "It is open."}],
        [TEXT | {"image_url": None}],
    ],
)
@pytest.mark.parametrize("mixed", [True, False])
def test_a_content_of_texts_is_their_text(
    content: list[Any], mixed: bool, tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    rows = [{"messages": [QUESTION, {"role": "assistant", "content": content}]}] * 3
    rows += [{"messages": [QUESTION, ANSWER]}] * 3 * mixed
    assert learnt(rows, tokenizer, tmp_path) == {"It is open.</s>"}


def test_texts_of_several_parts_are_joined_by_line_ends(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    message = {"role": "assistant", "content": [TEXT, {"type": "text", "text": "Go."}]}
    rows = [{"messages": [QUESTION, message]}] * 3
    assert learnt(rows, tokenizer, tmp_path) == {"It is open.\nGo.</s>"}


@pytest.mark.parametrize("content", ["It is open.", [TEXT]])
def test_a_template_that_takes_parts_alone_is_given_parts(
    content: Any, tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    tokenizer.chat_template = ONLY_PARTS
    rows = [{"messages": [QUESTION, {"role": "assistant", "content": content}]}] * 3
    assert learnt(rows, tokenizer, tmp_path) == {"It is open.</s>"}


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_conversations_may_be_json(
    column: str, tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    rows = [{column: json.dumps([QUESTION, ANSWER])}] * 3
    assert learnt(rows, tokenizer, tmp_path) == {"It is open.</s>"}


def test_sharegpts_turns_may_hold_several_types(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    asks = {"from": "human", "value": "Is it?"}
    values: list[Any] = ["It is open.", [TEXT], None, 4]
    rows = [{"conversations": [asks, {"from": "gpt", "value": v}]} for v in values]
    counts = RowCounts()
    assert learnt(rows, tokenizer, tmp_path, counts=counts) == {"It is open.</s>"}
    assert counts.left_out.total() == 2


def test_tools_stay_beside_conversations_made_from_sharegpts(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    tokenizer.chat_template = "{{ tools[0].name }}" + builtin.CHAT_TEMPLATE.replace(
        "{% generation %}", "{% generation %}{{ tools[0].name }}:"
    )
    turns = [{"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "It is open."}]
    rows = [{"conversations": turns, "tools": [{"name": "look"}]}] * 3
    assert learnt(rows, tokenizer, tmp_path) == {"look:It is open.</s>"}


def test_a_tokenizers_own_template_for_tools_is_used(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    """Command R and others have a template of the name `tool_use` beside the default."""
    for_tools = builtin.CHAT_TEMPLATE.replace("{% generation %}", "{% generation %}with tools: ")
    tokenizer.chat_template = {"default": builtin.CHAT_TEMPLATE, "tool_use": for_tools}
    row = {"messages": [QUESTION, ANSWER]}
    with_tools = [row | {"tools": [{"name": "look"}]}] * 3
    assert learnt(with_tools, tokenizer, tmp_path) == {"with tools: It is open.</s>"}
    (tmp_path / "plain").mkdir()
    assert learnt([row] * 3, tokenizer, tmp_path / "plain") == {"It is open.</s>"}


def test_half_of_a_surrogate_pair_in_a_conversation_as_json_costs_nothing(
    tokenizer: Any, tmp_path: Path, datasets_cache: None
) -> None:
    rows = [{"messages": json.dumps([QUESTION, ANSWER | {"content": "It is \ud83d"}])}] * 3
    assert len(learnt(rows, tokenizer, tmp_path)) == 1
