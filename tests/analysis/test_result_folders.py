"""Result folders: what is merged, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support import grids
from support.tables import write_grid

from liger_benchmark.analysis.tables import (
    NotOneExperiment,
    analyse,
    read_experiment,
)
from liger_benchmark.run import COMPLETED, FAILED, OUT_OF_MEMORY, Run, UnreadableRun


def test_a_grid_survives_being_written_and_read(tmp_path: Path) -> None:
    runs = grids.complete()
    read = read_experiment([write_grid(tmp_path / "grid", runs)])
    assert [run.training_args for run in read] == [run.training_args for run in runs]
    assert analyse(read).headline == analyse(runs).headline


def test_parts_of_a_grid_are_merged_into_one(tmp_path: Path) -> None:
    runs = grids.complete()
    parts = [write_grid(tmp_path / "a", runs[:20]), write_grid(tmp_path / "b", runs[20:])]
    merged = read_experiment(parts[::-1])
    assert [run.training_args for run in merged] == [run.training_args for run in runs]


def test_the_same_run_found_twice_counts_once(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "a", grids.one_batch_size())
    assert len(read_experiment([folder, folder])) == 6


def other(run: Run, **changes: Any) -> Run:
    return dataclasses.replace(run, training_args=dataclasses.replace(run.training_args, **changes))


def with_package(run: Run, name: str) -> Run:
    run.record["environment"]["packages"][name] = "0.0.1"
    return run


def with_gpu(run: Run, name: str) -> Run:
    run.record["environment"]["gpu"]["name"] = name
    return run


def with_code(run: Run, code: str) -> Run:
    run.record["environment"]["code"] = code
    return run


def with_checksum(run: Run, part: str) -> Run:
    run.record[part]["checksum"] = "abc"
    return run


def with_revision(run: Run, part: str) -> Run:
    run.record[part]["revision"] = "abc"
    return run


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: other(r, model_name="x/y"), "model_name differs: builtin:phi3-mini in .*, x/y"),
        (lambda r: other(r, dataset_name="d"), "dataset_name differs"),
        (lambda r: other(r, max_seq_length=64), "max_seq_length differs: 128 in .*, 64 in "),
        (lambda r: other(r, max_steps=41), "max_steps differs: 40 in .*, 41 in "),
        (lambda r: other(r, learning_rate=1e-3), "learning_rate differs"),
        (lambda r: other(r, gpu_memory_limit_gib=40.0), "limit_gib differs: 39.0 in .*, 40.0 in "),
        (lambda r: with_gpu(r, "NVIDIA L4"), "the GPU differs: NVIDIA H100 .*, NVIDIA L4 in "),
        (lambda r: with_package(r, "torch"), "version of torch differs: 2.13.0 in .*, 0.0.1 in "),
        (lambda r: with_package(r, "triton"), "version of triton differs"),
        (lambda r: with_package(r, "transformers"), "version of transformers differs"),
        (lambda r: with_package(r, "trl"), "version of trl differs"),
        (lambda r: with_package(r, "liger-kernel"), "version of liger-kernel differs"),
        (lambda r: with_revision(r, "weights"), "the weights' revision differs: None in .*, abc"),
        (lambda r: with_revision(r, "dataset"), "the dataset's revision differs"),
        (
            lambda r: with_checksum(r, "weights"),
            "the weights' checksum differs: 5f0c2a-.* in .*, abc",
        ),
        (lambda r: with_code(r, "b2"), "the benchmark's code differs: a1 in .*, b2 in "),
    ],
)
def test_grids_that_do_not_belong_together_are_refused(
    tmp_path: Path, change: object, words: str
) -> None:
    runs = [with_code(run, "a1") for run in grids.one_batch_size()]
    first = write_grid(tmp_path / "a", runs)
    second = write_grid(tmp_path / "b", [change(grids.make_run("Liger", 24))])  # type: ignore[operator]
    with pytest.raises(NotOneExperiment, match=words) as refused:
        read_experiment([first, second])
    assert "\n" not in str(refused.value)


def test_two_different_runs_of_one_condition_are_refused(tmp_path: Path) -> None:
    first = write_grid(tmp_path / "a", [grids.make_run("Liger", 16, rate=100.0)])
    second = write_grid(tmp_path / "b", [grids.make_run("Liger", 16, rate=101.0)])
    with pytest.raises(NotOneExperiment, match=r"two different runs .* bs=16 liger run=1"):
        read_experiment([first, second])


def test_a_failed_run_without_records_is_no_reference_for_the_others(tmp_path: Path) -> None:
    bare = Run(grids.make_run("Liger", 16).training_args, FAILED)
    parts = [
        write_grid(tmp_path / "failed", [bare]),
        write_grid(tmp_path / "a", [grids.make_run("Liger", 24)]),
        write_grid(tmp_path / "b", [with_gpu(grids.make_run("vanilla", 24), "NVIDIA L4")]),
    ]
    with pytest.raises(NotOneExperiment, match="the GPU differs: NVIDIA H100 .* in a/.* in b/"):
        read_experiment(parts)


@pytest.mark.parametrize("size", [16, 24])
def test_rows_may_differ_between_batch_sizes_and_not_within_one(tmp_path: Path, size: int) -> None:
    run = grids.make_run("Liger", size, 2)
    run.record["dataset"]["checksum"] = "rows-of-24"
    first = write_grid(tmp_path / "a", [grids.make_run("Liger", 16)])
    second = write_grid(tmp_path / "b", [run])
    if size == 24:
        assert len(read_experiment([first, second])) == 2
    else:
        with pytest.raises(NotOneExperiment, match="dataset's checksum at batch size 16 differs"):
            read_experiment([first, second])


def test_arguments_that_change_no_measurement_may_differ(tmp_path: Path) -> None:
    first = write_grid(tmp_path / "a", [grids.make_run("Liger", 16, report_to="none")])
    second = write_grid(
        tmp_path / "b",
        [grids.make_run("vanilla", 16, report_to="wandb", require_idle_gpu=True)],
    )
    assert len(read_experiment([first, second])) == 2


@pytest.mark.parametrize("outcome", [COMPLETED, OUT_OF_MEMORY])
@pytest.mark.parametrize("failed_first", [True, False])
def test_a_rerun_replaces_the_run_that_failed(
    tmp_path: Path, outcome: str, failed_first: bool
) -> None:
    good = grids.make_run("Liger", 16, outcome=outcome)
    failed = [Run(good.training_args, FAILED, record={"error": {"type": t}}) for t in "AB"]
    parts = [write_grid(tmp_path / name, [run]) for name, run in zip("ab", failed, strict=True)]
    parts.insert(2 if failed_first else 0, write_grid(tmp_path / "again", [good]))
    assert [run.outcome for run in read_experiment(parts)] == [outcome]


def test_out_of_memory_and_completed_for_one_condition_are_refused(tmp_path: Path) -> None:
    first = write_grid(tmp_path / "a", [grids.make_run("Liger", 16)])
    second = write_grid(tmp_path / "b", [grids.make_run("Liger", 16, outcome=OUT_OF_MEMORY)])
    with pytest.raises(NotOneExperiment, match="two different runs"):
        read_experiment([first, second])


def test_a_failed_run_without_a_record_belongs_to_any_grid(tmp_path: Path) -> None:
    runs = grids.one_batch_size()
    runs[3] = Run(runs[3].training_args, FAILED)
    assert len(read_experiment([write_grid(tmp_path / "a", runs)])) == 6


@pytest.mark.parametrize("name", ["six_arms", "four_arms", "many_bars", "no_vanilla"])
def test_a_grid_of_any_arms_survives_being_written_and_read(tmp_path: Path, name: str) -> None:
    runs = grids.ALL[name]()
    read = read_experiment([write_grid(tmp_path / "grid", runs)])
    assert {r.training_args.slug for r in read} == {r.training_args.slug for r in runs}
    analysis = analyse(read)
    assert analysis.headline == analyse(runs).headline
    assert analysis.arms[0] == analyse(runs).arms[0]
    sizes = [r.training_args.per_device_train_batch_size for r in read]
    repeats = [r.training_args.run for r in read]
    assert list(zip(repeats, sizes, strict=True)) == sorted(zip(repeats, sizes, strict=True))


def test_parts_of_a_grid_of_many_arms_are_merged(tmp_path: Path) -> None:
    runs = grids.four_arms()
    parts = [write_grid(tmp_path / "a", runs[:12]), write_grid(tmp_path / "b", runs[12:])]
    assert len(read_experiment(parts)) == len(runs)


def test_a_setting_that_varies_only_between_folders_is_refused(tmp_path: Path) -> None:
    runs = grids.grid(sizes=(16,), repeats=1, arms=grids.SIX_ARMS, steps=4)
    compiled = [run for run in runs if run.training_args.torch_compile]
    plain = [run for run in runs if not run.training_args.torch_compile]
    parts = [write_grid(tmp_path / "a", compiled), write_grid(tmp_path / "b", plain)]
    with pytest.raises(NotOneExperiment, match="torch_compile differs: True in .*, False in "):
        read_experiment(parts)


def test_an_arm_name_with_two_settings_is_refused(tmp_path: Path) -> None:
    runs = grids.grid(sizes=(16,), repeats=1, arms=grids.FOUR_ARMS, steps=4)
    folder = write_grid(tmp_path / "a", runs)
    slow = grids.make_run("vanilla", 24, steps=4, optim="rmsprop")
    with pytest.raises(NotOneExperiment, match="optim of the arm vanilla differs: sgd in .*, rms"):
        read_experiment([folder, write_grid(tmp_path / "b", [slow])])


def test_an_arm_with_two_names_is_refused(tmp_path: Path) -> None:
    runs = grids.grid(sizes=(16,), repeats=1, arms=grids.FOUR_ARMS, steps=4)
    folder = write_grid(tmp_path / "a", runs)
    again = grids.make_run("vanilla, plain", 24, steps=4)
    with pytest.raises(
        NotOneExperiment, match="one arm has two names: vanilla in .* and vanilla, "
    ):
        read_experiment([folder, write_grid(tmp_path / "b", [again])])


def test_kernels_of_vanilla_and_the_order_of_kernels_are_not_compared(tmp_path: Path) -> None:
    runs = [
        grids.make_run("vanilla", 16, liger_kernels=["rope"]),
        grids.make_run("vanilla", 24),
        grids.make_run("Liger", 16, liger_kernels=["rope", "swiglu"]),
        grids.make_run("Liger", 24, liger_kernels=["swiglu", "rope"]),
    ]
    assert len(read_experiment([write_grid(tmp_path / "a", runs)])) == 4


@pytest.mark.parametrize(
    ("part", "change"),
    [("dataset", {"max_seq_length": 512}), ("weights", {"seed": 7}), ("weights", {"bf16": False})],
)
def test_checksums_are_compared_between_runs_with_the_same_rows_or_weights(
    tmp_path: Path, part: str, change: dict[str, Any]
) -> None:
    arms = {"vanilla": {}, "other": change}
    runs = grids.grid(sizes=(16,), repeats=2, arms=arms, steps=4)
    for run in runs[1::2]:
        run.record[part]["checksum"] = "another"
    parts = [write_grid(tmp_path / "a", runs[:2]), write_grid(tmp_path / "b", runs[2:])]
    assert len(read_experiment(parts)) == 4
    runs[3].record[part]["checksum"] = "a third"
    parts[1] = write_grid(tmp_path / "c", runs[2:])
    with pytest.raises(
        NotOneExperiment, match=f"the {part}('|s').*differs: another in a/.*, a third in c/"
    ):
        read_experiment(parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: with_gpu(run, "NVIDIA L4"),
        lambda run: with_package(run, "torch"),
        lambda run: with_code(run, "b2"),
        lambda run: with_checksum(run, "weights"),
        lambda run: with_checksum(run, "dataset"),
    ],
)
def test_runs_of_one_folder_are_read_whatever_they_recorded(tmp_path: Path, change: Any) -> None:
    """They are one experiment; whether they can be compared is judged by the validity gate."""
    runs = [with_code(run, "a1") for run in grids.one_batch_size()]
    change(runs[0])
    read = read_experiment([write_grid(tmp_path / "a", runs)])
    assert len(read) == 6
    cells = analyse(read).cells.set_index("arm")["invalid"]
    assert cells["Liger"] and not cells["vanilla"]


def test_an_unreadable_run_is_named_in_one_line(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "grid", grids.one_batch_size())
    broken = next((folder / "runs").iterdir())
    (broken / "history.csv").write_text("step\n1\n")
    with pytest.raises(UnreadableRun, match=f"grid: {broken.name}: ") as refused:
        read_experiment([folder])
    assert "\n" not in str(refused.value)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotOneExperiment, match="holds no runs"):
        read_experiment([tmp_path])
