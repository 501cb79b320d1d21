"""What is pinned, what is imported, and what an installation brings: all of it agrees."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
OUR_OWN = {
    "image_spec",
    "liger_benchmark",
    "liger_kernel_finetuning",
    "liger_kernel_finetuning_v2",
}


def requirement_lines(name: str) -> list[str]:
    """The lines of a requirements file, without comments and empty lines."""
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in (re.sub(" *#.*", "", line) for line in lines) if line]


def pins(name: str) -> dict[str, str]:
    """The version of each package that a requirements file pins."""
    versions = {}
    for line in requirement_lines(name):
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)(?: ?;.+)?", line)
        assert match, f"{name}: {line!r} is no pin of one version"
        versions[canonicalize_name(match[1])] = match[2]
    return versions


def extras() -> dict[str, str]:
    """The requirement of each package that an extra names."""
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = [line for of in metadata["project"]["optional-dependencies"].values() for line in of]
    return {canonicalize_name(re.split(r"[^\w.-]", line)[0]): line for line in lines}


def imported_packages() -> set[str]:
    """The top-level names of other people's packages that the code imports."""
    paths = [*(PROJECT / "liger_benchmark").rglob("*.py"), *PROJECT.glob("*.py")]
    modules = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
    return {module.split(".")[0] for module in modules} - sys.stdlib_module_names - OUR_OWN


def test_every_package_that_is_imported_is_pinned() -> None:
    distributions = importlib.metadata.packages_distributions()
    imported = imported_packages()
    assert {"torch", "yaml", "pynvml", "flytekit"} <= imported
    pinned = pins("requirements.txt").keys() | extras().keys()
    missing = {
        module
        for module in imported
        # Another distribution may add to the same namespace: one of them pinned is enough.
        if not {canonicalize_name(name) for name in distributions.get(module, [module])} & pinned
    }
    assert missing == set()


def test_the_extra_for_flyte_2_is_what_the_tests_are_run_with() -> None:
    assert extras()["flyte"] in requirement_lines("requirements-dev.txt")
    assert "flyte" not in pins("requirements.txt")


def test_the_constraints_pin_what_the_requirements_pin() -> None:
    constraints = pins("constraints.txt")
    assert constraints.items() >= pins("requirements.txt").items()


def test_the_constraints_were_made_from_the_requirements_as_they_are() -> None:
    lines = "".join(f"{line}\n" for line in requirement_lines("requirements.txt"))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    made_from = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1]
    assert made_from == f"# For the requirements {digest}", "run `make constraints`"


def test_the_constraints_hold_all_that_the_requirements_bring_along() -> None:
    constraints = pins("constraints.txt")
    waiting, seen = list(pins("requirements.txt")), set()
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        for requirement in importlib.metadata.requires(package) or []:
            name, _, marker = requirement.partition(";")
            needed = canonicalize_name(re.split(r"[^\w.-]", name.strip())[0])
            if "extra ==" not in marker and is_installed(needed):
                waiting.append(needed)
    assert len(seen) > 100
    assert seen <= constraints.keys()


def is_installed(package: str) -> bool:
    """Whether the package is installed: one of another platform or Python is not."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_the_constraints_name_nothing_but_pins() -> None:
    # The image's builders are sent this file alone, and anybody's package index has to do.
    assert not re.search(
        r"^ *-|://", (PROJECT / "constraints.txt").read_text(encoding="utf-8"), re.M
    )


def test_the_command_of_an_installation_is_there() -> None:
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    module, function = metadata["project"]["scripts"]["liger-benchmark"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_an_installation_holds_every_file_that_the_package_reads() -> None:
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    included = {
        path
        for package, patterns in metadata["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in PROJECT.joinpath(*package.split(".")).glob(pattern)
    }
    others = {
        path
        for path in (PROJECT / "liger_benchmark").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert included == others


def test_every_folder_of_the_package_says_what_it_holds_and_imports_nothing() -> None:
    for path in (PROJECT / "liger_benchmark").rglob("__init__.py"):
        (statement,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant), path


def test_the_map_of_the_package_names_every_folder_and_module_of_it() -> None:
    folder = PROJECT / "liger_benchmark"
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    } - {"__init__.py"}
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^    ([\w.]+/?)  ", text, re.M)) == there


def test_the_image_installs_every_pin() -> None:
    import image_spec
    from liger_benchmark.flyte.settings import PINS_DIGEST

    assert image_spec.image.requirements is not None
    assert Path(image_spec.image.requirements).samefile(PROJECT / "constraints.txt")
    digest = hashlib.sha256((PROJECT / "constraints.txt").read_bytes()).hexdigest()
    assert digest.startswith(PINS_DIGEST)


def test_the_project_takes_the_pythons_that_all_pins_take() -> None:
    from packaging.specifiers import SpecifierSet

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = SpecifierSet(project["requires-python"])
    theirs = SpecifierSet()
    for name in pins("requirements.txt"):
        theirs &= SpecifierSet(importlib.metadata.metadata(name).get("Requires-Python", ""))
    versions = [f"3.{minor}" for minor in range(11, 20)]
    taken = [version for version in versions if version in ours]
    assert taken == [version for version in versions if version in theirs]
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    assert named == taken
