"""The command line: `liger-benchmark COMMAND …`, or `python -m liger_benchmark COMMAND …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from liger_benchmark import profiling
from liger_benchmark.report import page
from liger_benchmark.report.progress import replace_unprintable

COMMANDS = {"report": page.main, "profile": profiling.main}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands with the arguments that follow its name; its exit status."""
    parser = argparse.ArgumentParser(
        prog="liger-benchmark",
        description="Reports and profiles of Liger Kernel benchmarks.",
        epilog="`liger-benchmark COMMAND --help` describes a command's own arguments.",
    )
    parser.add_argument(
        "command",
        choices=COMMANDS,
        metavar="COMMAND",
        help="report: rebuild a report, or merge several; "
        "profile: where the steps of one condition spend the GPU's time",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="its arguments")
    replace_unprintable()
    options = parser.parse_args(arguments)
    return COMMANDS[options.command](options.arguments)


if __name__ == "__main__":
    sys.exit(main())
