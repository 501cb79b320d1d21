"""Print as JSON which parts Liger patches in each architecture that the installed Liger knows.

Run from the repository's root: `PYTHONPATH=.:tests python` with this file, and names of
architectures to look at those alone. Each is built in a process of its own.
"""

from __future__ import annotations

import json
import sys

from support.isolated_parts import liger_parts

from liger_benchmark.training.isolated_process import run_isolated
from liger_benchmark.training.liger_kernels import liger_architectures

if __name__ == "__main__":
    names = sys.argv[1:] or sorted(liger_architectures())
    found = [run_isolated(liger_parts, name, on_message=print)[0] for name in names]
    print(json.dumps(found, indent=1))
