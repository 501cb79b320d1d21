"""The workflow as a user runs it on a machine of their own, with Flyte's real local execution."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import isolated_functions, isolated_training
from support.tiny import SHORT, TINY

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.inputs_file import ExperimentInputs, read_inputs_file
from liger_benchmark.flyte import conditions, local_run, reporting
from liger_benchmark.report.page import main as rebuild_report
from liger_benchmark.run import read_run
from liger_benchmark.training import condition
from liger_benchmark.training.isolated_process import run_isolated

PROJECT = Path(__file__).parents[2]
BOTH_ARMS = ExperimentArguments(use_liger=[True, False], per_device_train_batch_size=[1])


@pytest.fixture(autouse=True)
def build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    return tmp_path / "build"


def run_experiment(
    training_args: TrainingArguments,
    experiment_args: ExperimentArguments = BOTH_ARMS,
    n_runs: int = 1,
) -> tuple[list[Any], pd.DataFrame]:
    return workflow.benchmarking_experiment(
        experiment_args=experiment_args, training_args=training_args, n_runs=n_runs
    )


def report_of(build: Path) -> str:
    [page] = build.glob("results/*-*/report.html")
    return page.read_text(encoding="utf-8")


def test_every_history_is_its_own_conditions(build_folder: Path) -> None:
    grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2])
    results, table = run_experiment(TINY, grid, n_runs=2)
    assert len(results) == len(table) == 4
    folders = set()
    for result in results:
        folder = Path(result.training_history.path).parent
        folders.add(folder)
        assert Path(result.model_dir.path).parent == folder
        run = read_run(folder)
        assert run.training_args == result.training_args
        assert folder.name.startswith(result.training_args.slug)
        for name in ("use_liger", "per_device_train_batch_size", "run"):
            assert set(run.history[name]) == {getattr(result.training_args, name)}
    assert len(folders) == 4


def test_vanilla_after_liger_in_one_experiment_is_vanilla(build_folder: Path) -> None:
    results, _ = run_experiment(SHORT)
    liger, vanilla = (read_run(Path(r.record.path).parent) for r in results)
    assert liger.training_args.use_liger and not vanilla.training_args.use_liger
    for part, present in vanilla.record["liger"]["parts"].items():
        assert vanilla.record["liger"][part] == 0 < present
        assert liger.record["liger"][part] == present
    difference = (liger.history["loss"] - vanilla.history["loss"]).abs().max()
    assert difference < 1e-4
    assert "Liger" in report_of(build_folder)


def example(name: str) -> ExperimentInputs:
    return read_inputs_file(PROJECT / "examples" / f"{name}.yaml")


def run_example(inputs: ExperimentInputs) -> pd.DataFrame:
    return workflow.benchmarking_experiment(
        experiment_args=inputs.experiment_args,
        training_args=inputs.training_args,
        n_runs=inputs.n_runs,
    )[1]


def test_an_axis_of_ones_own_goes_all_the_way_to_the_report(build_folder: Path) -> None:
    inputs = example("any_axis")
    # As it is, but shorter: the interpreter is slow.
    inputs = replace(inputs, training_args=replace(inputs.training_args, max_seq_length=16))
    table = run_example(inputs)
    arms = ["vanilla", "vanilla + adamw_torch", "Liger", "Liger + adamw_torch"]
    assert sorted(table["arm"].unique()) == sorted(arms)
    assert set(table["outcome"]) == {"completed"}
    assert len(table) == 4
    page = report_of(build_folder)
    for arm in arms:
        assert arm in page
    # The page's own inputs file spans the same grid.
    [text] = re.findall(r"<pre>(experiment_args:.*?)</pre>", page, re.DOTALL)
    again = build_folder / "again.yaml"
    again.write_text(html.unescape(text), encoding="utf-8")
    repeated = read_inputs_file(again)
    assert repeated.experiment_args.baseline == "vanilla + adamw_torch"
    assert {a.condition for a in repeated.grid} == {a.condition for a in inputs.grid}


def test_a_sub_task_that_raises_leaves_none_and_the_report_says_failed(build_folder: Path) -> None:
    # In bf16 a CPU trains the plain model, and Liger's interpreter refuses.
    results, table = run_experiment(replace(TINY, bf16=True))
    assert results[0] is None
    assert results[1] is not None
    assert list(table.set_index("arm").loc[["Liger", "vanilla"], "outcome"]) == [
        "failed",
        "completed",
    ]
    page = report_of(build_folder)
    assert "failed" in page
    assert "interpreter" in page  # the reason, in the child's own words


def test_a_killed_sub_task_leaves_none_and_is_called_failed(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = conditions.run_condition

    def killed_if_liger(arguments: TrainingArguments, *args: Any, **kwargs: Any) -> Any:
        if arguments.use_liger:
            run_isolated(isolated_functions.kill_itself, on_message=print)
        return original(arguments, *args, **kwargs)

    monkeypatch.setattr(conditions, "run_condition", killed_if_liger)
    results, table = run_experiment(TINY)
    assert [result is None for result in results] == [True, False]
    failed = table[table["arm"] == "Liger"].iloc[0]
    assert failed["outcome"] == "failed"
    assert "signal 9" in failed["reason"]


def test_a_failed_run_keeps_its_reason_and_its_steps_until_it_is_tried_again(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = condition.run_isolated

    def fail_in_step_two(function: Any, arguments: Any, *args: Any, **kwargs: Any) -> Any:
        if arguments.per_device_train_batch_size == 2:
            return original(function, arguments, *args, **kwargs)
        return original(
            isolated_training.train_with_fault,
            "mid-run",
            isolated_training.ANYTHING_ELSE,
            arguments,
            *args,
            **kwargs,
        )

    monkeypatch.setattr(condition, "run_isolated", fail_in_step_two)
    grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2])
    run_experiment(TINY, grid)
    [failed] = (build_folder / "failed").iterdir()
    assert read_run(failed).record["error"]["message"] == "something else broke"
    assert list(read_run(failed).history["step"]) == [1]
    monkeypatch.setattr(condition, "run_isolated", original)
    run_experiment(TINY, grid)
    assert list((build_folder / "failed").iterdir()) == []


def test_the_page_of_a_run_is_the_page_that_the_command_rebuilds(
    build_folder: Path, tmp_path: Path
) -> None:
    grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[2, 1])
    run_experiment(TINY, grid)
    [page] = build_folder.glob("results/*-*/report.html")
    rebuilt = tmp_path / "rebuilt.html"
    rebuild_report([str(page.parent), "--output", str(rebuilt)])
    assert rebuilt.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_the_page_is_rebuilt_with_the_baseline_that_was_chosen(build_folder: Path) -> None:
    grid = ExperimentArguments(
        use_liger=[False],
        per_device_train_batch_size=[1],
        optim=["sgd", "adamw_torch"],
        baseline="vanilla + adamw_torch",
    )
    run_experiment(TINY, grid)
    [page] = build_folder.glob("results/*-*/report.html")
    before = page.read_text(encoding="utf-8")
    assert rebuild_report([str(page.parent)]) == 0
    assert page.read_text(encoding="utf-8") == before
    assert read_inputs_file(page.parent / "inputs.yaml").experiment_args.baseline == grid.baseline


def test_rows_of_another_form_are_found_before_any_run_begins(
    build_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match='dataset_format: "text" would fit'):
        run_experiment(replace(TINY, dataset_format="messages"))
    assert "bs=" not in capsys.readouterr().out


def test_two_experiments_take_turns_in_the_folder_of_their_report(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[Path] = []

    @contextlib.contextmanager
    def lock(folder: Path) -> Iterator[None]:
        page = folder / "report.html"
        before = page.stat().st_mtime_ns if page.exists() else 0
        yield
        assert page.stat().st_mtime_ns > before
        locked.append(folder)

    monkeypatch.setattr(reporting.files, "lock", lock)
    run_experiment(TINY, ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1]))
    assert {*locked} == {*build_folder.glob("results/*-*/")}


def test_out_of_memory_is_a_result_with_the_history_so_far(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = condition.run_isolated

    def out_of_memory_if_vanilla(function: Any, arguments: Any, *args: Any, **kwargs: Any) -> Any:
        if arguments.use_liger:
            return original(function, arguments, *args, **kwargs)
        return original(
            isolated_training.train_with_fault,
            "mid-run",
            isolated_training.OUT_OF_MEMORY,
            arguments,
            *args,
            **kwargs,
        )

    monkeypatch.setattr(condition, "run_isolated", out_of_memory_if_vanilla)
    results, table = run_experiment(TINY)
    assert [result.outcome for result in results] == ["completed", "out_of_memory"]
    assert len(pd.read_csv(results[1].training_history.path)) == 1
    assert set(table["outcome"]) == {"completed", "out_of_memory"}


def test_only_what_is_missing_runs_again(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []
    original = conditions.run_condition

    def counting(arguments: TrainingArguments, *args: Any, **kwargs: Any) -> Any:
        trained.append(arguments.condition)
        if len(trained) == 1:
            run_isolated(isolated_functions.kill_itself, on_message=print)
        return original(arguments, *args, **kwargs)

    monkeypatch.setattr(conditions, "run_condition", counting)
    grid = ExperimentArguments(use_liger=[False], per_device_train_batch_size=[1, 2])
    first, _ = run_experiment(TINY, grid)
    second, _ = run_experiment(TINY, grid)
    assert [result is None for result in first] == [True, False]
    assert [result is None for result in second] == [False, False]
    assert trained == [
        "phi3-tiny bs=1 vanilla run=1",
        "phi3-tiny bs=2 vanilla run=1",
        "phi3-tiny bs=1 vanilla run=1",
    ]
    assert "kept from an earlier run" in capsys.readouterr().out
