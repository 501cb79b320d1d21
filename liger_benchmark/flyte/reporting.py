"""The analysis and the page of a grid, from what the map task returned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flytekit.types.directory import FlyteDirectory

from liger_benchmark import files, store
from liger_benchmark.analysis.result_folders import read_experiment
from liger_benchmark.analysis.tables import Analysis, analyse
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte.conditions import Result, collect_results
from liger_benchmark.flyte.execution import is_local, storage
from liger_benchmark.report.page import PAGE_NAME
from liger_benchmark.report.result_folder import publish


def analyse_and_publish(
    results: Sequence[Result | None],
    grid: list[TrainingArguments],
    baseline: str | None,
    model_folder: FlyteDirectory | None,
) -> tuple[Analysis, Path]:
    """Collect the runs into the experiment's folder; its analysis, and the page's path.

    Args:
        model_folder: on a cluster, what failed conditions left beside it says why they did.
    """
    folder = store.experiment_folder(storage(), grid)
    with files.lock(folder):
        collect_results(results, grid, folder, model_folder)
        analysis = analyse(read_experiment([folder]), baseline)
        return analysis, publish(analysis, folder)


def published_page(
    results: Sequence[Result | None],
    grid: list[TrainingArguments],
    baseline: str | None,
    model_folder: FlyteDirectory | None,
) -> Path:
    """The page's path. On this machine the analysis has written it; a pod writes its own."""
    page = store.experiment_folder(storage(), grid) / PAGE_NAME
    if is_local() and page.is_file():
        return page
    return analyse_and_publish(results, grid, baseline, model_folder)[1]
