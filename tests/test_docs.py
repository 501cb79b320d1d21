"""The documentation: links, commands and inputs files that exist, its size and its wording."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.inputs_file import read_inputs_file

PROJECT = Path(__file__).parents[1]
GRIDS = sorted(path.parent for path in PROJECT.glob("results/*/report.html"))
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "CHANGELOG.md",
    *sorted(PROJECT.glob("docs/*.md")),
    PROJECT / "results" / "README.md",
    *(folder / "report.md" for folder in GRIDS),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(PROJECT)))

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# The files that readers write themselves.
OF_THE_READER = {"FILE", "INPUTS.yaml", "my.yaml"}


def prose(page: Path) -> str:
    """The page without its code and its links' targets."""
    text = re.sub(r"`[^`\n]*`", "CODE", FENCE.sub("", page.read_text(encoding="utf-8")))
    return re.sub(r"\]\([^)]*\)", "]", text)


def code(page: Path) -> list[str]:
    """The page's code: each fenced block and each span."""
    text = page.read_text(encoding="utf-8")
    return [match[3] for match in FENCE.finditer(text)] + re.findall(
        r"`([^`\n]+)`", FENCE.sub("", text)
    )


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "CODE", FENCE.sub("", page.read_text(encoding="utf-8")))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def yaml_blocks() -> list[Any]:
    return [
        pytest.param(textwrap.dedent(match[3]), id=f"{page.relative_to(PROJECT)}-{match.start()}")
        for page in PAGES
        for match in FENCE.finditer(page.read_text(encoding="utf-8"))
        if match[2] == "yaml"
    ]


@every_page
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(PROJECT), link
        if anchor:
            assert anchor in anchors(target), link


@every_page
def test_every_make_target_and_every_inputs_file_that_is_named_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for snippet in code(page):
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", snippet):
            assert target in targets, snippet
        for name in re.findall(r"(?:INPUTS=|--inputs-file |\bcp )(\S+)", snippet):
            assert name in OF_THE_READER or (PROJECT / name).is_file(), snippet
        for name in re.findall(r"^examples/\S+\.yaml$", snippet):
            assert (PROJECT / name).is_file(), snippet


@pytest.mark.parametrize("block", yaml_blocks())
def test_every_inputs_file_that_is_shown_can_be_run(block: str, tmp_path: Path) -> None:
    content = yaml.safe_load(block)
    if {"experiment_args", "training_args"} & set(content):
        path = tmp_path / "shown.yaml"
        path.write_text(block, encoding="utf-8")
        assert read_inputs_file(path).grid


# Defaults that the table says in words.
IN_WORDS = {
    "columns": "none",
    "weights_dtype": "that of the arithmetic",
    "environment": "this one",
    "environments": "none",
}
SET_BY_THE_GRID = {"run", "arm_name"}
# These have their rows in the table of the grid's axes.
AXES = {"use_liger", "per_device_train_batch_size"}


def settings_table() -> list[tuple[str, str]]:
    """Each setting of the table in docs/inputs.md, in its order, and the default beside it."""
    text = (PROJECT / "docs" / "inputs.md").read_text(encoding="utf-8")
    section = text.partition("## `training_args`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", section, re.MULTILINE)
    pairs = []
    for names, defaults in rows:
        settings = re.findall(r"`(\w+)`", names)
        one = len(settings) == 1
        values = [defaults] if one else defaults.split(", ")
        assert len(values) == len(settings), names
        pairs += [(s, v.strip().strip("`")) for s, v in zip(settings, values, strict=True)]
    return pairs


def test_every_setting_has_a_row() -> None:
    settings = [name for name, _ in settings_table()]
    fields = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert sorted(settings) == sorted(fields - SET_BY_THE_GRID - AXES)
    text = (PROJECT / "docs" / "inputs.md").read_text(encoding="utf-8")
    section = text.partition("## `experiment_args`")[2].partition("\n## ")[0]
    for axis in AXES:
        assert f"\n| `{axis}` | " in section, axis


@pytest.mark.parametrize(("name", "default"), settings_table())
def test_every_settings_default_is_the_codes(name: str, default: str) -> None:
    value = getattr(TrainingArguments(), name)
    if name in IN_WORDS:
        assert (default, bool(value)) == (IN_WORDS[name], False)
    else:
        written = {} if default == "none" else {name: yaml.safe_load(default)}
        # As an inputs file reads it, where 6e-4 is a number.
        assert getattr(TrainingArguments.from_mapping(written), name) == value
        assert (value is None) == (default == "none")


def test_every_example_is_described() -> None:
    text = (PROJECT / "docs" / "inputs.md").read_text(encoding="utf-8")
    for path in PROJECT.glob("examples/*.yaml"):
        assert f"`examples/{path.name}`" in text, path.name


@pytest.mark.parametrize("folder", GRIDS, ids=lambda p: p.name)
def test_every_published_page_has_a_summary_a_picture_and_a_line_in_the_index(folder: Path) -> None:
    assert (folder / "report.png").is_file()
    assert "](report.html)" in (folder / "report.md").read_text(encoding="utf-8")
    assert f"{folder.name}/report.md" in links(PROJECT / "results" / "README.md")


def test_every_planted_fault_names_a_test_that_exists() -> None:
    """`test_a_…` begins a test's name, and `…[name]` is the name of a case."""
    sources = [path.read_text(encoding="utf-8") for path in PROJECT.glob("tests/**/test_*.py")]
    tests = re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE)
    page = (PROJECT / "docs" / "validity.md").read_text(encoding="utf-8")
    page = page.partition("## Planted faults")[2]
    spans = [
        span
        for span in re.findall(r"`([^`\n]+)`", page)
        if re.match("test_|…|.*_test|.*/test_", span)
    ]
    assert len(spans) > 80
    for span in spans:
        name, _, case = span.removesuffix("]").partition("[")
        if name.endswith(".py"):
            assert [*PROJECT.glob(f"tests/**/{name.removeprefix('tests/')}")], span
            continue
        whole = not name.endswith("…")
        beginning = name.rstrip("…")
        assert any(t == beginning if whole else t.startswith(beginning) for t in tests), span
        assert not case or any(f'"{case}"' in source for source in sources), span


def test_the_readme_stays_short() -> None:
    assert (PROJECT / "README.md").stat().st_size < 10_000


@every_page
def test_wording(page: Path) -> None:
    assert not re.findall(r".*sitting.*", prose(page), re.IGNORECASE)
    assert not re.findall(r".*\d\s%.*", prose(page))
