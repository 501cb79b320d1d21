"""A condition on two ranks computes what it computes on one, and is recorded as one run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import isolated_groups
from support.tiny import SHORT, TINY

from liger_benchmark.analysis.gradient_difference import gradient_difference
from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import COMPLETED, Run
from liger_benchmark.training.condition import run_condition
from liger_benchmark.training.ending import FINISHED
from liger_benchmark.training.isolated_process import run_isolated

# At the global batch of four rows.
CONDITIONS: dict[str, dict[str, Any]] = {
    "one": {"per_device_train_batch_size": 4},
    "ddp": {"n_gpus": 2},
    "fsdp2": {"n_gpus": 2, "sharding": "fsdp2"},
    "fsdp2 on one": {"per_device_train_batch_size": 4, "sharding": "fsdp2"},
    "fsdp2 checkpointed": {
        "n_gpus": 2, "sharding": "fsdp2", "gradient_checkpointing": True,
        "reshard_after_forward": False,
    },
    "ddp accumulated": {
        "n_gpus": 2, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2,
    },
    "fsdp2 accumulated": {
        "n_gpus": 2, "sharding": "fsdp2", "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
    },
    "fsdp2 chunked": {"n_gpus": 2, "sharding": "fsdp2", "loss_type": "chunked_nll"},
}  # fmt: skip
GROUPS = [name for name in CONDITIONS if name != "one"]


@pytest.fixture(scope="module")
def runs(
    dataset_folder: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    output = tmp_path_factory.mktemp("output")
    return {
        name: run_condition(replace(TINY, **settings), dataset_folder, model_folder, output / name)
        for name, settings in CONDITIONS.items()
    }


@pytest.mark.parametrize("name", GROUPS)
def test_losses_are_those_of_one_rank_at_the_same_global_batch(
    name: str, runs: dict[str, Run]
) -> None:
    one, group = runs["one"].history, runs[name].history
    assert runs[name].outcome == COMPLETED
    assert list(group["step"]) == list(one["step"])
    for column in ("loss", "grad_norm"):
        assert (group[column] / one[column] - 1).abs().max() < 1e-5


@pytest.mark.parametrize("name", GROUPS)
def test_gradients_are_those_of_one_rank(name: str, runs: dict[str, Run]) -> None:
    one, group = (runs[key].record["gradients"] for key in ("one", name))
    assert one.keys() == group.keys()
    difference = gradient_difference(one, group, bf16=False)
    assert difference.value < 1e-5


@pytest.mark.parametrize(("sharding", "autocast"), [("ddp", "bf16"), ("fsdp2", "no")])
def test_bf16_in_a_group_is_proved(
    sharding: str, autocast: str, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = replace(TINY, bf16=True, n_gpus=2, sharding=sharding, max_steps=2)
    run = run_condition(arguments, dataset_folder, model_folder, tmp_path)
    assert run.outcome == COMPLETED
    proof = run.record["proof"]
    assert (proof["autocast"], proof["weights_dtype"]) == (autocast, "bfloat16")


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_starts_from_the_weights_of_one_rank_and_changes_them(
    name: str, runs: dict[str, Run]
) -> None:
    one, group = runs["one"].record, runs[name].record
    assert group["weights"]["checksum"] == one["weights"]["checksum"]
    assert group["dataset"]["checksum"] == one["dataset"]["checksum"]
    assert group["proof"]["weights_changed"]


def test_the_record_has_every_ranks_own_part(runs: dict[str, Run]) -> None:
    for name in ("ddp", "fsdp2"):
        group = runs[name].record["group"]
        assert group["n_ranks"] == len(group["ranks"]) == 2
        assert group["losses_agree"] and group["gradients_agree"] and group["weights_agree"]
        assert group["slowest_over_fastest"] >= 1
        first, second = group["ranks"]
        assert first["batches"] != second["batches"]
        last = runs[name].history.iloc[-1]
        peaks = [rank["total_peak_resident_set_MB"] for rank in group["ranks"]]
        assert last["total_peak_resident_set_MB"] == max(peaks)


def test_tokens_are_those_of_all_ranks_and_rows_come_once_a_step(runs: dict[str, Run]) -> None:
    one, ddp = runs["one"].history, runs["ddp"].history
    assert list(ddp["step_tokens"]) == list(one["step_tokens"])
    last = ddp.iloc[-1]
    assert last["avg_tokens_per_second"] == pytest.approx(2 * last["avg_tokens_per_second_per_gpu"])
    measured = ddp[~ddp["is_warmup"]]
    assert last["avg_tokens_per_second"] == pytest.approx(
        measured["step_tokens"].sum() / measured["step_seconds"].sum()
    )


def test_checkpointing_under_fsdp_is_proved_layer_by_layer(runs: dict[str, Run]) -> None:
    proof = runs["fsdp2 checkpointed"].record["proof"]
    assert proof["checkpointing"] == {"active": 2, "present": 2}
    assert runs["fsdp2"].record["proof"]["checkpointing"]["active"] == 0


@pytest.mark.parametrize("sharding", ["ddp", "fsdp2"])
def test_arms_agree_under_each_way_of_sharing(
    sharding: str, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    arms = {}
    for use_liger in (False, True):
        arguments = replace(SHORT, n_gpus=2, sharding=sharding, use_liger=use_liger)
        arms[use_liger] = run_condition(arguments, dataset_folder, model_folder, tmp_path)
    assert invalid_reasons(list(arms.values()), "vanilla") == {}
    losses = [run.history["loss"] for run in arms.values()]
    assert (losses[0] / losses[1] - 1).abs().max() < 1e-5
    assert arms[True].record["liger"]["fused_linear_cross_entropy"] == 1
    one, other = (run.record["gradients"] for run in arms.values())
    difference = gradient_difference(one, other, bf16=False)
    assert difference.value < 1e-5


def trained_by(function: Any, arguments: TrainingArguments, *folders: Path) -> tuple[Any, list]:
    messages: list[dict[str, Any]] = []
    record, _ = run_isolated(
        function, arguments, *folders, on_message=messages.append, has_children=True
    )
    return record, [message for message in messages if FINISHED not in message]


def test_memory_short_in_one_rank_is_a_result_with_the_steps_that_all_finished(
    dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    record, rows = trained_by(
        isolated_groups.train_with_memory_short_in_rank_1,
        replace(TINY, n_gpus=2),
        *(dataset_folder, model_folder, tmp_path),
    )
    assert record["out_of_memory"]["requested_MB"] == 1536
    assert record["out_of_memory"]["step"] == 2
    assert record["group"]["rank"] == 1
    assert [row["step"] for row in rows] == [1]


def test_weights_on_the_host_reach_every_rank(
    dataset_folder: Path, model_folder: Path, tmp_path: Path, runs: dict[str, Run]
) -> None:
    record, rows = trained_by(
        isolated_groups.train_with_weights_on_the_host,
        replace(TINY, n_gpus=2, sharding="fsdp2"),
        *(dataset_folder, model_folder, tmp_path),
    )
    assert record["weights"]["made"] == "on the host"
    one = runs["one"].history["loss"]
    for row, loss in zip(rows, one, strict=True):
        assert row["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp2"])
def test_a_rehearsal_shares_gradients_and_leaves_no_trace(
    sharding: str, dataset_folder: Path, model_folder: Path, tmp_path: Path, runs: dict[str, Run]
) -> None:
    record, rows = trained_by(
        isolated_groups.train_with_a_rehearsal,
        replace(
            TINY,
            n_gpus=2,
            sharding=sharding,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=2,
        ),
        *(dataset_folder, model_folder, tmp_path),
    )
    assert "rehearsal" in record["phases"]
    assert record["group"]["gradients_agree"]
    assert all(record["gradients"].values())
    for row, loss in zip(rows, runs["one"].history["loss"], strict=True):
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
