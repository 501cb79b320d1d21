"""The training arguments survive flytekit: as msgpack, as JSON, and as a schema."""

from __future__ import annotations

import dataclasses
import json

from flytekit.core.context_manager import FlyteContextManager
from flytekit.core.type_engine import TypeEngine

from liger_benchmark.arguments import TrainingArguments

CHOSEN = TrainingArguments(
    columns={"prompt": "question", "completion": "answer"},
    dataset_config="main",
    dataset_split="train[:10%]",
    dataset_format="auto",
)


def test_a_mapping_of_columns_travels_to_a_container_and_back() -> None:
    context = FlyteContextManager.current_context()
    for arguments in (CHOSEN, TrainingArguments()):
        expected = TypeEngine.to_literal_type(TrainingArguments)
        literal = TypeEngine.to_literal(context, arguments, TrainingArguments, expected)
        assert TypeEngine.to_python_value(context, literal, TrainingArguments) == arguments


def test_a_client_without_the_code_can_send_them() -> None:
    literal_type = TypeEngine.to_literal_type(TrainingArguments)
    guessed = TypeEngine.guess_python_type(literal_type)
    assert {"columns", "dataset_config", "dataset_split"} <= {
        f.name for f in dataclasses.fields(guessed)
    }


def test_the_command_lines_json_is_read_with_a_mapping_of_columns() -> None:
    text = json.dumps(dataclasses.asdict(CHOSEN))
    assert TrainingArguments.from_json(text) == CHOSEN
