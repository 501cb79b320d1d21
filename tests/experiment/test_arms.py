"""Arms beside Liger: they compute the same, and what runs is what their name says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.tiny import TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import DEFAULT_LIGER_KERNELS, LIGER_KERNELS
from liger_benchmark.experiment.inputs_file import ExperimentInputs, read_inputs_file
from liger_benchmark.flyte import local_run
from liger_benchmark.run import Run, read_run
from liger_benchmark.training.activation import check_liger
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.isolated_process import ChildFailed
from liger_benchmark.training.liger_kernels import kernels_turned_on, liger_switches
from liger_benchmark.training.trainer import sft_config
from liger_benchmark.validation import InvalidInput

PROJECT = Path(__file__).parents[2]
# Arms that the example leaves out.
MORE_ARMS: dict[str, dict[str, Any]] = {
    "vanilla + torch_compile": {"torch_compile": True},
    "Liger (rms_norm) + chunked_nll": {
        "use_liger": True,
        "liger_kernels": ["rms_norm"],
        "loss_type": "chunked_nll",
    },
}


@pytest.fixture(scope="module")
def example() -> ExperimentInputs:
    """The README's example of arms beside Liger."""
    return read_inputs_file(PROJECT / "examples" / "arms.yaml")


@pytest.fixture(scope="module")
def table_and_runs(
    example: ExperimentInputs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[pd.DataFrame, dict[str, Run]]]:
    """The example's arms, through the whole workflow; its table, and the runs by arm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_run, "BUILD", tmp_path_factory.mktemp("build"))
        results, table = workflow.benchmarking_experiment(
            experiment_args=example.experiment_args,
            # As it is, but shorter: the interpreter is slow.
            training_args=replace(example.training_args, max_steps=2, max_seq_length=16),
            n_runs=example.n_runs,
        )
        runs = [read_run(Path(result.record.path).parent) for result in results]
        yield table, {run.training_args.arm: run for run in runs}


@pytest.fixture(scope="module")
def runs(
    table_and_runs: tuple[pd.DataFrame, dict[str, Run]],
    dataset_folder: Path,
    model_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Run]:
    _, runs = table_and_runs
    output = tmp_path_factory.mktemp("arms")
    more = {
        name: run_condition(
            replace(runs["vanilla"].training_args, **settings), dataset_folder, model_folder, output
        )
        for name, settings in MORE_ARMS.items()
    }
    return runs | more


def test_the_example_goes_through_the_workflow(
    table_and_runs: tuple[pd.DataFrame, dict[str, Run]], example: ExperimentInputs
) -> None:
    table, runs = table_and_runs
    assert list(table["outcome"]) == ["completed"] * 11
    assert set(table["arm"]) == set(runs) == set(example.experiment_args.arms or ())


def test_every_arm_computes_what_vanilla_computes(runs: dict[str, Run]) -> None:
    vanilla = runs["vanilla"]
    for name, run in runs.items():
        for column, bound in (("loss", 1e-4), ("grad_norm", 1e-3)):
            difference = (run.history[column] - vanilla.history[column]).abs().max()
            assert difference < bound, (name, column)
        assert run.record["weights"]["checksum"] == vanilla.record["weights"]["checksum"], name


@pytest.mark.parametrize("name", ["rope", "rms_norm", "swiglu", "fused_linear_cross_entropy"])
def test_a_single_kernel_is_active_alone(runs: dict[str, Run], name: str) -> None:
    record = runs[f"Liger ({name})"].record["liger"]
    active = {part for part in LIGER_KERNELS if record.get(part)}
    assert active == {name}


def test_the_loss_is_read_from_the_live_model(runs: dict[str, Run]) -> None:
    for name, run in runs.items():
        assert run.record["loss"] == ("chunked_nll" if "chunked_nll" in name else "nll"), name


def test_the_attention_is_recorded(runs: dict[str, Run]) -> None:
    assert runs["vanilla + eager"].record["weights"]["attn_implementation"] == "eager"
    assert runs["vanilla"].record["weights"]["attn_implementation"] == "sdpa"


def test_settings_reach_the_trainer(tmp_path: Path) -> None:
    arguments = replace(
        TINY, torch_compile=True, gradient_checkpointing=True, loss_type="chunked_nll"
    )
    config = sft_config(arguments, tmp_path)
    assert (config["torch_compile"], config["gradient_checkpointing"]) == (True, True)
    # The head is put in place once the trainer is built, see `training.heads`.
    assert config["loss_type"] == "nll"
    assert "loss_type" not in sft_config(replace(TINY, loss_type="trl"), tmp_path)
    assert config["torch_compile_mode"] is None
    others = replace(
        TINY,
        bf16=True,
        autocast=False,
        torch_compile=True,
        torch_compile_mode="reduce-overhead",
        max_grad_norm=0.0,
    )
    config = sft_config(others, tmp_path)
    assert (config["bf16"], config["torch_compile_mode"]) == (False, "reduce-overhead")
    assert config["max_grad_norm"] == 0.0
    # transformers compiles as soon as a mode is given.
    config = sft_config(replace(others, torch_compile=False), tmp_path)
    assert (config["torch_compile"], config["torch_compile_mode"]) == (False, None)


def test_kernels_are_switched_on_by_the_architectures_own_names() -> None:
    assert liger_switches("phi3", ["swiglu"]) == {
        "rope": False,
        "rms_norm": False,
        "swiglu": True,
        "fused_linear_cross_entropy": False,
        "cross_entropy": False,
    }
    assert liger_switches("gemma2", ["swiglu"])["geglu"] is True


def test_a_kernel_that_the_architecture_lacks_is_refused_with_a_list_of_those_it_has() -> None:
    with pytest.raises(InvalidInput, match="no rope for 'nemotron'; it has fused") as error:
        liger_switches("nemotron", ["rope"])
    assert "\n" not in str(error.value)
    # Its default set is what Liger turns on by itself: it would refuse GLM-4 the rope.
    assert liger_switches("glm4", list(DEFAULT_LIGER_KERNELS))["rope"] is False
    granite = kernels_turned_on("granite", DEFAULT_LIGER_KERNELS)
    assert "cross_entropy" in granite and "fused_linear_cross_entropy" not in granite
    assert liger_switches("nemotron", list(DEFAULT_LIGER_KERNELS)) == {
        "fused_linear_cross_entropy": True,
        "cross_entropy": False,
    }


def test_a_model_in_which_other_kernels_run_than_asked_for_is_refused() -> None:
    present = {"rope": 2, "rms_norm": 5, "swiglu": 2, "fused_linear_cross_entropy": 1}
    parts = {"present": present, "active": dict.fromkeys(present, 0) | {"rope": 2}}
    check_liger(parts, ["rope"], "phi3")
    with pytest.raises(RuntimeError, match="rms_norm asked for"):
        check_liger(parts, ["rope", "rms_norm"], "phi3")
    with pytest.raises(RuntimeError, match="active in the live model: rope"):
        check_liger(parts, [], "phi3")
    check_liger({"present": present, "active": present}, DEFAULT_LIGER_KERNELS, "phi3")
    for part in present:
        all_but_one = {"present": present, "active": present | {part: 0}}
        with pytest.raises(RuntimeError, match=f"{part} asked for"):
            check_liger(all_but_one, DEFAULT_LIGER_KERNELS, "phi3")
    nothing_known = {"present": {}, "active": {}}
    with pytest.raises(RuntimeError, match="asked for"):
        check_liger(nothing_known, DEFAULT_LIGER_KERNELS, "phi3")


def test_compiling_liger_without_a_gpu_is_one_line(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments: TrainingArguments = replace(TINY, use_liger=True, torch_compile=True)
    with pytest.raises(ChildFailed, match="torch_compile: true with use_liger needs a GPU"):
        run_condition(arguments, dataset_folder, model_folder, tmp_path)
