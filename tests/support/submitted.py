"""An experiment submitted with `union run --remote`, by a control plane that still runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.control_plane import WORKFLOW, ControlPlane
from support.projects import copy_project


@contextmanager
def submitted(folder: Path, inputs: str) -> Iterator[ControlPlane]:
    """Copy the project into `folder`, and submit an experiment from there.

    The command is typed outside of the project: no path of this side may mean anything in a
    container.

    Args:
        inputs: the text of the inputs file.
    """
    copy_project(folder / "project")
    (folder / "inputs.yaml").write_text(inputs)
    with ControlPlane(folder / "plane") as plane:
        child = plane.run(
            "union", folder, f"project/{WORKFLOW}.py", "benchmarking_experiment",
            "--inputs-file", "inputs.yaml",
        )  # fmt: skip
        assert child.returncode == 0, child.stdout
        yield plane
