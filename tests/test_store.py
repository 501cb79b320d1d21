"""A finished run is found by everything that could change its result, unless it is damaged."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from support.tiny import TINY

from liger_benchmark import store
from liger_benchmark.files import atomic_folder
from liger_benchmark.run import (
    COMPLETED,
    FAILED,
    HISTORY_FILE,
    OUT_OF_MEMORY,
    RECORD_FILE,
    Run,
    UnreadableRun,
    read_run,
    write_run,
)
from liger_benchmark.training import environment


def some_run(outcome: str = COMPLETED) -> Run:
    history = pd.DataFrame({"step": [1, 2], "loss": [2.5, 2.25], "is_warmup": [True, False]})
    return Run(TINY, outcome, history, {"phases": {"steps": 1.5}})


def replaced(old: Path, new: Path) -> bool:
    """No folder that is there already is kept."""
    return False


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for outcome in (COMPLETED, OUT_OF_MEMORY, FAILED):
        run = read_run(write_run(tmp_path / outcome, some_run(outcome)))
        assert (run.training_args, run.outcome) == (TINY, outcome)
        assert run.record == {"phases": {"steps": 1.5}}
        pd.testing.assert_frame_equal(run.history, some_run().history)


def test_a_run_without_a_single_step_comes_back_empty(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, Run(TINY, OUT_OF_MEMORY)))
    assert run.history.empty


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / RECORD_FILE).unlink(), "record.json is missing"),
        (lambda f: (f / HISTORY_FILE).unlink(), "history.csv is missing"),
        (lambda f: (f / HISTORY_FILE).write_text("step,loss\n1,2.5\n"), "1 rows of 2"),
        (lambda f: (f / HISTORY_FILE).write_text(""), "cut short"),
        (lambda f: (f / HISTORY_FILE).write_text("step\n1\n2\n3\n"), "3 rows of 2"),
        (lambda f: (f / RECORD_FILE).write_text('{"format": 1'), "delimiter"),
        (lambda f: (f / RECORD_FILE).write_text("[]"), "not a mapping"),
        (lambda f: (f / RECORD_FILE).write_text('{"format": 99}'), "format is not 1"),
        (lambda f: (f / RECORD_FILE).write_text('{"format": 1}'), "lacks 'training_args'"),
    ],
)
def test_a_damaged_run_is_an_error_of_one_line_and_not_finished(
    tmp_path: Path, damage: object, message: str
) -> None:
    folder = write_run(tmp_path / "run", some_run())
    assert store.finished(folder) is not None
    damage(folder)  # type: ignore[operator]
    with pytest.raises(UnreadableRun, match=message) as error:
        read_run(folder)
    assert "\n" not in str(error.value)
    assert store.finished(folder) is None


@pytest.mark.parametrize("name", [HISTORY_FILE, RECORD_FILE])
def test_a_file_truncated_anywhere_is_not_a_finished_run(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path, some_run())
    whole = (folder / name).read_bytes()
    for length in range(len(whole.rstrip())):
        (folder / name).write_bytes(whole[:length])
        assert store.finished(folder) is None, whole[:length]


def test_out_of_memory_is_finished_and_failed_is_not(tmp_path: Path) -> None:
    assert store.finished(write_run(tmp_path / "a", some_run(OUT_OF_MEMORY))) is not None
    assert store.finished(write_run(tmp_path / "b", some_run(FAILED))) is None
    assert store.finished(tmp_path / "absent") is None


def test_a_run_that_is_interrupted_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def interrupted(output: Path) -> Run:
        output.mkdir()
        (output / "weights").write_text("half")
        raise KeyboardInterrupt

    folder = tmp_path / "runs" / "one"
    with pytest.raises(KeyboardInterrupt):
        store.run_and_keep(folder, interrupted)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_is_replaced_atomically(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with atomic_folder(folder, replaced) as fresh:
        (fresh / "old").write_text("1")
    with (
        pytest.raises(OSError, match="disk full"),
        atomic_folder(folder, replaced) as fresh,
    ):
        (fresh / "new").write_text("2")
        raise OSError("disk full")
    assert [p.name for p in folder.iterdir()] == ["old"]
    with atomic_folder(folder, replaced) as fresh:
        (fresh / "new").write_text("2")
    assert [p.name for p in folder.iterdir()] == ["new"]


def test_the_key_changes_with_everything_that_could_change_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dataset = tmp_path / "model", tmp_path / "dataset"
    for folder in (model, dataset):
        folder.mkdir()
        (folder / "file.json").write_text("{}")

    def key() -> Path:
        return store.run_folder(tmp_path, TINY, dataset, model)

    seen = {key()}
    assert key() in seen

    def is_new() -> bool:
        before = len(seen)
        seen.add(key())
        return len(seen) == before + 1

    (model / "file.json").write_text('{"a": 1}')
    assert is_new()
    (dataset / "more.json").write_text("{}")
    assert is_new()
    for variable in (
        "PYTORCH_CUDA_ALLOC_CONF",
        "TORCHDYNAMO_DISABLE",
        "CUDA_LAUNCH_BLOCKING",
        "NVIDIA_TF32_OVERRIDE",
        "TRITON_DISABLE_LINE_INFO",
        "LIGER_SOMETHING",
        "OMP_NUM_THREADS",
    ):
        for value in ("2", "3"):
            monkeypatch.setenv(variable, value)
            assert is_new(), (variable, value)
    gpu: dict[str, object] = {}
    monkeypatch.setattr(store, "visible_devices", lambda: ["0"])
    for part, values in (
        ("name", ("Some GPU", "Another")),
        ("uuid", ("GPU-1", "GPU-2")),
        ("memory_GiB", (40.0, 80.0)),
        ("driver", ("580.1", "590.2")),
        ("power_limit_W", (None, 300.0, 700.0)),
    ):
        for value in values:
            gpu[part] = value
            monkeypatch.setattr(store, "gpu", lambda device: dict(gpu))
            assert is_new(), (part, value)
    versions = environment.package_versions()
    for package in ("torch", "nvidia-cudnn-cu13", "nvidia-cublas"):
        versions[package] = "99.9"
        monkeypatch.setattr(store, "package_versions", lambda: dict(versions))
        assert is_new(), package
    monkeypatch.setattr(store, "code_digest", lambda: "other")
    assert is_new()
    for changed in (replace(TINY, seed=1), replace(TINY, run=2), replace(TINY, use_liger=True)):
        assert store.run_folder(tmp_path, changed, dataset, model) not in seen


def test_the_gpus_in_the_key_are_those_that_the_condition_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "visible_devices", lambda: ["0", "1"])
    monkeypatch.setattr(store, "gpu", lambda device: {"uuid": f"GPU-{device}"})

    def key(n_gpus: int, devices: list[str] | None = None) -> Path:
        arguments = replace(TINY, n_gpus=n_gpus)
        return store.run_folder(tmp_path, arguments, tmp_path, tmp_path, devices)

    assert key(1) == key(1, ["0"]) == key(1, ["0", "2"]) != key(1, ["1"])
    assert key(2) == key(2, ["0", "1"]) != key(2, ["0", "2"])


@pytest.mark.parametrize("name", ["cuda_visible_devices", "hf_home", "cudnn_version"])
def test_a_variable_that_changes_no_result_is_no_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = store.run_folder(tmp_path, TINY, tmp_path, tmp_path)
    monkeypatch.setenv(name.upper(), "")
    assert store.run_folder(tmp_path, TINY, tmp_path, tmp_path) == before


def test_the_versions_of_cublas_and_cudnn_are_in_the_environments_record() -> None:
    assert {"nvidia-cublas", "nvidia-cudnn-cu13"} <= set(environment.PACKAGES)


def test_the_tracker_is_no_part_of_the_key(tmp_path: Path) -> None:
    tracked = replace(TINY, report_to="wandb")
    assert store.run_folder(tmp_path, TINY, tmp_path, tmp_path) == store.run_folder(
        tmp_path, tracked, tmp_path, tmp_path
    )


def test_the_record_is_plain_json(tmp_path: Path) -> None:
    record = json.loads((write_run(tmp_path, some_run()) / RECORD_FILE).read_text())
    assert record["training_args"]["per_device_train_batch_size"] == 2
    assert record["n_history_rows"] == 2


def test_a_grid_has_a_folder_with_date_model_and_gpu_and_finds_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "visible_gpu", lambda: "NVIDIA H100 80GB HBM3")
    grid, other = [TINY, replace(TINY, run=2)], [replace(TINY, seed=7)]
    folder = store.experiment_folder(tmp_path, grid)
    assert folder.parent == tmp_path / "results" and folder.is_dir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-phi3-tiny-h100-80gb-hbm3", folder.name)
    # Another grid of the same day, model and GPU.
    assert store.experiment_folder(tmp_path, other).name == f"{folder.name}-2"
    # The same grid on another day.
    folder = folder.rename(folder.with_name("2025-01-01-phi3-tiny-h100"))
    assert store.experiment_folder(tmp_path, grid) == folder
    # A trial on the CPU of the same machine does not overwrite it.
    monkeypatch.setattr(store, "visible_gpu", lambda: None)
    assert store.experiment_folder(tmp_path, grid).name.endswith("-phi3-tiny-cpu")


def test_a_damaged_experiment_file_belongs_to_no_grid(tmp_path: Path) -> None:
    folder = store.experiment_folder(tmp_path, [TINY])
    (folder / store.EXPERIMENT_FILE).write_text("{")
    assert store.experiment_folder(tmp_path, [TINY]) != folder


def test_latest_points_to_the_newest_folder_or_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        store.point_latest(tmp_path / name)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    (tmp_path / "latest").unlink()

    def no_links(*args: object, **kwargs: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    store.point_latest(tmp_path / "b")
    assert (tmp_path / "latest").read_text() == "b\n"
