"""One condition from arguments to record: parity, activation, outcomes, equal conditions."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest
from support import isolated_training
from support.tiny import TINY

from liger_benchmark.analysis.loss_difference import BF16_LOSS_BOUND
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.training import condition, environment
from liger_benchmark.training.activation import PARTS
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated
from liger_benchmark.training.trainer import sft_config


@pytest.fixture(scope="module")
def runs(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    """Liger, then vanilla, then Liger again: in the order in which they could spoil each other."""
    vanilla = replace(TINY, max_seq_length=16)
    conditions = {
        "liger": replace(vanilla, use_liger=True),
        "vanilla": vanilla,
        "liger again": replace(vanilla, use_liger=True, run=2),
    }
    output = tmp_path_factory.mktemp("output")
    return {
        name: condition.run_condition(arguments, dataset_folder, model_folder, output / name)
        for name, arguments in conditions.items()
    }


def test_every_condition_completes_with_a_row_a_step(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert run.outcome == COMPLETED
        assert list(run.history["step"]) == [1, 2, 3]
        assert list(run.history["is_warmup"]) == [True, False, False]


def test_a_history_carries_its_own_condition(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for name in ("use_liger", "per_device_train_batch_size", "run"):
            assert set(run.history[name]) == {getattr(run.training_args, name)}


def test_losses_of_both_arms_agree_at_every_step(runs: dict[str, Run]) -> None:
    liger, vanilla = runs["liger"].history, runs["vanilla"].history
    assert (liger["loss"] - vanilla["loss"]).abs().max() < 1e-4
    assert (liger["grad_norm"] - vanilla["grad_norm"]).abs().max() < 1e-4
    assert vanilla["loss"].nunique() == len(vanilla)  # the steps do train


def test_a_vanilla_run_after_a_liger_run_uses_no_liger_code(runs: dict[str, Run]) -> None:
    assert [runs["vanilla"].record["liger"][part] for part in PARTS] == [0, 0, 0, 0]
    present = runs["vanilla"].record["liger"]["parts"]
    assert present == {"rms_norm": 5, "swiglu": 2, "rope": 2, "fused_linear_cross_entropy": 1}
    assert runs["vanilla"].record["liger"]["expected"] == {}


def test_all_parts_of_liger_are_active_in_its_arm(runs: dict[str, Run]) -> None:
    for name in ("liger", "liger again"):
        record = runs[name].record["liger"]
        assert {part: record[part] for part in PARTS} == record["parts"] == record["expected"]


def test_the_arms_start_from_the_same_weights_and_see_the_same_rows(runs: dict[str, Run]) -> None:
    for part in ("weights", "dataset"):
        assert len({run.record[part]["checksum"] for run in runs.values()}) == 1


def test_the_arms_compute_the_same_gradients_on_the_same_batches(runs: dict[str, Run]) -> None:
    liger, vanilla = runs["liger"].record, runs["vanilla"].record
    assert liger["batches"] == vanilla["batches"]
    assert 0 <= vanilla["batches"]["padding_fraction"] < 1
    assert liger["gradients"].keys() == vanilla["gradients"].keys()
    assert len(vanilla["gradients"]) == 15
    for name, numbers in vanilla["gradients"].items():
        assert liger["gradients"][name] == pytest.approx(numbers, abs=1e-4 * numbers[0]), name


def test_the_proof_holds_what_the_live_trainer_does(runs: dict[str, Run]) -> None:
    for run in runs.values():
        head = run.record["proof"].pop("head")
        assert head["seen"] == ("Liger's fused loss" if run.training_args.use_liger else "nll")
        assert run.record["proof"] == {
            "graphs": 0,
            "graph_breaks": 0,
            "optimizer": "torch.optim.sgd.SGD",
            "optimizer_expected": "torch.optim.sgd.SGD",
            "checkpointing": {"active": 0, "present": 3},
            "attention": {"sdpa": 2},
            "autocast": "no",
            "compile_mode": None,
            "hub_kernels": {},
            "liger_implementation": "triton" if run.training_args.use_liger else None,
            "weights_dtype": "float32",
            "adapted_layers": 0,
            "adapter_parameters": 0,
            "other_parameters": 147776,
            "layers_in_4bit": 0,
            "lora": [],
            "flattened": False,
            "influence": {},
            "weights_changed": True,
        }


def test_tokens_are_counted_with_their_padding(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert list(run.history["step_tokens"]) == [2 * 16] * 3
        assert list(run.history["num_input_tokens_seen"]) == [32, 64, 96]
        last = run.history.iloc[-1]
        measured = run.history[~run.history["is_warmup"]]
        expected = measured["step_tokens"].sum() / measured["step_seconds"].sum()
        assert last["avg_tokens_per_second"] == pytest.approx(expected)


def test_the_record_holds_the_sources_and_the_seconds_of_each_phase(
    runs: dict[str, Run],
) -> None:
    record = runs["vanilla"].record
    assert record["weights"]["origin"] == "random"
    assert record["weights"]["n_parameters"] == 147776
    assert record["dataset"]["source"] == "builtin:instructions"
    assert record["environment"]["packages"]["trl"] == importlib.metadata.version("trl")
    phases = record["phases"]
    assert list(phases) == [
        "process",
        "imports",
        "data",
        "model",
        "trainer",
        "save",
        "checks",
        "warmup_steps",
        "steps",
        "between_steps",
        "teardown",
    ]
    assert all(seconds >= 0 for seconds in phases.values())


@pytest.mark.parametrize("stage", ["model", "first step", "mid-run", "optimizer", "callback"])
def test_any_other_error_fails_with_the_childs_traceback(
    stage: str, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ChildFailed, match="something else broke") as failure:
        run_isolated(
            isolated_training.train_with_fault,
            stage,
            isolated_training.ANYTHING_ELSE,
            TINY,
            dataset_folder,
            model_folder,
            tmp_path,
            on_message=lambda row: None,
        )
    assert failure.value.error["type"] == "RuntimeError"
    assert "isolated_training.py" in failure.value.error["traceback"]


@pytest.mark.parametrize(
    ("use_liger", "message"),
    [
        (True, "no such part of the live model runs Liger's code"),
        (
            False,
            "Liger's code is active in the live model: "
            "fused_linear_cross_entropy, rms_norm, rope, swiglu",
        ),
    ],
)
def test_a_live_model_that_does_not_match_its_arm_is_an_error(
    use_liger: bool, message: str, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ChildFailed, match=message):
        run_isolated(
            isolated_training.train_with_the_other_model,
            replace(TINY, use_liger=use_liger),
            dataset_folder,
            model_folder,
            tmp_path,
            on_message=lambda row: None,
        )


def test_gradient_accumulation_makes_a_step_of_several_micro_batches(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = replace(
        TINY,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=1,
        include_num_input_tokens_seen=False,
    )
    run = condition.run_condition(arguments, dataset_folder, model_folder, tmp_path)
    assert list(run.history["step_tokens"]) == [2 * 32] * 3
    assert "num_input_tokens_seen" not in run.history
    assert run.record["dataset"]["rows"] == 6


def test_saving_and_evaluating_are_done_when_asked_for(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = replace(
        TINY, save_strategy="epoch", eval_strategy="epoch", per_device_eval_batch_size=64
    )
    run = condition.run_condition(arguments, dataset_folder, model_folder, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert len(run.history) == 3


def test_a_memory_limit_without_a_gpu_is_an_error(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    if environment.visible_gpu() is not None:
        pytest.skip("there is a GPU here")
    arguments = replace(TINY, gpu_memory_limit_gib=39)
    with pytest.raises(ChildFailed, match="gpu_memory_limit_gib: 39 needs a GPU"):
        condition.run_condition(arguments, dataset_folder, model_folder, tmp_path)


def test_the_trainer_does_not_wait_for_the_gpu_to_count_tokens() -> None:
    for counts in (True, False):
        arguments = replace(TINY, include_num_input_tokens_seen=counts)
        config = sft_config(arguments, Path("out"))
        assert config["include_num_input_tokens_seen"] == "no"


@pytest.mark.gpu
def test_on_a_gpu_memory_is_the_allocators_and_losses_agree_in_bf16(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    losses = []
    for use_liger in (True, False):
        arguments = replace(TINY, bf16=True, use_liger=use_liger)
        run = condition.run_condition(arguments, dataset_folder, model_folder, tmp_path)
        assert run.outcome == COMPLETED
        last = run.history.iloc[-1]
        assert 0 < last["step_peak_memory_allocated_MB"] <= last["step_peak_memory_reserved_MB"]
        assert run.record["environment"]["gpu"]["name"]
        assert run.record["memory"] == {"allocator_retries": 0, "retries_in_measured_steps": 0}
        losses.append(run.history["loss"])
    assert ((losses[0] - losses[1]).abs() / losses[1]).max() < BF16_LOSS_BOUND
