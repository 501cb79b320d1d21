"""Call `echo` in a fresh process and print its result and this process's temporary folder."""

from __future__ import annotations

import tempfile

from support import isolated_functions

from liger_benchmark.training import isolated_process

if __name__ == "__main__":
    isolated_process.PRELOAD = []
    result, _ = isolated_process.run_isolated(isolated_functions.echo, 5, on_message=print)
    print(result, tempfile.gettempdir())
