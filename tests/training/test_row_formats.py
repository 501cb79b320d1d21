"""The formats of rows: which tokens are the answer, and which rows are refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.tiny import TINY

from liger_benchmark.choices import DATASET_FORMATS
from liger_benchmark.sources import builtin
from liger_benchmark.sources.fetch import fetch_dataset
from liger_benchmark.training.dataset import IGNORED, load_tokenizer, prepare_datasets, tokenize
from liger_benchmark.training.row_formats import FORMATS
from liger_benchmark.validation import InvalidInput

LONG = replace(TINY, max_seq_length=512)
QUESTION = {"role": "user", "content": "Who opens the gate?"}
ANSWER = {"role": "assistant", "content": "The quiet river opens it."}
AGAIN = {"role": "user", "content": "Who else?"}
OTHER = {"role": "assistant", "content": "The teacher."}
CHAT = [QUESTION, ANSWER, AGAIN, OTHER]
UNMARKED = re.sub(r"{% (end)?generation %}", "", builtin.CHAT_TEMPLATE)
# As templates of thinking models do: what came before the last turn is written in another way.
FORGETFUL = (
    "{% for message in messages %}{{ message['role'] }}:"
    "{% if loop.last or message['role'] == 'user' %}{{ message['content'] }}{% else %}…{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture
def tokenizer(model_folder: Path) -> Any:
    return load_tokenizer(model_folder)


def learnt(tokenizer: Any, dataset_format: str, **row: Any) -> str:
    """What the loss is taken on, as text."""
    rows = datasets.Dataset.from_list([row])
    [row] = tokenize(rows, tokenizer, replace(LONG, dataset_format=dataset_format))
    assert all(label in (IGNORED, token) for token, label in pairs(row))
    return str(tokenizer.decode([label for _, label in pairs(row) if label != IGNORED]))


def pairs(row: dict[str, Any]) -> list[tuple[int, int]]:
    return list(zip(row["input_ids"], row["labels"], strict=True))


def test_every_format_that_can_be_asked_for_is_defined() -> None:
    assert tuple(FORMATS) == DATASET_FORMATS


def test_of_a_conversation_all_answers_are_learnt_with_their_ends(tokenizer: Any) -> None:
    assert learnt(tokenizer, "messages", messages=CHAT) == (
        "The quiet river opens it.</s>The teacher.</s>"
    )


def test_turns_after_the_last_answer_are_left_out(tokenizer: Any) -> None:
    rows = datasets.Dataset.from_list([{"messages": CHAT[:3]}])
    arguments = replace(TINY, dataset_format="messages", max_seq_length=8)
    [row] = tokenize(rows, tokenizer, arguments)
    assert "Who else" not in tokenizer.decode(row["input_ids"])
    assert len(row["labels"]) == 8 and set(row["labels"]) != {IGNORED}


def test_a_template_without_generation_markers_gives_the_same_answers(tokenizer: Any) -> None:
    rows = datasets.Dataset.from_list([{"messages": CHAT}, {"messages": [ANSWER, *CHAT]}])
    arguments = replace(LONG, dataset_format="messages")
    [marked, _] = tokenize(rows, tokenizer, arguments)
    tokenizer.chat_template = UNMARKED
    [unmarked, answer_first] = tokenize(rows, tokenizer, arguments)
    assert unmarked["input_ids"] == marked["input_ids"]
    # Without marks, what the template writes after an answer counts as a part of it.
    assert learnt(tokenizer, "messages", messages=CHAT) == (
        "The quiet river opens it.</s>\n\nThe teacher.</s>\n\n"
    )
    assert [label for label in answer_first["labels"] if label != IGNORED]


@pytest.mark.parametrize("family", ["phi3", "llama3", "qwen2_5", "gemma3"])
def test_the_families_own_templates_tell_answers_from_questions(
    family: str, tokenizer: Any
) -> None:
    from trl import chat_template_utils

    tokenizer.chat_template = getattr(chat_template_utils, f"{family}_chat_template")
    text = learnt(tokenizer, "messages", messages=CHAT)
    for answer in (ANSWER, OTHER):
        assert answer["content"] in text
    assert "Who" not in text and "user" not in text


def test_of_prompt_and_completion_the_completion_is_learnt_with_its_end(tokenizer: Any) -> None:
    row = {"prompt": "### Question: Who? ### Answer:", "completion": " The teacher."}
    assert learnt(tokenizer, "prompt_completion", **row) == " The teacher.</s>"
    row["completion"] += "</s>"
    assert learnt(tokenizer, "prompt_completion", **row) == " The teacher.</s>"


def test_prompt_and_completion_may_be_messages(tokenizer: Any) -> None:
    text = learnt(tokenizer, "prompt_completion", prompt=CHAT[:3], completion=CHAT[3:])
    assert text == "The teacher.</s>\n\n"


@pytest.mark.parametrize(
    ("name", "dataset_format"),
    [("chat", "messages"), ("prompt-completion", "prompt_completion"), ("instructions", "text")],
)
def test_the_built_in_datasets_are_of_their_formats(
    name: str, dataset_format: str, tokenizer: Any, tmp_path: Path
) -> None:
    folder = fetch_dataset(f"builtin:{name}", tmp_path / name)
    arguments = replace(TINY, dataset_format=dataset_format, max_steps=20)
    train, _ = prepare_datasets(folder, tokenizer, arguments)
    assert len(train) == 40
    for row in train:
        assert len(row["labels"]) == len(row["input_ids"]) == TINY.max_seq_length
        assert set(row["labels"]) != {IGNORED}


@pytest.mark.parametrize(
    ("dataset_format", "rows"),
    [
        ("messages", [{"messages": m} for m in (CHAT, [], None, [QUESTION], [QUESTION, ANSWER])]),
        (
            "prompt_completion",
            [{"prompt": "a", "completion": c} for c in ("b", "", " ", None)]
            + [{"prompt": None, "completion": "b"}, {"prompt": "", "completion": "c"}],
        ),
    ],
)
def test_rows_without_an_answer_are_left_out(
    dataset_format: str, rows: list[dict[str, Any]], tokenizer: Any, tmp_path: Path
) -> None:
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
    arguments = replace(LONG, dataset_format=dataset_format, max_steps=6)
    train, _ = prepare_datasets(tmp_path / "rows", tokenizer, arguments)
    assert all(set(labels) != {IGNORED} for labels in train["labels"])
    # Two hold one; the second of them is kept for evaluation.
    assert len({tuple(ids) for ids in train["input_ids"]}) == 1


@pytest.mark.parametrize(
    ("dataset_format", "row", "message"),
    [
        (
            "messages",
            {"subject": "a", "body": "b"},
            r"no column 'messages', which dataset_format \"messages\" needs; it has subject, "
            r"body; rename columns .* \"prompt_completion\" prompt and completion",
        ),
        (
            "messages",
            {"question": "a", "answer": "b"},
            r"it has question, answer; set dataset_format: \"prompt_completion\" and columns: {",
        ),
        (
            "messages",
            {"prompt": "a", "completion": "b"},
            r"it has prompt, completion; dataset_format: \"prompt_completion\" would fit$",
        ),
        (
            "prompt_completion",
            {"text": "a", "messages": CHAT},
            r"no columns 'prompt' and 'completion', .* \"text\" or \"messages\" would fit$",
        ),
        ("prompt_completion", {"prompt": "a"}, "no column 'completion', which .* it has prompt;"),
        ("text", {"messages": CHAT}, r"it has messages; dataset_format: \"messages\" would fit$"),
        ("messages", {"messages": "Hello"}, r"in row 1 messages \"Hello\"; .* needs a list of {r"),
        ("messages", {"messages": ["Hello"]}, r"messages \[\"Hello\"\]; "),
        ("messages", {"messages": [{"from": "human", "value": "Hi"}]}, "needs a list of {role, co"),
        (
            "messages",
            {"messages": [QUESTION, {"role": "assistant", "content": None}]},
            "both of them texts",
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}]},
            "both of them texts",
        ),
        ("messages", {"messages": [QUESTION]}, "has 0 rows whose messages hold an answer"),
        (
            "messages",
            {"messages": [{"role": "robot", "content": "Hi"}, ANSWER]},
            r"chat template refuses: the roles are .* \(roles: robot, assistant\); leave such",
        ),
        ("prompt_completion", {"prompt": CHAT[:1], "completion": "b"}, "needs two texts or two"),
        ("prompt_completion", {"prompt": 1, "completion": 2}, "prompt 1 and completion 2; "),
        ("prompt_completion", {"prompt": "a", "completion": ""}, "has 0 rows whose prompt is not"),
    ],
)
def test_rows_of_another_format_are_an_error_of_one_line(
    dataset_format: str, row: dict[str, Any], message: str, tokenizer: Any, tmp_path: Path
) -> None:
    datasets.Dataset.from_list([row] * 3).save_to_disk(tmp_path / "rows")
    arguments = replace(TINY, dataset_name="my/rows", dataset_format=dataset_format)
    with pytest.raises(InvalidInput, match=message) as error:
        prepare_datasets(tmp_path / "rows", tokenizer, arguments)
    assert str(error.value).startswith("training_args.dataset_name: 'my/rows' has ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "row", "message"),
    [
        (None, {"messages": CHAT}, 'dataset_format: "messages" finds messages in .* no chat tem'),
        (None, {"prompt": CHAT[:1], "completion": CHAT[1:2]}, "no chat template to write them wit"),
        (FORGETFUL, {"messages": CHAT}, "cannot be told which tokens .* put {% generation %} and"),
        ("{{ messages[7].content }}", {"messages": CHAT}, "template refuses: .* leave such rows"),
        ("{% nonsense %}", {"messages": CHAT}, "template refuses: .* leave such rows"),
        ("Hello{% generation %}{% endgeneration %}", {"messages": CHAT}, "cannot be told which"),
    ],
)
def test_an_unusable_chat_template_is_an_error_of_one_line(
    template: str | None, row: dict[str, Any], message: str, tokenizer: Any
) -> None:
    tokenizer.chat_template = template
    dataset_format = "messages" if "messages" in row else "prompt_completion"
    with pytest.raises(InvalidInput, match=message) as error:
        learnt(tokenizer, dataset_format, **row)
    assert "\n" not in str(error.value)
