"""A condition that fails on a cluster leaves its reason where the analysis finds it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flytekit.core.context_manager import ExecutionState, FlyteContextManager
from flytekit.models.core.identifier import WorkflowExecutionIdentifier
from flytekit.types.directory import FlyteDirectory
from support.tiny import TINY

from liger_benchmark import store
from liger_benchmark.flyte import conditions, failures
from liger_benchmark.run import FAILED, read_run

INDEX = 3


NO_REASON = (
    "NoReason: no reason was left; usually the pod never started, or ended before its task began; "
    "see the task's log"
)


@contextmanager
def pod(working_directory: Path, execution: str = "first") -> Iterator[None]:
    """Flyte's context as a task has it in its pod."""
    context = FlyteContextManager.current_context()
    assert context.user_space_params is not None
    parameters = context.user_space_params.new_builder()
    parameters.execution_id = WorkflowExecutionIdentifier("flytesnacks", "development", execution)
    parameters.working_dir = str(working_directory)
    state = context.new_execution_state().with_params(
        mode=ExecutionState.Mode.TASK_EXECUTION, user_space_params=parameters.build()
    )
    with FlyteContextManager.with_context(context.with_execution_state(state)):
        yield


@pytest.fixture
def model(tmp_path: Path) -> FlyteDirectory:
    """The model's folder as a pod gets it from the blob store."""
    folder = FlyteDirectory(str(tmp_path / "unused"))
    (tmp_path / "store" / "model").mkdir(parents=True)
    folder._remote_source = f"file://{tmp_path}/store/model"
    return folder


@pytest.fixture
def new_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FLYTE_ATTEMPT_NUMBER", "0")
    with pod(tmp_path / "training"):
        yield


def reason(tmp_path: Path, model: FlyteDirectory | None, execution: str = "first") -> str:
    """What another pod, that of the analysis, finds."""
    with pod(tmp_path / "analysis" / execution, execution):
        run = failures.failed_run(TINY, INDEX, model)
    assert run.outcome == FAILED
    return f"{run.record['error']['type']}: {run.record['error']['message']}"


def test_the_reason_names_the_error_and_the_index(
    tmp_path: Path, model: FlyteDirectory, new_pod: None
) -> None:
    with pytest.raises(ValueError), failures.kept(TINY, model):
        raise ValueError("this cannot be trained")
    assert reason(tmp_path, model) == (
        "ValueError: this cannot be trained (index 3 of the map task, attempt 1)"
    )


def test_the_reason_of_a_run_that_failed_in_training_is_its_own_record(
    tmp_path: Path, model: FlyteDirectory, new_pod: None
) -> None:
    with pytest.raises(RuntimeError), failures.kept(TINY, model):
        root = Path(failures.current_context().working_directory)
        store.keep_failure(root, TINY, KeyError("the child's own"), {})
        raise RuntimeError("in other words")
    assert reason(tmp_path, model).startswith('KeyError: "the child\'s own"')


def test_a_pod_that_is_killed_is_said_to_have_ended_and_on_which_try(
    tmp_path: Path, model: FlyteDirectory, new_pod: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_ATTEMPT_NUMBER", "2")
    killed = os.fork()
    if killed == 0:
        with failures.kept(TINY, model):
            os.kill(os.getpid(), 9)
    os.waitpid(killed, 0)
    found = reason(tmp_path, model)
    assert found.startswith("PodEnded: the pod left neither a result nor an error")
    assert found.endswith("(index 3 of the map task, attempt 3)")


def test_a_later_failure_of_the_condition_replaces_the_earlier(
    tmp_path: Path, model: FlyteDirectory
) -> None:
    for n in (1, 2):
        with pod(tmp_path / f"try-{n}"), pytest.raises(ValueError), failures.kept(TINY, model):
            raise ValueError(f"error {n}")
    assert reason(tmp_path, model).startswith("ValueError: error 2")


def test_another_condition_has_a_reason_of_its_own(
    tmp_path: Path, model: FlyteDirectory, new_pod: None
) -> None:
    other = dataclasses.replace(TINY, run=TINY.run + 1)
    with pytest.raises(ValueError), failures.kept(other, model):
        raise ValueError("the other's")
    assert reason(tmp_path, model) == f"{NO_REASON} (index 3 of the map task)"


def fail(tmp_path: Path, model: FlyteDirectory, execution: str) -> None:
    """An execution whose one condition fails, after its dynamic task has begun the grid."""
    with pod(tmp_path / f"dynamic-{execution}", execution):
        failures.grid_begins(model)
    working_directory = tmp_path / execution
    with (
        pod(working_directory, execution),
        pytest.raises(ValueError),
        failures.kept(TINY, model),
    ):
        raise ValueError(f"of the {execution}")


def test_a_pod_that_never_starts_does_not_show_an_earlier_executions_reason(
    tmp_path: Path, model: FlyteDirectory, new_pod: None
) -> None:
    fail(tmp_path, model, "first")
    with pod(tmp_path / "dynamic-second", "second"):
        failures.grid_begins(model)
    assert reason(tmp_path, model, "second") == f"{NO_REASON} (index 3 of the map task)"
    # And the earlier one's page, made again, still has its own.
    assert reason(tmp_path, model, "first").startswith("ValueError: of the first")


def test_a_grid_from_the_cache_shows_the_reason_of_the_execution_that_ran_it(
    tmp_path: Path, model: FlyteDirectory, new_pod: None
) -> None:
    fail(tmp_path, model, "first")
    assert reason(tmp_path, model, "second") == (
        "ValueError: of the first (index 3 of the map task, attempt 1, execution first)"
    )


def test_a_store_that_refuses_costs_the_reason_and_not_the_run(
    tmp_path: Path, model: FlyteDirectory, new_pod: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("no folder")
    with failures.kept(TINY, model):
        pass
    with pytest.raises(ValueError, match="its own"), failures.kept(TINY, model):
        raise ValueError("its own")
    assert "the reason of a failure cannot be kept" in capsys.readouterr().err
    assert reason(tmp_path, model).startswith("NoReason")


@pytest.mark.parametrize("model_folder", [None, FlyteDirectory("/a/folder/of/this/machine")])
def test_without_a_model_in_the_store_there_is_no_reason_and_no_error(
    tmp_path: Path, new_pod: None, model_folder: FlyteDirectory | None
) -> None:
    assert reason(tmp_path, model_folder).startswith("NoReason")


def test_the_page_gets_the_reason(tmp_path: Path, model: FlyteDirectory, new_pod: None) -> None:
    with pytest.raises(ValueError), failures.kept(TINY, model):
        raise ValueError("this cannot be trained")
    with pod(tmp_path / "analysis"):
        conditions.collect_results([None], [TINY], tmp_path / "page", model)
    run = read_run(tmp_path / "page" / "runs" / TINY.slug)
    assert run.record["error"]["message"].endswith("(index 0 of the map task, attempt 1)")


def test_on_one_machine_an_earlier_reason_is_gone_and_that_of_before_the_training_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "is_local", lambda: True)
    monkeypatch.setattr(failures, "storage", lambda: tmp_path)
    store.keep_failure(tmp_path, TINY, ValueError("of an earlier run"), {})
    unused = FlyteDirectory("/a/folder/of/this/machine")
    with pytest.raises(RuntimeError), failures.kept(TINY, unused):
        raise RuntimeError("W&B refuses the key")
    error = failures.failed_run(TINY, INDEX, None).record["error"]
    assert error["message"] == "W&B refuses the key"
    with failures.kept(TINY, unused):
        pass
    assert failures.failed_run(TINY, INDEX, None).record == {}


def test_a_record_on_one_machine_says_nothing_of_tries(
    tmp_path: Path, new_pod: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pod(tmp_path):
        assert failures.attempt() == {"execution": "first", "attempt": 1}
    monkeypatch.setattr(failures, "is_local", lambda: True)
    assert failures.attempt() == {}
