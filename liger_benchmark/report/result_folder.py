"""A grid's result folder: the page, what the index says of it, and the index of all of them.

results/DATE-MODEL-GPU/report.html, inputs.yaml, experiment.json, runs/
results/index.html
results/latest -> DATE-MODEL-GPU
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liger_benchmark import store
from liger_benchmark.analysis.tables import Analysis
from liger_benchmark.files import write_text
from liger_benchmark.report.browser.script import SCRIPT
from liger_benchmark.report.markup import Cell, Column, escape, table
from liger_benchmark.report.page import PAGE_NAME, render_page, write_page
from liger_benchmark.report.stylesheet import PAGE_STYLE, STYLE
from liger_benchmark.run import COMPLETED
from liger_benchmark.wording import enumerate_words, plural

INDEX_NAME = "index.html"


def publish(analysis: Analysis, folder: Path) -> Path:
    """Write the page of a whole grid into its folder, and bring index and `latest` up to date.

    Returns:
        The page's path.
    """
    page = write_page(analysis, folder)
    _describe(analysis, folder, "")
    return page


def publish_part(analysis: Analysis, folder: Path, planned: int) -> Path:
    """Write the page of the runs that have ended so far, which says on top that it is a part.

    Args:
        planned: the number of runs of the whole grid.
    """
    notice = f"A part of the grid: {len(analysis.runs)} of {plural(planned, 'run')} have ended."
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / PAGE_NAME, render_page(analysis, notice))
    _describe(analysis, folder, notice)
    return folder / PAGE_NAME


def _describe(analysis: Analysis, folder: Path, notice: str) -> None:
    started = [r.record["started_at"] for r in analysis.runs if "started_at" in r.record]
    completed = sum(run.outcome == COMPLETED for run in analysis.runs)
    entry = {
        "model": analysis.model,
        "hardware": analysis.hardware.name,
        "arms": enumerate_words(analysis.arms),
        "runs": f"{completed} of {len(analysis.runs)} completed",
        "headline": f"{notice} {analysis.headline}".strip(),
        "started": min(started, default="")[:10],
    }
    store.update_experiment_file(folder, entry)
    write_index(folder.parent)
    store.point_latest(folder)


def write_index(results: Path) -> Path:
    """Write `index.html` into the folder that holds all result folders: a row each, newest first.

    A folder without `experiment.json`, as earlier versions made them, is listed by its name.
    """
    folders = [p.parent for p in results.glob(f"*/{PAGE_NAME}") if not p.parent.is_symlink()]
    folders.sort(key=lambda folder: (folder / PAGE_NAME).stat().st_mtime, reverse=True)
    columns = [
        Column(name) for name in ("Experiment", "Result", "Model", "Hardware", "Arms", "Runs")
    ]
    rows = [_row(folder, store.read_experiment_file(folder)) for folder in folders]
    body = table("All results in this folder, the newest first", columns, rows, "dense")
    path = results / INDEX_NAME
    write_text(path, simple_page("Liger Kernel benchmarks", body))
    return path


def simple_page(title: str, body: str) -> str:
    """A page of one section in the report's style, which fetches nothing."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}{PAGE_STYLE}</style></head>"
        f'<body class="lb"><header><h1>{escape(title)}</h1></header>'
        f"<main><section>{body}</section></main><script>{SCRIPT}</script></body></html>\n"
    )


def _row(folder: Path, entry: dict[str, Any]) -> list[Cell]:
    link = f'<a href="{escape(folder.name)}/{PAGE_NAME}">{escape(folder.name)}</a>'
    texts = [str(entry.get(k, "")) for k in ("headline", "model", "hardware", "arms", "runs")]
    return [Cell(folder.name, markup=link), *map(Cell, texts)]
