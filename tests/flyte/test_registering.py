"""`pyflyte register`, with which a platform is checked before anything runs on it."""

from __future__ import annotations

from pathlib import Path

from support.control_plane import BIN, WORKFLOW, ControlPlane, run_child
from support.projects import copy_project


def test_registering_states_the_training_tasks_requests_which_a_run_does_not(
    tmp_path: Path,
) -> None:
    """Flyte's admin compares what is registered: a run registers only the workflow's own tasks."""
    project = copy_project(tmp_path / "project")
    (tmp_path / "home").mkdir()
    with ControlPlane(tmp_path / "plane") as plane:
        child = run_child(
            [
                *(str(BIN / "pyflyte"), "register", "--project", "flytesnacks"),
                *("--domain", "development", "--version", "check", f"{WORKFLOW}.py"),
            ],
            cwd=project,
            environment={
                "HOME": str(tmp_path / "home"),
                "FLYTECTL_CONFIG": str(plane.config),
                "DOCKER_HOST": "tcp://127.0.0.1:9",
                "LIGER_BENCHMARK_REGISTRY": "localhost:30000",
            },
        )
        assert child.returncode == 0, child.stdout
        resources = plane.tasks[f"{WORKFLOW}.train_model"].template.container.resources
    assert sorted(entry.value for entry in resources.requests) == ["1", "12", "20Gi", "24Gi"]
    assert sorted(entry.value for entry in resources.limits) == ["1", "12", "20Gi", "24Gi"]
