"""Hold the lock of a folder: `hold_lock.py FOLDER` prints `in` once it has it, and sleeps."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from liger_benchmark.files import lock

with lock(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
