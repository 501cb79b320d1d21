"""The command line: `liger-benchmark COMMAND …`, or `python -m liger_benchmark COMMAND …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from liger_benchmark import profiling, quick
from liger_benchmark.report import page, side_by_side
from liger_benchmark.report.progress import replace_unprintable

COMMANDS = {
    "quick": quick.main,
    "report": page.main,
    "compare": side_by_side.main,
    "profile": profiling.main,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands with the arguments that follow its name; its exit status."""
    parser = argparse.ArgumentParser(
        prog="liger-benchmark",
        description="Liger Kernel benchmarks: quick ones, their reports and profiles.",
        epilog="`liger-benchmark COMMAND --help` describes a command's own arguments.",
    )
    parser.add_argument(
        "command",
        choices=COMMANDS,
        metavar="COMMAND",
        help="quick: benchmark a model without an inputs file; "
        "report: rebuild a report, or merge several; "
        "compare: put the grids of several folders side by side; "
        "profile: where the steps of one condition spend the GPU's time",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="its arguments")
    replace_unprintable()
    options = parser.parse_args(arguments)
    return COMMANDS[options.command](options.arguments)


if __name__ == "__main__":
    sys.exit(main())
