"""Rows as people have them: other columns, Alpaca's, ShareGPT's, calls of tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.sources import builtin
from liger_benchmark.training.dataset import IGNORED, load_tokenizer, prepare_datasets
from liger_benchmark.training.row_columns import alpaca_text
from liger_benchmark.training.row_counts import RowCounts, few_rows
from liger_benchmark.validation import InvalidInput

LONG = replace(
    TINY, max_seq_length=512, max_steps=1, n_warmup_steps=0, per_device_train_batch_size=1
)
QUESTION = {"role": "user", "content": "Is the gate open?"}
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": {"at": "gate"}}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "open", "tool_call_id": "1"}
ANSWER = {"role": "assistant", "content": "It is open."}
WITH_TOOLS = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}<{{ message.role }}>"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}"
    "{{ call.function.name }}({{ call.function.arguments | tojson }}){% endfor %}"
    "{% else %}{{ message.content }}{% endif %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
# As Gemma's: a conversation with a system turn is refused.
NO_SYSTEM = "{{ messages[0]['role'] == 'system' and raise_exception('no system role') or '' }}"

Learnt = Callable[..., list[str]]


@pytest.fixture
def tokenizer(model_folder: Path) -> Any:
    return load_tokenizer(model_folder)


@pytest.fixture
def learnt(tokenizer: Any, tmp_path: Path) -> Learnt:
    """What the loss is taken on of the training rows, as texts."""

    def texts(rows: list[dict[str, Any]], arguments: TrainingArguments = LONG, **also: Any) -> Any:
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
        needed = replace(arguments, max_steps=len(rows))
        train, _ = prepare_datasets(tmp_path / "rows", tokenizer, needed, **also)
        labels = [[label for label in row if label != IGNORED] for row in train["labels"]]
        return [tokenizer.decode(row) for row in labels]

    return texts


def test_alpacas_columns_are_written_as_alpacas_text() -> None:
    rows = builtin.instructions()
    assert [alpaca_text(row) for row in rows] == [row["text"] for row in rows]
    with_input = alpaca_text({"instruction": "Add {these}.", "input": "{1} and 2", "output": "3"})
    assert with_input is not None and with_input.endswith(
        "### Instruction:\nAdd {these}.\n\n### Input:\n{1} and 2\n\n### Response:\n3"
    )


@pytest.mark.parametrize("also", [{}, {"text": "Say it. Yes."}, {"input": ""}, {"input": None}])
def test_alpacas_columns_need_no_text(also: dict[str, Any], learnt: Learnt) -> None:
    rows = [{"instruction": "Say it.", "output": "Yes."} | also] * 3
    assert {text.strip() for text in learnt(rows)} == {"Yes."}


def test_alpacas_own_text_is_kept_if_it_is_there(learnt: Learnt) -> None:
    row = {"instruction": "Say it.", "output": "No.", "text": "### Response:\nYes."}
    assert {text.strip() for text in learnt([row] * 3)} == {"Yes."}


def test_sharegpts_conversations_are_messages(learnt: Learnt, tokenizer: Any) -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Who?"},
        {"from": "gpt", "value": "The teacher."},
    ]
    arguments = replace(LONG, dataset_format="messages")
    assert set(learnt([{"conversations": turns}] * 3, arguments)) == {"The teacher.</s>"}
    as_messages = [QUESTION, ANSWER]
    assert set(learnt([{"conversations": as_messages}] * 3, arguments)) == {"It is open.</s>"}


def test_sharegpts_system_column_begins_the_conversation(learnt: Learnt, tokenizer: Any) -> None:
    tokenizer.chat_template = WITH_TOOLS.replace("<{{", "{% generation %}<{{").replace(
        "</s>{% endfor %}{% if add", "</s>{% endgeneration %}{% endfor %}{% if add"
    )
    row = {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I."}]}
    [text, *_] = learnt([row | {"system": "Be."}] * 3, replace(LONG, dataset_format="messages"))
    assert text == "<system>Be.</s><user>Who?</s><assistant>I.</s>"


def test_columns_are_mapped(learnt: Learnt) -> None:
    arguments = replace(
        LONG,
        dataset_format="prompt_completion",
        columns={"prompt": "query", "completion": "response"},
    )
    rows = [{"query": "Who? ", "response": "I.", "prompt": "unused"}] * 3
    assert set(learnt(rows, arguments)) == {"I.</s>"}
    with pytest.raises(InvalidInput, match=r"columns: prompt: 'query' is not a column of 'builtin"):
        learnt([{"question": "Who?", "answer": "I."}] * 3, arguments)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question": "prompt"}, "maps to question, which no format needs; write prompt: question"),
        ({"prompt": ""}, "maps no column to prompt"),
        ({"prompt": "a", "completion": "a"}, "uses a column of the dataset twice"),
        ({"prompt": 1}, r'{"prompt": 1} is not a text with a text for a name'),
        (["prompt"], r"is not a mapping; write {name: value}"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(columns: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^training_args.columns: .*{message}"):
        TrainingArguments(columns=columns)
    with pytest.raises(InvalidInput, match="^training_args.columns: "):
        TrainingArguments.from_mapping({"columns": columns})


def test_a_mapping_survives_json() -> None:
    arguments = TrainingArguments(columns={"prompt": "question", "completion": "answer"})
    assert TrainingArguments.from_json(json.dumps({"columns": arguments.columns})) == arguments


@pytest.mark.parametrize(
    ("row", "learns"),
    [
        ({"text": "### Response:\nYes."}, "Yes."),
        ({"instruction": "Say it.", "output": "Yes."}, "Yes."),
        ({"messages": [QUESTION, ANSWER], "text": "written otherwise"}, "It is open.</s>"),
        ({"messages": [QUESTION, ANSWER], "prompt": "Is the gate open?"}, "It is open.</s>"),
        ({"conversations": [{"from": "user", "value": "?"}, {"from": "bot", "value": "!"}]}, "!"),
        ({"prompt": "a", "completion": "b"}, "b</s>"),
    ],
)
def test_auto_finds_the_format_by_the_columns(
    row: dict[str, Any], learns: str, learnt: Learnt
) -> None:
    texts = learnt([row] * 3, replace(LONG, dataset_format="auto"))
    assert all(text.strip().startswith(learns) for text in texts)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "a", "answer": "b"}, r"columns: {prompt: question, completion: answer}$"),
        (
            {"prompt": "a", "completion": "b", "messages": [QUESTION, ANSWER]},
            '"prompt_completion" or "messages" would fit',
        ),
    ],
)
def test_auto_refuses_what_it_cannot_tell(
    row: dict[str, Any], message: str, learnt: Learnt
) -> None:
    with pytest.raises(InvalidInput, match=f"'auto' cannot tell the format of .*{message}"):
        learnt([row] * 3, replace(LONG, dataset_format="auto"))


def test_a_call_of_a_tool_is_learnt_as_the_template_writes_it(
    learnt: Learnt, tokenizer: Any
) -> None:
    tokenizer.chat_template = WITH_TOOLS
    arguments = replace(LONG, dataset_format="messages")
    tools = [{"type": "function", "function": {"name": "look"}}]
    row = {"messages": [QUESTION, CALLING, RESULT, ANSWER], "tools": json.dumps(tools)}
    [text, *_] = learnt([row] * 3, arguments)
    assert text == 'look({"at": "gate"})</s>It is open.</s>'
    [ends_in_call, *_] = learnt([{"messages": [QUESTION, CALLING]}] * 3, arguments)
    assert ends_in_call == 'look({"at": "gate"})</s>'


def test_keys_that_arrow_fills_with_null_are_left_out(learnt: Learnt, tokenizer: Any) -> None:
    tokenizer.chat_template = WITH_TOOLS
    other = {"function": {"name": "wait", "arguments": {"seconds": 2}}}
    rows = [
        {"messages": [QUESTION, CALLING]},
        {"messages": [QUESTION, {"role": "assistant", "content": "", "tool_calls": [other]}]},
        {"messages": [QUESTION, ANSWER]},
    ]
    texts = set(learnt(rows * 4, replace(LONG, dataset_format="messages")))
    assert 'look({"at": "gate"})</s>' in texts and 'wait({"seconds": 2})</s>' in texts


@pytest.mark.parametrize("marked", [True, False])
def test_a_template_that_knows_no_tools_writes_no_none(
    marked: bool, learnt: Learnt, tokenizer: Any
) -> None:
    template = builtin.CHAT_TEMPLATE.replace("('system', ", "('system', 'tool', ")
    if not marked:
        plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
        template = plain + "{% if add_generation_prompt %}assistant: {% endif %}"
    tokenizer.chat_template = template
    row = {"messages": [QUESTION, CALLING, RESULT, ANSWER]}
    [text, *_] = learnt([row] * 3, replace(LONG, dataset_format="messages"))
    assert text.endswith("It is open.</s>") and "None" not in text


@pytest.mark.parametrize("arguments_are", ["mapping", "JSON"])
@pytest.mark.parametrize("calls_are", ["list", "JSON"])
@pytest.mark.parametrize(
    "writes",
    [
        "{{ '(' + call.function.arguments + ')' }}",
        "({% for k, v in call.function.arguments.items() %}{{ k }}={{ v }}{% endfor %})",
    ],
    ids=["as DeepSeek's", "as GLM's"],
)
def test_calls_are_worded_as_the_template_wants_them(
    writes: str, calls_are: str, arguments_are: str, learnt: Learnt, tokenizer: Any
) -> None:
    plain = "({{ call.function.arguments | tojson }})"
    tokenizer.chat_template = WITH_TOOLS.replace(plain, writes)
    call = {"function": {"name": "look", "arguments": {"at": "gate"}}}
    if arguments_are == "JSON":
        call["function"]["arguments"] = '{"at": "gate"}'
    calls = json.dumps([call]) if calls_are == "JSON" else [call]
    calling = {"role": "assistant", "content": None, "tool_calls": calls}
    [text, *_] = learnt(
        [{"messages": [QUESTION, calling]}] * 3, replace(LONG, dataset_format="messages")
    )
    assert text in ('look({"at": "gate"})</s>', "look(at=gate)</s>")


def test_completions_that_are_numbers_are_texts_beside_prompts_that_are(learnt: Learnt) -> None:
    arguments = replace(LONG, dataset_format="prompt_completion")
    rows = [{"prompt": "6 * 7 =", "completion": 42}, {"prompt": "?", "completion": None}]
    assert set(learnt(rows * 3, arguments)) == {"42</s>"}


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
