"""Several GPUs as settings and axes, and what is refused before anything starts."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment import preflight
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.estimate import gpu_hours
from liger_benchmark.experiment.grid import expand_grid
from liger_benchmark.training import environment
from liger_benchmark.training.dataset import rows_needed
from liger_benchmark.training.trainer import sft_config
from liger_benchmark.training.weights_place import weights_on_host
from liger_benchmark.validation import InvalidInput


def test_gpus_and_sharding_make_arms() -> None:
    axes = ExperimentArguments(
        use_liger=[False], per_device_train_batch_size=[1], n_gpus=[1, 2], sharding=["ddp", "fsdp2"]
    )
    assert [arguments.arm for arguments in expand_grid(axes, TINY, 1)] == [
        "vanilla", "vanilla + fsdp2", "vanilla + n_gpus=2", "vanilla + n_gpus=2 + fsdp2",
    ]  # fmt: skip


@pytest.mark.parametrize(("there", "words"), [(["0"], "1 GPU"), (["0", "1", "2"], "3 GPUs")])
def test_more_gpus_than_there_are_is_one_line(
    there: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "visible_devices", lambda: there)
    grid = [replace(TINY, n_gpus=n) for n in (1, 4)]
    with pytest.raises(InvalidInput) as error:
        preflight.check_experiment(grid, on_cluster=False, gpu="NVIDIA H100")
    assert str(error.value).startswith(
        f"training_args.n_gpus: 4 are asked for, and this machine shows {words};"
    )
    assert "\n" not in str(error.value)
    preflight.check_experiment(grid, on_cluster=True, gpu=None)
    monkeypatch.setattr(environment, "visible_devices", lambda: ["0", "1", "2", "3"])
    preflight.check_experiment(grid, on_cluster=False, gpu="NVIDIA H100")


def test_conditions_at_a_time_need_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "visible_devices", lambda: ["0", "1", "2"])
    grid = [replace(TINY, n_gpus=2, parallel_conditions=2)]
    with pytest.raises(InvalidInput) as error:
        preflight.check_experiment(grid, on_cluster=False, gpu="NVIDIA H100")
    assert str(error.value) == (
        "training_args.parallel_conditions: 2 conditions at a time need 4 GPUs, and this machine "
        "shows 3 GPUs; run fewer at a time"
    )
    with pytest.raises(InvalidInput, match="parallel_conditions: on a cluster every condition has"):
        preflight.check_experiment(grid, on_cluster=True, gpu=None)
    for fits in (replace(TINY, parallel_conditions=3), replace(TINY, n_gpus=3)):
        preflight.check_experiment([fits], on_cluster=False, gpu="NVIDIA H100")
    # On a CPU there is nothing to share out.
    preflight.check_experiment(grid, on_cluster=False, gpu=None)


def test_zero3_without_deepspeed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "deepspeed" else found(name)
    )
    for on_cluster, words in ((True, "which the image does not have"), (False, "not installed")):
        with pytest.raises(InvalidInput, match=f"zero3 is DeepSpeed's, .*{words}"):
            preflight.check_experiment(
                [replace(TINY, n_gpus=2, sharding="zero3")], on_cluster=on_cluster, gpu=None
            )


@pytest.mark.parametrize("settings", [{"n_gpus": 0}, {"sharding": "fsdp"}, {"n_gpus": True}])
def test_what_is_no_way_of_sharing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        replace(TINY, **settings)


def test_rows_and_gpu_hours_are_those_of_all_gpus() -> None:
    one = TrainingArguments()
    two = replace(one, n_gpus=2)
    assert rows_needed(two) == 2 * rows_needed(one)
    hours = [gpu_hours([arguments], 10**9, "NVIDIA H100") for arguments in (one, two)]
    assert hours[0] and hours[1] == pytest.approx(2 * hours[0])


def test_fsdp2_keeps_the_weights_precision_and_checkpoints_by_itself(tmp_path: Any) -> None:
    arguments = TrainingArguments(
        n_gpus=2, sharding="fsdp2", gradient_checkpointing=True, reshard_after_forward=False
    )
    config = sft_config(arguments, tmp_path)
    assert config["bf16"] is False and config["gradient_checkpointing"] is False
    assert config["fsdp"] is True
    assert config["fsdp_config"] == {
        "version": 2,
        "reshard_after_forward": False,
        "activation_checkpointing": True,
        "cpu_ram_efficient_loading": False,
    }
    assert "fsdp" not in sft_config(replace(arguments, sharding="ddp"), tmp_path)


def test_a_model_that_does_not_fit_whole_is_made_on_the_host() -> None:
    gib = 2**30
    sharded = replace(TINY, n_gpus=2, sharding="fsdp2")
    assert not weights_on_host(sharded, 15 * gib, 80 * gib)
    assert weights_on_host(sharded, 140 * gib, 80 * gib)
    assert weights_on_host(replace(sharded, gpu_memory_limit_gib=20.0), 15 * gib, 80 * gib)
    assert not weights_on_host(replace(TINY, n_gpus=2), 140 * gib, 80 * gib)
