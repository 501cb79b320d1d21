"""The rows a run trains on: cut from the left, response marked, as many as the steps use."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from support.tiny import TINY

from liger_benchmark.sources.fetch import fingerprint
from liger_benchmark.training.dataset import (
    IGNORED,
    check_token_ids,
    check_tokenizer_files,
    checksum,
    load_tokenizer,
    prepare_datasets,
    tokenize,
)
from liger_benchmark.training.row_formats import RESPONSE_MARKER
from liger_benchmark.validation import InvalidInput


def saved(tmp_path: Path, rows: list[dict[str, object]]) -> Path:
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def alpaca(response: str, instruction: str = "Say it.") -> dict[str, object]:
    return {"text": f"### Instruction:\n{instruction}\n\n{RESPONSE_MARKER}\n{response}"}


def test_the_loss_is_on_the_response_only(model_folder: Path) -> None:
    tokenizer = load_tokenizer(model_folder)
    rows = datasets.Dataset.from_list([alpaca("The quiet river opens the gate.")])
    [row] = tokenize(rows, tokenizer, replace(TINY, max_seq_length=512))
    kept = [label for label in row["labels"] if label != IGNORED]
    assert tokenizer.decode(kept).strip() == "The quiet river opens the gate."
    # One block at the end: no token of the prompt lies behind one of the response.
    assert row["input_ids"][-len(kept) :] == row["labels"][-len(kept) :] == kept


def test_a_long_text_is_cut_from_the_left_so_that_the_response_survives(
    model_folder: Path,
) -> None:
    tokenizer = load_tokenizer(model_folder)
    text = alpaca("The end.", instruction="Write about the river and the bridge. " * 30)
    [row] = tokenize(datasets.Dataset.from_list([text]), tokenizer, TINY)
    assert len(row["input_ids"]) == TINY.max_seq_length
    assert tokenizer.decode(row["input_ids"]).endswith("The end.")
    assert row["labels"][-1] == row["input_ids"][-1]
    assert len(row["labels"]) == len(row["input_ids"])


def test_a_length_that_leaves_nothing_to_learn_is_an_error(model_folder: Path) -> None:
    tokenizer = load_tokenizer(model_folder)
    rows = datasets.Dataset.from_list([alpaca("The end.")])
    with pytest.raises(InvalidInput, match="max_seq_length: 1 leaves no token of an answer"):
        tokenize(rows, tokenizer, replace(TINY, max_seq_length=1))


def test_a_model_without_a_tokenizer_is_an_error(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    with pytest.raises(InvalidInput, match="holds no tokenizer"):
        load_tokenizer(tmp_path)


def test_there_are_exactly_as_many_rows_as_the_steps_use(
    dataset_folder: Path, model_folder: Path
) -> None:
    tokenizer = load_tokenizer(model_folder)
    arguments = replace(
        TINY, max_steps=5, per_device_train_batch_size=3, gradient_accumulation_steps=2
    )
    train, evaluation = prepare_datasets(dataset_folder, tokenizer, arguments)
    assert len(train) == 5 * 3 * 2
    assert evaluation is None


def test_a_small_dataset_is_repeated(tmp_path: Path, model_folder: Path) -> None:
    folder = saved(tmp_path, [alpaca(f"Answer {i}.") for i in range(10)])
    arguments = replace(TINY, max_steps=20, per_device_train_batch_size=1)
    train, _ = prepare_datasets(folder, load_tokenizer(model_folder), arguments)
    rows = [tuple(ids) for ids in train["input_ids"]]
    assert len(rows) == 20
    assert len(set(rows)) == 9  # ten less the tenth that is kept for evaluation
    assert rows[:9] == rows[9:18]


def test_evaluation_rows_come_only_when_asked_for_and_are_no_training_rows(
    tmp_path: Path, model_folder: Path
) -> None:
    folder = saved(tmp_path, [alpaca(f"Answer {i}.") for i in range(20)])
    arguments = replace(TINY, max_steps=20, eval_strategy="steps")
    train, evaluation = prepare_datasets(folder, load_tokenizer(model_folder), arguments)
    assert evaluation is not None
    seen = {tuple(ids) for ids in train["input_ids"]}
    assert seen.isdisjoint(tuple(ids) for ids in evaluation["input_ids"])


def test_both_arms_and_all_repeats_get_the_same_rows_and_another_seed_others(
    dataset_folder: Path, model_folder: Path
) -> None:
    tokenizer = load_tokenizer(model_folder)

    def rows_of(**settings: object) -> str:
        arguments = replace(TINY, **settings)  # type: ignore[arg-type]
        return checksum(prepare_datasets(dataset_folder, tokenizer, arguments)[0])

    vanilla = rows_of()
    assert rows_of(use_liger=True) == vanilla
    assert rows_of(run=2) == vanilla
    assert rows_of(seed=43) != vanilla


def test_preparing_leaves_the_shared_folder_as_it_is(
    dataset_folder: Path, model_folder: Path
) -> None:
    before = fingerprint(dataset_folder)
    prepare_datasets(dataset_folder, load_tokenizer(model_folder), TINY)
    assert fingerprint(dataset_folder) == before


def test_rows_without_a_response_are_left_out(tmp_path: Path, model_folder: Path) -> None:
    rows = [alpaca("Yes."), alpaca(""), {"text": "no marker"}, {"text": None}, alpaca("No.")]
    arguments = replace(TINY, max_steps=6, per_device_train_batch_size=1)
    train, _ = prepare_datasets(saved(tmp_path, rows), load_tokenizer(model_folder), arguments)
    assert all(set(labels) != {IGNORED} for labels in train["labels"])


def test_a_dataset_in_another_format_is_an_error_that_shows_its_columns(
    tmp_path: Path, model_folder: Path
) -> None:
    folder = saved(tmp_path, [{"prompt": "a", "completion": "b"}])
    with pytest.raises(InvalidInput, match=r"'text'.*prompt, completion"):
        prepare_datasets(folder, load_tokenizer(model_folder), TINY)


def test_a_dataset_without_a_response_is_an_error(tmp_path: Path, model_folder: Path) -> None:
    folder = saved(tmp_path, [{"text": "just text"}, {"text": "more"}])
    with pytest.raises(InvalidInput, match="0 rows whose text holds"):
        prepare_datasets(folder, load_tokenizer(model_folder), TINY)


# --- tokenizers as people have them


@pytest.fixture
def folder(tmp_path: Path, model_folder: Path) -> Path:
    """A model's folder, to be changed."""
    shutil.copytree(model_folder, tmp_path / "model")
    return tmp_path / "model"


def test_a_tokenizer_without_pad_and_end_token_pads_all_the_same(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config = {k: v for k, v in config.items() if k not in ("pad_token", "eos_token")}
    path.write_text(json.dumps(config))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.eos_token is None and tokenizer.pad_token_id == 0
    rows = datasets.Dataset.from_list([{"prompt": "Who?", "completion": " I."}])
    [row] = tokenize(rows, tokenizer, replace(TINY, dataset_format="prompt_completion"))
    assert tokenizer.decode(row["input_ids"]) == "Who? I."


def test_a_pad_token_beyond_the_embedding_is_replaced(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == 512
    tokenizer.save_pretrained(folder)
    loaded = load_tokenizer(folder)
    assert (loaded.pad_token, loaded.pad_token_id) == ("</s>", 2)


def test_a_token_beyond_the_embedding_is_refused_only_if_a_row_uses_it(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|extra|>"]})
    assert len(tokenizer) == 513
    plain = tokenize(datasets.Dataset.from_list([alpaca("Yes.")]), tokenizer, TINY)
    check_token_ids([plain, None], 512)
    using = tokenize(datasets.Dataset.from_list([alpaca("Yes.<|extra|>")]), tokenizer, TINY)
    with pytest.raises(InvalidInput, match="the token id 512 and the model embeds 512 tokens"):
        check_token_ids([plain, using], 512)


def test_a_tokenizer_that_is_only_sentencepiece_names_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    (folder / "tokenizer.model").write_bytes(b"\x0a")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="only as tokenizer.model, .* install sentencepiece$"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").write_text("{}")
    check_tokenizer_files(folder, "mine")


def test_a_tokenizer_without_offsets_marks_the_same_answer() -> None:
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()
    arguments = replace(TINY, max_seq_length=512)
    [row] = tokenize(datasets.Dataset.from_list([alpaca("Yes, ünd.")]), tokenizer, arguments)
    kept = [label for label in row["labels"] if label != IGNORED]
    assert tokenizer.decode(kept) == "\nYes, ünd."
    assert tokenizer.decode(row["input_ids"]).endswith("### Response:\nYes, ünd.</s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
    rows = datasets.Dataset.from_list([{"messages": turns * 2}])
    [row] = tokenize(rows, tokenizer, replace(arguments, dataset_format="messages"))
    kept = [label for label in row["labels"] if label != IGNORED]
    assert tokenizer.decode(kept) == "I.</s>I.</s>"
