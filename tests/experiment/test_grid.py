"""Any training argument can be an axis; the axes make the arms, and the arms have names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import LIGER_KERNELS
from liger_benchmark.experiment import inputs_file
from liger_benchmark.experiment.axes import AXES, NO_AXIS, ExperimentArguments
from liger_benchmark.experiment.grid import arms_of, describe_grid, expand_grid
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.validation import InvalidInput

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def experiment(**axes: object) -> ExperimentArguments:
    return ExperimentArguments.from_mapping({"per_device_train_batch_size": [16], **axes})


def names(**axes: object) -> list[str]:
    return list(arms_of(experiment(**axes)))


def test_every_training_argument_is_an_axis_or_has_a_reason_not_to_be_one() -> None:
    fields = {f.name for f in dataclasses.fields(TrainingArguments)}
    assert fields == set(AXES) | set(NO_AXIS)
    for name, reason in NO_AXIS.items():
        with pytest.raises(InvalidInput, match=f"experiment_args.{name}: cannot be an axis: ") as e:
            experiment(**{name: ["x"]})
        assert reason in str(e.value)


def test_without_further_axes_the_grid_is_the_blogs() -> None:
    grid = expand_grid(ExperimentArguments(), TrainingArguments(), 3)
    assert len(grid) == 36
    assert {arguments.arm for arguments in grid} == {"Liger", "vanilla"}
    # No name is stored, so that the cache knows these runs in any grid.
    assert {arguments.arm_name for arguments in grid} == {""}
    assert describe_grid(grid) == "36 runs: 2 arms (Liger, vanilla) × 6 batch sizes × 3 repeats"


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (
            {"use_liger": [False], "optim": ["sgd", "adamw_torch"]},
            ["vanilla", "vanilla + adamw_torch"],
        ),
        (
            {"use_liger": [False, True], "torch_compile": [False, True]},
            ["vanilla", "vanilla + torch_compile", "Liger", "Liger + torch_compile"],
        ),
        (
            {"use_liger": [True], "max_seq_length": [128, 2048]},
            ["Liger", "Liger + max_seq_length=2048"],
        ),
        (
            {"use_liger": [True], "learning_rate": [1e-3, 6e-4]},
            ["Liger + learning_rate=0.001", "Liger"],
        ),
        ({"use_liger": [True], "bf16": [True, False]}, ["Liger", "Liger + no bf16"]),
        (
            {"use_liger": [False], "gpu_memory_limit_gib": [None, 39]},
            ["vanilla", "vanilla + gpu_memory_limit_gib=39"],
        ),
        # One value is no choice, so it is in no name.
        ({"use_liger": [False], "optim": ["adamw_torch"]}, ["vanilla"]),
    ],
)
def test_an_arm_is_named_by_what_differs_from_the_default(
    axes: dict[str, object], expected: list[str]
) -> None:
    assert names(**axes) == expected


def test_single_kernels_are_arms_and_vanilla_is_there_once() -> None:
    kernels = [["rope"], ["rms_norm"], list(LIGER_KERNELS[:4])]
    assert names(use_liger=[False, True], liger_kernels=kernels) == [
        "vanilla",
        "Liger (rope)",
        "Liger (rms_norm)",
        "Liger",
    ]


def test_heads_and_the_hubs_kernels_are_named_in_plain_words() -> None:
    layers = ["rope", "rms_norm", "swiglu"]
    heads = {"loss_type": ["nll", "chunked_nll", "trl", "cce", "torch"]}
    assert names(use_liger=[False], **heads) == [
        "vanilla",
        "vanilla + chunked_nll",
        "TRL",
        "CCE",
        "torch loss",
    ]
    assert names(
        use_liger=[True],
        liger_kernels=[layers],
        torch_compile=[True, False],
        arms=["Liger layers + TRL", "Liger layers + CCE + torch_compile"],
        **heads,
    ) == ["Liger layers + CCE + torch_compile", "Liger layers + TRL"]
    assert names(use_liger=[False], use_hub_kernels=[False, True], loss_type=["nll", "trl"]) == [
        "vanilla",
        "Hub kernels",
        "TRL",
        "Hub kernels + TRL",
    ]


def test_a_setting_without_effect_makes_no_arm() -> None:
    assert names(
        use_liger=[False, True],
        torch_compile=[False, True],
        torch_compile_mode=["default", "reduce-overhead"],
        liger_chunk_mem_const=[1, 16],
        arms=["vanilla", "Liger + liger_chunk_mem_const=16"],
    ) == ["vanilla", "Liger + liger_chunk_mem_const=16"]
    assert names(use_liger=[False], bf16=[True, False], autocast=[True, False]) == [
        "vanilla",
        "vanilla + no autocast",
        "vanilla + no bf16",
    ]


def test_repeats_are_outermost_and_every_second_has_the_arms_in_reverse() -> None:
    grid = expand_grid(
        experiment(use_liger=[False], optim=["sgd", "adamw_torch"]), TrainingArguments(), 3
    )
    assert [(a.run, a.optim, a.arm) for a in grid] == [
        (1, "sgd", "vanilla"),
        (1, "adamw_torch", "vanilla + adamw_torch"),
        (2, "adamw_torch", "vanilla + adamw_torch"),
        (2, "sgd", "vanilla"),
        (3, "sgd", "vanilla"),
        (3, "adamw_torch", "vanilla + adamw_torch"),
    ]
    assert len({a.slug for a in grid}) == len(grid)


def test_only_the_named_arms_are_run() -> None:
    axes = {"use_liger": [False, True], "torch_compile": [False, True]}
    assert names(**axes, arms=["Liger", "vanilla + torch_compile"]) == [
        "vanilla + torch_compile",
        "Liger",
    ]


MISTAKES: list[tuple[dict[str, object], list[str]]] = [
    ({"baseline": "vanila"}, ["experiment_args.baseline", "did you mean vanilla?", "Liger"]),
    ({"arms": ["Liger"], "baseline": "vanilla"}, ["baseline", "no arm of this grid"]),
    ({"arms": ["liger"]}, ["experiment_args.arms", '"liger"', "its arms are"]),
    ({"arms": []}, ["experiment_args.arms", "empty"]),
    ({"arms": ["Liger", "Liger"]}, ["experiment_args.arms", "Liger", "twice"]),
    (
        {"liger_kernels": [["rope", "rms_norm"], ["rms_norm", "rope"]]},
        ["experiment_args.liger_kernels", "twice"],
    ),
    (
        {"use_liger": [True, False], "loss_type": ["nll", "chunked_nll"]},
        ['the arm "Liger + chunked_nll" cannot be run', "both replace the loss", "arms"],
    ),
    (
        {"use_liger": [True], "liger_kernels": [["cross_entropy", "fused_linear_cross_entropy"]]},
        ["liger_kernels", "exclude each other"],
    ),
    ({"use_liger": [True], "liger_kernels": [[]]}, ["liger_kernels", "use_liger: false"]),
    ({"seed": list(range(10)), "max_steps": list(range(3, 1103))}, ["22000 arms"]),
]


@pytest.mark.parametrize(("axes", "expected"), MISTAKES)
def test_a_grid_that_cannot_be_run_is_one_line(
    axes: dict[str, object], expected: list[str]
) -> None:
    with pytest.raises(InvalidInput) as error:
        expand_grid(experiment(**axes), TrainingArguments(), 1)
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


SLIPS: list[tuple[str, list[str]]] = [
    ("experiment_args: {optim: sgd}", ["experiment_args.optim", '["sgd"]']),
    ("experiment_args: {optim: [sdg]}", ["experiment_args.optim", "did you mean sgd?"]),
    ("experiment_args: {optim: []}", ["experiment_args.optim", "empty"]),
    ("experiment_args: {optim: null}", ["experiment_args.optim", "null"]),
    ("experiment_args: {optim: [sgd, sgd]}", ["experiment_args.optim", "twice"]),
    ("experiment_args: {torch_compile: ['yes']}", ["torch_compile", "true or false"]),
    ("experiment_args: {liger_kernels: [rope]}", ["liger_kernels", '"rope" is not a list']),
    ("experiment_args: {liger_kernels: [[rop]]}", ["liger_kernels", "did you mean rope?"]),
    ("experiment_args: {liger_kernels: [[rope, rope]]}", ["liger_kernels", "twice"]),
    ("experiment_args: {run: [1, 2]}", ["experiment_args.run", "n_runs"]),
    ("experiment_args: {model_name: [a, b]}", ["experiment_args.model_name", "one model"]),
    ("experiment_args: {baseline: 3}", ["experiment_args.baseline", "3 is not a text"]),
    ("experiment_args: {arms: Liger}", ["experiment_args.arms", "not a list"]),
    ("experiment_args: {arms: [1]}", ["experiment_args.arms", "not a list of names"]),
    (
        "experiment_args: {optim: [sgd]}\ntraining_args: {optim: sgd}",
        ["training_args.optim", "experiment_args.optim"],
    ),
    ("training_args: {arm_name: mine}", ["training_args.arm_name", "named by their axes"]),
    ("training_args: {liger_kernels: rope}", ["training_args.liger_kernels", '["rope"]']),
    ("training_args: {liger_kernels: null}", ["training_args.liger_kernels", "null"]),
    ("training_args: {loss_type: dft}", ["loss_type", "nll, chunked_nll"]),
    ("training_args: {attn_implementation: flash}", ["attn_implementation", "sdpa"]),
    ("training_args: {dataset_format: chat}", ["dataset_format", "messages"]),
]


@pytest.mark.parametrize(("text", "expected"), SLIPS, ids=[text[:60] for text, _ in SLIPS])
def test_a_slip_in_the_file_is_one_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "inputs.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as error:
        read_inputs_file(path)
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_the_examples_are_accepted(path: Path) -> None:
    inputs = read_inputs_file(path)
    assert inputs.grid


def test_no_value_is_lost_to_a_short_name() -> None:
    for axis, values in {
        "seed": [20260101, 20260102, 1000000],
        "learning_rate": [0.0010000001, 0.0010000002, 1e-7],
        "weight_decay": [1e-6, 1.5, 2.0],
    }.items():
        grid = expand_grid(experiment(use_liger=[False], **{axis: values}), TrainingArguments(), 1)
        assert [getattr(arguments, axis) for arguments in grid] == values
        assert len({arguments.slug for arguments in grid}) == 3
    assert "vanilla + seed=20260101" in names(use_liger=[False], seed=[20260101, 42])
    assert "vanilla + learning_rate=0.001" in names(use_liger=[False], learning_rate=[1e-3, 2e-3])


def test_arms_that_would_be_one_folder_are_refused() -> None:
    axes = experiment(use_liger=[False], weight_decay=[1e-06, 1e06])
    with pytest.raises(InvalidInput, match="would be one folder") as error:
        expand_grid(axes, TrainingArguments(), 1)
    assert "weight_decay=1e-06" in str(error.value) and "\n" not in str(error.value)


def test_kernels_other_than_the_default_are_in_the_arms_name_without_an_axis() -> None:
    only_rope = TrainingArguments(liger_kernels=["rope"])
    arms = {a.arm for a in expand_grid(experiment(use_liger=[True, False]), only_rope, 1)}
    assert arms == {"Liger (rope)", "vanilla"}


def test_a_long_name_is_cut_where_a_folders_name_would_be_too_long() -> None:
    long = TrainingArguments(arm_name="vanilla + " + "x" * 250)
    other = dataclasses.replace(long, arm_name="vanilla + " + "x" * 251)
    assert len(long.slug) == len(other.slug) == 160
    assert long.slug != other.slug


def test_flytekits_json_of_an_experiment_is_read_back_as_it_was() -> None:
    import json

    written = experiment(use_liger=[False], optim=["sgd", "adamw_torch"], baseline="vanilla")
    assert ExperimentArguments.from_json(json.dumps(dataclasses.asdict(written))) == written


def test_a_file_is_expanded_into_its_grid_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: Any) -> list[TrainingArguments]:
        calls.append(args)
        return expand_grid(*args)

    monkeypatch.setattr(inputs_file, "expand_grid", counted)
    inputs = inputs_file.read_inputs({})
    assert len(inputs.grid) == 36 and inputs.grid is inputs.grid
    assert len(calls) == 1
