"""What has to happen between typing `pyflyte run` (or `union run`) and its first task.

The workflow module is imported before the command reads its inputs: the one moment to check the
inputs file whole, and to make a local run independent of any login or configuration.
"""

import os
from pathlib import Path

from flytekit.configuration.file import get_config_file

from liger_benchmark.arguments import InvalidInput, read_inputs_file

LOCAL_CONFIG = Path(__file__).parent / "flyte_local.yaml"


def prepare(argv: list[str]) -> None:
    """Check the inputs file that `argv` names, and set what a local run needs.

    Raises:
        SystemExit: with one line that says what is wrong with the inputs file.
    """
    inputs_file = _inputs_file(argv)
    if inputs_file is not None:
        try:
            read_inputs_file(inputs_file)
        except InvalidInput as error:
            # The file's own faults are told with its name; those in it with the key.
            where = "" if str(error).startswith(Path(inputs_file).name) else f"{inputs_file}: "
            raise SystemExit(f"{where}{error}") from None
    if "run" in argv and not {"--remote", "-r"} & set(argv):
        # flytekit's cache holds paths, and files go away; a local run keeps its own results.
        os.environ.setdefault("FLYTE_LOCAL_CACHE_ENABLED", "false")
        if LOCAL_CONFIG.is_file() and get_config_file(None) is None:
            # With `union` installed, pyflyte asks for a login even where none is needed.
            os.environ["FLYTECTL_CONFIG"] = str(LOCAL_CONFIG)
            get_config_file.cache_clear()  # it remembers that there was none


def _inputs_file(argv: list[str]) -> str | None:
    for position, argument in enumerate(argv):
        if argument == "--inputs-file" and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith("--inputs-file="):
            return argument.partition("=")[2]
    return None
