"""The report: Flyte's decks, the self-contained page, and the command that rebuilds it.

The page is one HTML file that fetches nothing.

    liger-benchmark report FOLDER… [--baseline NAME] [--output FILE]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from liger_benchmark.analysis.arms import arms_in
from liger_benchmark.analysis.tables import (
    Analysis,
    NotOneExperiment,
    UnknownBaseline,
    analyse,
    read_experiment,
)
from liger_benchmark.files import write_text
from liger_benchmark.report import curves, record, results
from liger_benchmark.report.browser.script import SCRIPT
from liger_benchmark.report.inputs import inputs_yaml
from liger_benchmark.report.markup import escape, paragraph
from liger_benchmark.report.stylesheet import PAGE_STYLE, STYLE
from liger_benchmark.run import Run, UnreadableRun

PAGE_NAME = "report.html"
INPUTS_NAME = "inputs.yaml"

_SECTIONS = {
    "Benchmarking Results": results.results,
    "Training curves": curves.curves,
    "Where the time goes": curves.where_the_time_goes,
    "Runs": record.runs,
    "Environment": record.environment,
}


def render_decks(analysis: Analysis) -> dict[str, str]:
    """Each Deck's name with its HTML: a fragment with its own style and colours, in order."""
    return {
        name: f'<style>{STYLE}</style><div class="lb deck">{section}</div><script>{SCRIPT}</script>'
        for name, section in _sections(analysis).items()
    }


def render_page(analysis: Analysis, notice: str = "") -> str:
    """The whole report as one self-contained HTML page."""
    title = f"Liger Kernel benchmark: {analysis.model} on {analysis.hardware.name}"
    sections = "".join(_sections(analysis).values())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title>"
        f"<style>{STYLE}{PAGE_STYLE}</style></head>"
        f'<body class="lb"><header><h1>{escape(title)}</h1>{_contents(sections)}</header>'
        f"<main>{paragraph(notice, 'notice') if notice else ''}{sections}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def write_page(analysis: Analysis, folder: str | Path) -> Path:
    """Write the page as `report.html` into `folder`, and return its path.

    The folder is made if need be. An inputs file that repeats the grid, with its baseline, is
    written beside the page.
    """
    path = Path(folder) / PAGE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(analysis))
    write_text(path.parent / INPUTS_NAME, inputs_yaml(analysis.runs, analysis.baseline))
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild a report from result folders and print its path.

    Returns the exit status: 1, after one line on standard error, if the folders cannot be reported.
    """
    parser = argparse.ArgumentParser(
        prog="liger-benchmark report",
        description="Build the report of one experiment from one or several result folders.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="holds runs/")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"default: {PAGE_NAME} in the first folder"
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="the arm to compare the others with; default: that of the grid, else vanilla",
    )
    options = parser.parse_args(arguments)
    try:
        runs = read_experiment(options.folders)
        analysis = analyse(runs, options.baseline or baseline_in(options.folders[0], runs))
        output = options.output or options.folders[0] / PAGE_NAME
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, render_page(analysis))
    except (NotOneExperiment, UnknownBaseline, UnreadableRun, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    print(output)
    return 0


def baseline_in(folder: Path, runs: Sequence[Run]) -> str | None:
    """The baseline that the inputs file in the folder names, if it is an arm of the runs."""
    try:
        inputs = yaml.safe_load((folder / INPUTS_NAME).read_text(encoding="utf-8"))
        baseline = inputs["experiment_args"]["baseline"]
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError):
        return None
    return baseline if baseline in arms_in(runs) else None


def _sections(analysis: Analysis) -> dict[str, str]:
    return {
        name: f'<section><h2 id="{_anchor(name)}">{escape(name)}</h2>{body(analysis)}</section>'
        for name, body in _SECTIONS.items()
    }


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _contents(sections: str) -> str:
    """Links to the headings of the first section's parts, and to the other sections."""
    first, *others = sections.split("<section>")[1:]
    found = re.findall(r'<h3 id="([^"]+)">([^<]+)</h3>', first)
    found += [
        pair for text in others for pair in re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', text)
    ]
    links = "".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in found)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
