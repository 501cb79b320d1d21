"""Inputs are checked whole, before anything starts, and every mistake is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import LR_SCHEDULERS, OPTIMIZERS
from liger_benchmark.experiment.axes import MAX_GRID, ExperimentArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.validation import InvalidInput, one_line

PROJECT = Path(__file__).parent.parent


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "inputs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_blogs_experiment() -> None:
    inputs = read_inputs_file(PROJECT / "phi3_inputs.yaml")
    assert inputs.experiment_args == ExperimentArguments()
    # The file tracks with W&B, as the blog does; without a file nothing asks for an account.
    assert inputs.training_args.report_to == "wandb"
    assert TrainingArguments().report_to == "none"
    differing = {
        name
        for name, value in vars(inputs.training_args).items()
        if value != getattr(TrainingArguments(), name)
    }
    assert differing == {"report_to"}
    assert inputs.n_runs == 3


@pytest.mark.parametrize(
    "name", ["phi3_inputs", "examples/phi3_random_weights", "examples/smoke_inputs"]
)
def test_the_projects_own_files_are_accepted(name: str) -> None:
    read_inputs_file(PROJECT / f"{name}.yaml")


def test_the_random_weights_file_differs_from_the_blogs_in_sources_tracker_and_memory_limit() -> (
    None
):
    blog = read_inputs_file(PROJECT / "phi3_inputs.yaml")
    ours = read_inputs_file(PROJECT / "examples" / "phi3_random_weights.yaml")
    assert (blog.experiment_args, blog.n_runs) == (ours.experiment_args, ours.n_runs)
    differing = {
        key
        for key, value in vars(ours.training_args).items()
        if value != getattr(blog.training_args, key)
    }
    assert differing == {"model_name", "dataset_name", "report_to", "gpu_memory_limit_gib"}


# A few lines that YAML's aliases make into 9^30 values; read one by one, they would take years.
BILLION_LAUGHS = "  - &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)

# The file's text, and what the one line has to say.
MISTAKES = [
    ("training_args: {dataset: tatsu-lab/alpaca}", ["training_args.dataset", "dataset_name?"]),
    ("training_args: {optim: sdg}", ["training_args.optim", '"sdg"', "did you mean sgd?"]),
    ("training_args: {optim: SGD}", ["training_args.optim", '"SGD"']),
    ("training_args: {optim: 3}", ["training_args.optim", "3 is not a text"]),
    ("training_args: {lr_scheduler_type: cosin}", ["lr_scheduler_type", "did you mean cosine?"]),
    ("training_args: {max_steps: 0}", ["training_args.max_steps", "0 must be 1 or more"]),
    ("training_args: {max_steps: -1}", ["training_args.max_steps", "-1"]),
    ("training_args: {max_steps: 1.5}", ["training_args.max_steps", "1.5", "whole number"]),
    ("training_args: {max_steps: '40'}", ["training_args.max_steps", '"40"', "whole number"]),
    ("training_args: {max_steps: true}", ["training_args.max_steps", "true", "whole number"]),
    ("training_args: {max_steps: null}", ["training_args.max_steps", "null"]),
    ("training_args: {max_steps: }", ["training_args.max_steps", "null"]),
    ("training_args: {max_steps: [40]}", ["training_args.max_steps", "[40]"]),
    ("training_args: {max_steps: {a: 1}}", ["training_args.max_steps"]),
    ("training_args: {max_steps: 2147483648}", ["training_args.max_steps", "too large"]),
    ("training_args: {max_seq_length: 0}", ["training_args.max_seq_length", "0"]),
    ("training_args: {per_device_train_batch_size: 0}", ["per_device_train_batch_size", "0"]),
    ("training_args: {per_device_eval_batch_size: -4}", ["per_device_eval_batch_size", "-4"]),
    ("training_args: {gradient_accumulation_steps: 0}", ["gradient_accumulation_steps", "0"]),
    ("training_args: {num_train_epochs: 0}", ["num_train_epochs", "0", "greater than 0"]),
    ("training_args: {logging_steps: 10}", ["training_args.logging_steps", "10", "must be 1"]),
    ("training_args: {bf16: maybe}", ["training_args.bf16", '"maybe"', "true or false"]),
    ("training_args: {bf16: 1}", ["training_args.bf16", "1 is not true or false"]),
    ("training_args: {bf16: 'true'}", ["training_args.bf16", '"true"']),
    ("training_args: {use_liger: null}", ["training_args.use_liger", "null"]),
    ("training_args: {learning_rate: .nan}", ["learning_rate", "NaN", "finite"]),
    ("training_args: {learning_rate: .inf}", ["learning_rate", "Infinity", "finite"]),
    ("training_args: {learning_rate: 0}", ["learning_rate", "0", "greater than 0"]),
    ("training_args: {learning_rate: -1.0}", ["learning_rate", "-1.0"]),
    ("training_args: {learning_rate: fast}", ["learning_rate", '"fast"', "a number"]),
    ("training_args: {weight_decay: -0.1}", ["weight_decay", "-0.1"]),
    ("training_args: {warmup_ratio: 1}", ["warmup_ratio", "1", "less than 1"]),
    ("training_args: {warmup_ratio: -0.1}", ["warmup_ratio", "-0.1"]),
    ("training_args: {report_to: tensorboard}", ["report_to", "none, wandb"]),
    ("training_args: {eval_strategy: always}", ["eval_strategy", "no, steps, epoch"]),
    # YAML 1.1 reads a bare `no` as false: the quotes are needed, and the line says the type.
    (
        "training_args: {save_strategy: no}",
        ["save_strategy", "false is not a text", 'in quotes, as in "no"'],
    ),
    ("training_args: {seed: -1}", ["training_args.seed", "-1"]),
    ("training_args: {gpu_memory_limit_gib: 0}", ["gpu_memory_limit_gib", "0"]),
    ("training_args: {gpu_memory_limit_gib: 39GB}", ["gpu_memory_limit_gib", '"39GB"']),
    ("training_args: {model_name: ''}", ["training_args.model_name"]),
    ("training_args: {model_name: 7}", ["training_args.model_name", "7 is not a text"]),
    ('training_args: {model_name: "a\\u0000b"}', ["model_name", "control characters"]),
    ('training_args: {model_name: "a\\nb"}', ["model_name", "control characters"]),
    ("training_args: {model_name: 'builtin:phi4'}", ["model_name", "builtin:phi3-mini"]),
    ("training_args: {dataset_name: 'builtin:alpaca'}", ["dataset_name", "builtin:instructions"]),
    ("training_args: {n_warmup_steps: 40}", ["n_warmup_steps", "40", "max_steps"]),
    ("training_args: {n_warmup_steps: -1}", ["n_warmup_steps", "-1"]),
    ("training_args: {run: 2}", ["training_args.run", "n_runs"]),
    ("training_args: {größe: 2}", ["größe", "unknown key"]),
    ("training_args: {1: 2}", ["unknown key"]),
    ("training_args: []", ["training_args", "not a mapping"]),
    ("training_args:", ["training_args", "null is not a mapping"]),
    ("training_args: big", ["training_args", '"big" is not a mapping']),
    ("experiment_args: {use_liger: []}", ["experiment_args.use_liger", "empty"]),
    ("experiment_args: {use_liger: true}", ["experiment_args.use_liger", "[true]"]),
    ("experiment_args: {use_liger: [true, true]}", ["experiment_args.use_liger", "twice"]),
    ("experiment_args: {use_liger: [1, 0]}", ["experiment_args.use_liger", "1"]),
    ("experiment_args: {use_lger: [true]}", ["use_lger", "did you mean use_liger?"]),
    ("experiment_args: {per_device_train_batch_size: [16, 0]}", ["batch_size", "0"]),
    ("experiment_args: {per_device_train_batch_size: [16, 16]}", ["batch_size", "16", "twice"]),
    ("experiment_args: {per_device_train_batch_size: ['16']}", ["batch_size", '"16"']),
    ("experiment_args: {per_device_train_batch_size: [null]}", ["batch_size", "null"]),
    (
        "experiment_args: {use_liger: [true]}\ntraining_args: {use_liger: false}",
        ["training_args.use_liger", "no effect", "experiment_args.use_liger"],
    ),
    (
        "training_args: {per_device_train_batch_size: 8}",
        ["per_device_train_batch_size", "8", "experiment_args.per_device_train_batch_size"],
    ),
    ("training_args: {bf16: false, bf16: true}", ["bf16", "given twice", "line 1"]),
    ("n_runs: 1\nn_runs: 2", ["n_runs", "given twice", "line 2"]),
    ("training_args: {seed: '7'}", ["training_args.seed", "without quotes"]),
    ("n_runs: 0", ["n_runs", "0 must be 1 or more"]),
    ("n_runs: three", ["n_runs", '"three"', "whole number"]),
    ("n_runs: 100000", ["n_runs", str(MAX_GRID)]),
    ("n_run: 3", ["n_run", "did you mean n_runs?"]),
    ("attempt: 0", ["attempt", "0"]),
    ("", ["is empty"]),
    ("# nothing but a comment", ["is empty"]),
    ("- 1\n- 2", ["not a mapping"]),
    ("just words", ["not a mapping"]),
    ("training_args: {max_steps: 1", ["line 1"]),
    ("a: !!python/object/apply:os.system ['true']", ["could not determine a constructor"]),
    ("n_runs: &a 3\nn_run: *a", ["n_run"]),
    ("n_runs: *nothing", ["undefined alias"]),
    ("training_args: &a {max_steps: *a}", ["training_args.max_steps", "whole number"]),
    (f"laughs:\n{BILLION_LAUGHS}", ["laughs", "unknown key"]),
    (f"training_args:\n  optim:\n{BILLION_LAUGHS}", ["training_args.optim", "not a text"]),
    (f"training_args:\n  liger_kernels:\n{BILLION_LAUGHS}", ["liger_kernels", "not a text"]),
    (f"experiment_args:\n  liger_kernels:\n{BILLION_LAUGHS}", ["liger_kernels", "not one of"]),
    ("training_args: {max_steps: " + "[" * 2000 + "]" * 2000 + "}", ["not YAML"]),
    ("training_args: {<<: 3}", ["merging", "line 1"]),
    ("training_args: {? [a, b] : 1}", ["unhashable key", "line 1"]),
    ("training_args: !!set {seed}", ["training_args", "not a mapping"]),
    ("training_args: {seed: 2026-11-24}", ["training_args.seed", "whole number"]),
    ("training_args: {seed: !!binary aGk=}", ["training_args.seed", "whole number"]),
    ("n_runs: 1\n---\nn_runs: 2", ["another document", "line 2"]),
    ('n_runs: !!int ""', ["inputs.yaml"]),
    ('training_args: {bf16: !!bool "x"}', ["inputs.yaml"]),
    ('training_args: {!!bool "x": 1}', ["inputs.yaml"]),
    ('training_args: {learning_rate: !!float ""}', ["inputs.yaml"]),
    ('training_args: {seed: !!timestamp "x"}', ["inputs.yaml"]),
    (f"n_runs: {'9' * 5000}", ["not YAML"]),
    (f"experiment_args: {{seed: {list(range(MAX_GRID + 1))}}}", ["experiment_args.seed", "10001"]),
    ("\tn_runs: 3", ["line 1"]),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[text[:60] for text, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_it(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    with pytest.raises(InvalidInput) as error:
        read_inputs_file(written(tmp_path, text))
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00training")
    for path in (tmp_path / "absent.yaml", tmp_path, binary):
        with pytest.raises(InvalidInput, match="cannot be read") as error:
            read_inputs_file(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["6e-4", "6.0e-4", "6E-4", "0.0006", "+6e-4", ".6e-3", "6.e-4"])
def test_a_number_in_any_usual_form_is_a_number(tmp_path: Path, text: str) -> None:
    inputs = read_inputs_file(written(tmp_path, f"training_args: {{learning_rate: {text}}}"))
    assert inputs.training_args.learning_rate == pytest.approx(6e-4)


@given(st.text(max_size=200))
def test_any_text_is_accepted_or_refused_in_one_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inputs.yaml"
        path.write_text(text, encoding="utf-8", errors="replace")
        try:
            read_inputs_file(path)
        except InvalidInput as error:
            assert "\n" not in str(error)


TYPES = ("int", "float", "bool", "null", "str", "timestamp", "binary", "seq", "map", "set")
TAGS = ["", *(f"!!{name} " for name in TYPES)]


@given(st.sampled_from(TAGS), st.text(max_size=6), st.sampled_from(["n_runs: ", "? "]))
def test_any_tag_on_any_text_is_accepted_or_refused_in_one_line(
    tag: str, text: str, before: str
) -> None:
    test_any_text_is_accepted_or_refused_in_one_line.hypothesis.inner_test(  # type: ignore[attr-defined]
        f"{before}{tag}{json.dumps(text)}"
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*vars(TrainingArguments()), "datset", ""])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_mapping_is_accepted_or_refused_in_one_line(mapping: dict[str, object]) -> None:
    try:
        arguments = TrainingArguments.from_mapping(mapping)
    except InvalidInput as error:
        assert "\n" not in str(error)
    else:
        assert all(getattr(arguments, key) == value for key, value in mapping.items())


def test_optimizers_and_schedulers_are_names_that_transformers_knows() -> None:
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    assert set(OPTIMIZERS) == {o.value for o in OptimizerNames}
    assert set(LR_SCHEDULERS) <= {s.value for s in SchedulerType}


def test_an_input_error_knows_its_problem() -> None:
    for settings in ({"max_steps": 0}, {"n_warmup_steps": 40}, {"optim": 3}):
        with pytest.raises(InvalidInput) as error:
            TrainingArguments.from_mapping(settings)
        assert str(error.value) == f"training_args.{error.value.problem}"


def test_text_on_one_line_is_cut_unless_it_has_no_limit() -> None:
    assert one_line(" a\n\tb ") == "a b"
    assert one_line("x" * 300, limit=200) == "x" * 199 + "…"
    assert one_line("x" * 300, limit=None) == "x" * 300
