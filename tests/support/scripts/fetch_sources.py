"""Fetch sources: `fetch_sources.py model|dataset FOLDER NAME…`; errors go to standard error."""

from __future__ import annotations

import sys
from pathlib import Path

from liger_benchmark.sources import fetch, hub
from liger_benchmark.validation import InvalidInput

hub.RETRY_DELAYS_S = (0.01, 0.01)
kind, folder, *names = sys.argv[1:]
for name in names:
    try:
        getattr(fetch, f"fetch_{kind}")(name, Path(folder))
    except (fetch.SourceUnavailable, InvalidInput) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
