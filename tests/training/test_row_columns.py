"""Rows as people have them: other columns, Alpaca's, ShareGPT's, calls of tools."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.rows import ANSWER, LONG, QUESTION, Learnt

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.sources import builtin
from liger_benchmark.training.row_columns import alpaca_text
from liger_benchmark.validation import InvalidInput

CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": {"at": "gate"}}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "open", "tool_call_id": "1"}
WITH_TOOLS = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}<{{ message.role }}>"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}"
    "{{ call.function.name }}({{ call.function.arguments | tojson }}){% endfor %}"
    "{% else %}{{ message.content }}{% endif %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


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
