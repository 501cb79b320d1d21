"""W&B as a person finds it afterwards: read back from the files that its offline mode writes."""

from __future__ import annotations

import dataclasses
import json
import runpy
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import psutil
import pytest
import wandb
from flytekit.types.directory import FlyteDirectory
from support.tiny import TINY
from wandb.errors import CommError, UsageError
from wandb.proto.wandb_internal_pb2 import Record

import liger_kernel_finetuning as workflow
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import conditions, local_run, settings, tracking
from liger_benchmark.flyte.tracking import TrackingRefused
from liger_benchmark.run import COMPLETED, OUT_OF_MEMORY, Run, read_run
from liger_benchmark.training.isolated_process import ChildFailed

TRACKED = dataclasses.replace(TINY, report_to="wandb", run=2)
ROWS = [
    {"use_liger": False, "per_device_train_batch_size": 2, "run": 2, "step": step}
    | {"loss": 6.0 - step, "avg_tokens_per_second": 100.0 + step, "learning_rate": 1e-3}
    for step in (1, 2, 3)
]


@dataclasses.dataclass
class WandbRun:
    """What one `.wandb` file says."""

    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    exit_code: int | None = None


def records(path: Path) -> Iterator[Record]:
    """The records of a `.wandb` file: LevelDB's log format behind a header of seven bytes."""
    content, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def read_wandb(path: Path) -> WandbRun:
    found = WandbRun()

    def values(items: Any) -> dict[str, Any]:
        return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}

    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.name, found.group = run.display_name, run.run_group
            found.project, found.entity = run.project, run.entity
            found.config |= values(run.config.update)
        elif kind == "history":
            found.history.append(values(record.history.item))
        elif kind == "summary":
            found.summary |= values(record.summary.update)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


@pytest.fixture
def wandb_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local_run, "BUILD", tmp_path / "build")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "tracked"))
    (tmp_path / "tracked").mkdir()
    return tmp_path / "tracked"


def tracked_runs(folder: Path) -> list[WandbRun]:
    return [read_wandb(path) for path in sorted(folder.rglob("*.wandb"))]


Outcome = Callable[[TrainingArguments], Run]


def completes(arguments: TrainingArguments) -> Run:
    return Run(arguments, COMPLETED, pd.DataFrame(ROWS), {"phases": {}})


def runs_out_of_memory(arguments: TrainingArguments) -> Run:
    return Run(arguments, OUT_OF_MEMORY, pd.DataFrame(ROWS), {"out_of_memory": {"step": 4}})


def fails(_: TrainingArguments) -> Run:
    raise ChildFailed({"type": "ValueError", "message": "no", "traceback": "ValueError: no"})


def is_interrupted(_: TrainingArguments) -> Run:
    raise KeyboardInterrupt


@pytest.fixture
def train(
    wandb_folder: Path, dataset_folder: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., workflow.TrainingResult]:
    """The workflow's training task with a stub in place of the child process."""

    def run(outcome: Outcome = completes, arguments: TrainingArguments = TRACKED) -> Any:
        def condition(
            given: TrainingArguments, *_: Path, on_row: Callable[[Any], None], devices: object
        ) -> Run:
            for row in ROWS:
                on_row(row)
            return outcome(given)

        monkeypatch.setattr(conditions, "run_condition", condition)
        return workflow.train_model(
            training_args=arguments,
            dataset_cache_dir=FlyteDirectory(str(dataset_folder)),
            model_cache_dir=FlyteDirectory(str(model_folder)),
        )

    return run


def record_of(result: workflow.TrainingResult) -> dict[str, Any]:
    return read_run(Path(result.record.path).parent).record


def test_a_condition_is_one_named_run_with_its_settings_as_config(
    train: Any, wandb_folder: Path
) -> None:
    train()
    [run] = tracked_runs(wandb_folder)
    assert run.name == "phi3-tiny bs=2 vanilla run=2" == TRACKED.condition
    assert (run.project, run.entity) == (settings.WANDB_PROJECT, settings.WANDB_ENTITY)
    config = {key: value for key, value in run.config.items() if key != "_wandb"}
    assert config == dataclasses.asdict(TRACKED)


def test_project_and_entity_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "kernels")
    monkeypatch.setenv("WANDB_ENTITY", "a-team")
    settled = runpy.run_path(settings.__file__)
    assert (settled["WANDB_PROJECT"], settled["WANDB_ENTITY"]) == ("kernels", "a-team")
    handed_on = settled["REGISTRATION"]
    assert (handed_on["WANDB_PROJECT"], handed_on["WANDB_ENTITY"]) == ("kernels", "a-team")


def test_every_steps_figures_are_logged_at_their_step(train: Any, wandb_folder: Path) -> None:
    train()
    [run] = tracked_runs(wandb_folder)
    assert [row["_step"] for row in run.history] == [1, 2, 3]
    for logged, row in zip(run.history, ROWS, strict=True):
        assert logged["loss"] == row["loss"]
        assert logged["learning_rate"] == row["learning_rate"]
        assert logged["avg_tokens_per_second"] == row["avg_tokens_per_second"]
        assert "use_liger" not in logged


def test_a_completed_condition_is_closed_with_exit_code_0(train: Any, wandb_folder: Path) -> None:
    result = train()
    [run] = tracked_runs(wandb_folder)
    assert (run.exit_code, run.summary["outcome"]) == (0, "completed")
    assert "wandb_url" not in record_of(result)


def test_out_of_memory_is_a_measurement_closed_with_exit_code_0(
    train: Any, wandb_folder: Path
) -> None:
    assert train(runs_out_of_memory).outcome == "out_of_memory"
    [run] = tracked_runs(wandb_folder)
    assert (run.exit_code, run.summary["outcome"]) == (0, "out_of_memory")
    assert len(run.history) == len(ROWS)


@pytest.mark.parametrize("how", [fails, is_interrupted])
def test_a_failed_condition_is_closed_with_another_exit_code(
    train: Any, wandb_folder: Path, how: Outcome
) -> None:
    with pytest.raises((Exception, KeyboardInterrupt)):  # noqa: B017 - flytekit wraps the first
        train(how)
    [run] = tracked_runs(wandb_folder)
    assert (run.exit_code, run.summary["outcome"]) == (1, "failed")
    assert wandb.run is None


def test_conditions_of_an_experiment_share_a_group_of_their_own(
    train: Any, wandb_folder: Path
) -> None:
    train()
    train(arguments=dataclasses.replace(TRACKED, use_liger=True, per_device_train_batch_size=4))
    train(arguments=dataclasses.replace(TRACKED, max_seq_length=64))
    groups = [run.group for run in tracked_runs(wandb_folder)]
    assert len(groups) == 3
    assert len(set(groups)) == 2
    assert all(group.startswith("phi3-tiny ") for group in groups)


def test_what_the_grid_varies_parts_no_group() -> None:
    short, long = (dataclasses.replace(TRACKED, max_seq_length=n) for n in (64, 128))

    def groups(grid: list[TrainingArguments]) -> set[str]:
        return {tracking.experiment_name(args, grid, "version") for args in (short, long)}

    assert len(groups([])) == 2
    assert len(groups([short, long])) == 1


def test_a_result_kept_from_an_earlier_run_makes_no_wandb_run(
    train: Any, wandb_folder: Path
) -> None:
    first, second = train(), train(fails)
    assert first.outcome == second.outcome == "completed"
    assert len(tracked_runs(wandb_folder)) == 1


def test_without_tracking_nothing_of_wandb_is_touched(
    train: Any, wandb_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: Any, **__: Any) -> None:
        raise AssertionError("W&B was touched")

    for name in ("init", "login", "setup", "finish", "log"):
        monkeypatch.setattr(wandb, name, touched)
    monkeypatch.setattr("socket.socket.connect", touched)
    assert train(arguments=dataclasses.replace(TRACKED, report_to="none")).outcome == "completed"
    assert not any(wandb_folder.iterdir())


class OnlineRun(SimpleNamespace):
    """Stands for W&B's run while it is online, which no test is."""

    def __init__(self) -> None:
        super().__init__(url="https://wandb.example/a/b/runs/c", offline=False, summary={})
        self.exit_codes: list[int] = []

    def log(self, metrics: dict[str, Any], step: int) -> None:
        self.last_step = step

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> OnlineRun:
    run = OnlineRun()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    return run


@pytest.mark.parametrize("how", [completes, runs_out_of_memory])
def test_the_address_of_the_run_is_kept_in_the_record(
    train: Any, online: OnlineRun, how: Outcome
) -> None:
    assert record_of(train(how))["wandb_url"] == online.url
    assert online.exit_codes == [0]


def test_the_address_of_a_failed_run_is_kept_with_its_error(
    train: Any, online: OnlineRun, wandb_folder: Path
) -> None:
    with pytest.raises(Exception, match="no"):
        train(fails)
    [folder] = (local_run.BUILD / "failed").iterdir()
    assert read_run(folder).record == {
        "error": {"type": "ValueError", "message": "no", "traceback": "ValueError: no"},
        "wandb_url": online.url,
    }


@pytest.mark.parametrize("call", ["log", "finish"])
def test_an_error_of_wandbs_costs_a_line_and_no_measurement(
    train: Any,
    online: OnlineRun,
    call: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise CommError("the line\nis dead")

    monkeypatch.setattr(online, call, breaks)
    result = train()
    assert result.outcome == "completed"
    assert len(pd.read_csv(result.training_history.path)) == len(ROWS)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert warnings == ["W&B: CommError: the line is dead"]
    if call == "log":  # the record is written before the run is closed
        assert record_of(result)["wandb_error"] == "CommError: the line is dead"


def test_a_wandb_process_that_dies_costs_its_condition_the_tracking_and_the_next_one_nothing(
    train: Any, wandb_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def kills_wandb(arguments: TrainingArguments) -> Run:
        for process in psutil.Process().children():
            if process.name().startswith("wandb-core"):
                process.kill()
                process.wait(10)
        tracking.log_row(ROWS[-1])
        return completes(arguments)

    result = train(kills_wandb)
    assert result.outcome == "completed"
    assert len(pd.read_csv(result.training_history.path)) == len(ROWS)
    error = record_of(result)["wandb_error"]
    assert len([line for line in capsys.readouterr().err.splitlines() if "W&B: " in line]) == 1
    assert "Connection" in error or "Broken" in error
    assert wandb.run is None
    following = train(arguments=dataclasses.replace(TRACKED, use_liger=True))
    assert not {"wandb_error", "wandb_url"} & record_of(following).keys()
    whole = [run for run in tracked_runs(wandb_folder) if run.exit_code == 0]
    assert [run.config["use_liger"] for run in whole] == [True]


def test_without_a_wandb_that_answers_the_condition_is_trained_untracked(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(**_: Any) -> None:
        raise CommError("no route to host")

    monkeypatch.setattr(wandb, "init", unreachable)
    result = train()
    assert result.outcome == "completed"
    problem = "the run is not tracked: CommError: no route to host"
    assert f"W&B: {problem}\n" in capsys.readouterr().err
    assert record_of(result)["wandb_error"] == problem


def test_a_wandb_that_cannot_be_reached_costs_one_wait_and_one_line_in_a_grid(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[str] = []

    def unreachable(**options: Any) -> None:
        waits.append(options["name"])
        raise CommError("no route to host")

    monkeypatch.setattr(wandb, "init", unreachable)
    grid = [dataclasses.replace(TRACKED, run=run) for run in (1, 2, 3)]
    with local_run.grid_run(grid):
        results = [train(arguments=arguments) for arguments in grid]
    problem = "the run is not tracked: CommError: no route to host"
    assert len(waits) == 1
    assert capsys.readouterr().err.count(problem) == 1
    assert {record_of(result)["wandb_error"] for result in results} == {problem}


def test_a_missing_key_is_said_before_anything_is_trained(
    train: Any, wandb_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(**_: Any) -> None:
        raise UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuses)
    with pytest.raises(TrackingRefused, match=r"(?s)wandb login.*report_to") as caught:
        train(is_interrupted)
    assert "\n" not in str(caught.value).partition("W&B:")[2]


def test_a_real_training_in_its_own_process_is_logged_step_by_step(
    wandb_folder: Path, dataset_folder: Path, model_folder: Path
) -> None:
    result = workflow.train_model(
        training_args=TRACKED,
        dataset_cache_dir=FlyteDirectory(str(dataset_folder)),
        model_cache_dir=FlyteDirectory(str(model_folder)),
    )
    history = pd.read_csv(result.training_history.path)
    [run] = tracked_runs(wandb_folder)
    assert [row["_step"] for row in run.history] == list(history["step"]) == [1, 2, 3]
    for column in ("step_tokens_per_second", "step_peak_resident_set_MB", "loss"):
        assert [row[column] for row in run.history] == pytest.approx(list(history[column]))
    assert (run.exit_code, run.summary["outcome"]) == (0, "completed")
