"""Chromium without a window: a page is opened, a script looks at it, and what it found comes back.

The script leaves JSON in `<pre id="found">` in place of the page's body.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip
# The console shows Decks in such a frame.
SANDBOX = "allow-same-origin allow-scripts allow-downloads"
_SHOW_ERROR = """
addEventListener("unhandledrejection", function (event) {
  var found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify({error: String(event.reason.stack)});
  document.body.replaceChildren(found);
});
"""
# A page in a file cannot look into its frame: the frame sends what was found.
_SEND_FOUND = """
setInterval(function () {
  var found = document.getElementById("found");
  if (found) parent.postMessage(found.textContent, "*");
}, 50);
"""
_TAKE_FOUND = """
addEventListener("message", function (event) {
  if (document.getElementById("found")) return;
  var found = document.createElement("pre");
  found.id = "found";
  found.textContent = event.data;
  document.body.append(found);
});
"""


def run_chromium(folder: Path, path: Path, width: int, height: int, *flags: str) -> str:
    """Open the file `path` in a window of that size; returns the standard output."""
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},{height}", *flags, path.as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    ).stdout  # fmt: skip


def look_at(
    html: str,
    folder: Path,
    script: str,
    width: int,
    height: int = 900,
    *,
    dark: bool = False,
    in_frame: bool = False,
) -> dict[str, Any]:
    """What `script` found in `html`.

    The window is as wide as asked for. It holds a frame of that size where asked for, and for a
    width below 600 pixels, since Chromium has no window so narrow.
    """
    page = html.replace("</body>", f"<script>{_SHOW_ERROR}{script}</script></body>")
    if in_frame or width < 600:
        page = framed(page, width, height)
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    shown = run_chromium(
        folder, path, max(width, 600), height, *scheme, "--virtual-time-budget=60000", "--dump-dom"
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, f"nothing was found on the page, {len(shown)} characters long"
    result: dict[str, Any] = json.loads(unescape(found[1]))
    assert "error" not in result, result
    return result


def framed(html: str, width: int, height: int) -> str:
    """A page that shows `html` in a sandboxed frame of that size, and takes over what was found."""
    html = html.replace("</body>", f"<script>{_SEND_FOUND}</script></body>")
    return (
        '<!doctype html><html><head><meta charset="utf-8"></head><body style="margin:0">'
        f"<script>{_TAKE_FOUND}</script>"
        f'<iframe sandbox="{SANDBOX}" style="border:0;width:{width}px;height:{height}px" '
        f'srcdoc="{escape(html)}"></iframe></body></html>'
    )
