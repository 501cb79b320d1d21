"""Build every architecture that the installed Liger knows on the meta device, in both arms.

Run it from the project's folder, with PYTHONPATH=.:tests and model types or none for all. It prints
the rows of the table in docs/models-and-data.md.
"""

from __future__ import annotations

import sys

from support.architectures import kernels, outcomes

from liger_benchmark.training.liger_kernels import liger_architectures

if __name__ == "__main__":
    names = sys.argv[1:] or sorted(liger_architectures())
    for name, said in outcomes(names).items():
        print(f"| `{name}` | {kernels(name)} | {said} |")
