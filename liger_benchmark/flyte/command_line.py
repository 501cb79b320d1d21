"""What has to happen between typing `pyflyte run` (or `union run`) and its first task.

flytekit imports the workflow module before it reads the inputs. Importing it prepares the process
for a local run, and gives flytekit a command that checks the inputs whole before it starts them.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from flytekit.configuration.file import get_config_file
from flytekit.core.promise import Promise
from flytekit.core.workflow import PythonFunctionWorkflow

from liger_benchmark import folders
from liger_benchmark.experiment import estimate, preflight
from liger_benchmark.experiment.grid import describe_grid
from liger_benchmark.experiment.inputs_file import (
    ExperimentInputs,
    InvalidInputsFile,
    parse_content,
    read_content,
    read_inputs,
)
from liger_benchmark.flyte import local_run
from liger_benchmark.flyte.settings import GPU_KIND
from liger_benchmark.report.progress import replace_unprintable
from liger_benchmark.training.environment import visible_gpu
from liger_benchmark.training.row_check import check_builtin_rows
from liger_benchmark.validation import InvalidInput, one_line, show

LOCAL_CONFIG = Path(__file__).parent / "local_config.yaml"
INPUTS = [field.name for field in dataclasses.fields(ExperimentInputs)]
STANDARD_INPUT = "standard input"
NO_INPUTS = (
    "say which experiment to run: --inputs-file examples/smoke_inputs.yaml (a minute on a CPU) or "
    "--inputs-file phi3_inputs.yaml (the blog's 36 runs); more are in examples/"
)


def prepare() -> None:
    """Set what a local run needs, and have what is typed checked before it is started."""
    replace_unprintable()
    folders.use_writable_caches()
    # flytekit's cache holds paths, and files go away; a local run keeps its own results.
    os.environ.setdefault("FLYTE_LOCAL_CACHE_ENABLED", "false")
    flytekit_run = _flytekit_run()
    if flytekit_run is None:
        return
    flytekit_run.YamlFileReadingCommand = checked_command(flytekit_run)
    if _is_remote(_context()) is False and LOCAL_CONFIG.is_file() and get_config_file(None) is None:
        # With `union` installed, pyflyte asks for a login even where none is needed.
        os.environ["FLYTECTL_CONFIG"] = str(LOCAL_CONFIG)
        get_config_file.cache_clear()  # it remembers that there was none


def checked_command(flytekit_run: Any) -> type:
    """The class of `pyflyte run`'s command for a workflow, with the inputs checked.

    Args:
        flytekit_run: flytekit's module of `pyflyte run`.
    """

    class CheckedCommand(flytekit_run.YamlFileReadingCommand):
        def parse_args(self, context: Any, arguments: list[str]) -> Any:
            """Check the inputs, and then parse them as flytekit does."""
            if not set(INPUTS) <= {parameter.name for parameter in self.params}:
                return super().parse_args(context, arguments)  # another workflow, or a task
            try:
                source, flags = _without_inputs_file(arguments)
                content = _content(source)
                # The last value of a flag counts: a typed one takes the place of the file's.
                arguments = [*_as_flags(content), *flags]
                given, _, _ = self.make_parser(context).parse_args(args=list(arguments))
                # click 8.5 keeps it under a name of its own.
                help_option = self.get_help_option(context)
                asks_for_help = help_option is not None and given.get(help_option.name)
                if not asks_for_help and not context.resilient_parsing:
                    values = _values(given)
                    is_remote = _is_remote(context) is True
                    with _naming(source if values == content else None):
                        inputs = check(values, on_cluster=is_remote)
                    if is_remote:  # a local run announces itself
                        announce(inputs, GPU_KIND)
                    else:
                        folders.check_build_folder(local_run.BUILD)
                return super().parse_args(context, arguments)
            except flytekit_run.click.UsageError as error:
                raise SystemExit(one_line(error.format_message(), limit=None)) from None
            except InvalidInput as error:
                raise SystemExit(str(error)) from None

    return CheckedCommand


def check(given: Mapping[str, Any], *, on_cluster: bool) -> ExperimentInputs:
    """Check the inputs as they were given, and refuse what cannot be run there.

    Raises:
        InvalidInput: with one line that says what is wrong.
    """
    if not given:
        raise InvalidInput(NO_INPUTS)
    inputs = read_inputs(given)
    gpu = None if on_cluster else visible_gpu()
    preflight.check_experiment(inputs.grid, on_cluster=on_cluster, gpu=gpu)
    # A local run checks all that it has fetched; here a registering machine may lack the package.
    if on_cluster and importlib.util.find_spec("datasets") is not None:
        check_builtin_rows(inputs.grid)
    return inputs


def announce(inputs: ExperimentInputs, gpu: str | None) -> None:
    """Say how large the grid is and, if the model's size is known here, how long it will take."""
    grid = inputs.grid
    lines = [describe_grid(grid)]
    config = estimate.config_at_hand(grid[0].model_name)
    if config is not None:
        lines.append(estimate.expected(grid, config, gpu))
    print("\n".join(lines), flush=True)


def announced(workflow: PythonFunctionWorkflow) -> PythonFunctionWorkflow:
    """Make every local run of the workflow say what it runs: a command's, a script's, a notebook's.

    Raises, when the workflow is called:
        InvalidInput: if an input cannot be run, or results cannot be written.
    """
    execute = workflow.local_execute

    @wraps(execute)
    def local_execute(context: Any, **given: Any) -> Any:
        inputs = workflow.python_interface.default_inputs_as_kwargs | given
        # As a part of another workflow it may be given what is only promised.
        if not any(isinstance(value, Promise) for value in inputs.values()):
            replace_unprintable()
            folders.check_build_folder(local_run.BUILD)
            experiment = ExperimentInputs(**inputs)
            announce(experiment, visible_gpu())
            with local_run.experiment(experiment.grid):
                return execute(context, **given)
        return execute(context, **given)

    workflow.local_execute = local_execute
    return workflow


def show_at_the_end(print_summary: Callable[..., None], *arguments: Any) -> None:
    """Show a run's summary: in a script or a notebook now, else below flytekit's last lines."""
    if _is_remote(_context()) is None:
        print_summary(*arguments)
    else:
        atexit.register(print_summary, *arguments)


def _flytekit_run() -> Any:
    """flytekit's module of `pyflyte run`; None if no command line of flytekit was started."""
    return sys.modules.get("flytekit.clis.sdk_in_container.run")


def _context() -> Any:
    flytekit_run = _flytekit_run()
    return flytekit_run and flytekit_run.click.get_current_context(silent=True)


def _is_remote(context: Any) -> bool | None:
    """Whether `run` was typed with `--remote`; None if it was not typed at all."""
    return getattr(getattr(context, "obj", None), "is_remote", None)


def _without_inputs_file(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The inputs file, `-` for standard input, None if there is none; and the other arguments.

    Raises:
        InvalidInput: if more than one is named, or the name is missing.
    """
    sources, flags, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--inputs-file":
            if not rest:
                raise InvalidInput("--inputs-file: the file's name is missing")
            sources.append(rest.pop(0))
        elif argument.startswith("--inputs-file="):
            sources.append(argument.partition("=")[2])
        elif argument == "-" and not rest:
            sources.append(argument)
        else:
            flags.append(argument)
    if len(sources) > 1:
        raise InvalidInput(f"--inputs-file: {' and '.join(sources)}: one experiment has one file")
    return (sources[0] if sources else None), flags


def _content(source: str | None) -> dict[str, Any]:
    """What the inputs file holds; nothing without one. flytekit's own reading skips `=NAME`.

    Raises:
        InvalidInput: if the file cannot be read, or anything in it cannot be run.
    """
    if source is None:
        return {}
    if source == "-":
        content = parse_content(sys.stdin.read(), STANDARD_INPUT)
    else:
        content = read_content(source)
    with _naming(source):
        read_inputs(content)
    return content


@contextlib.contextmanager
def _naming(source: str | None) -> Iterator[None]:
    """Put the inputs file's name before a message about what is in it."""
    try:
        yield
    except InvalidInputsFile:
        raise  # it begins with the name
    except InvalidInput as error:
        if source is None:
            raise
        name = STANDARD_INPUT if source == "-" else source
        raise InvalidInput(f"{name}: {error}") from None


def _as_flags(content: dict[str, Any]) -> list[str]:
    """The file's values as flags: flytekit's command takes them in no other form."""
    return [part for key, value in content.items() for part in (f"--{key}", json.dumps(value))]


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """The values of flags, which are JSON or, as flytekit allows, the name of a file.

    Raises:
        InvalidInput: if a mapping is neither.
    """
    return {name: _value(name, text) for name, text in given.items() if name in INPUTS}


def _value(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if name not in ("experiment_args", "training_args"):
            return text
    if not os.path.exists(text):
        raise InvalidInput(f"--{name}: {show(text)} is neither JSON nor a file")
    return read_content(text)
