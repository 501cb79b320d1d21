"""The page's JavaScript, a module for each thing that it does, and all of it as one script.

It is kept in Python, since nothing but Python modules may have been shipped to where a page is
made. Without it the page lacks what it adds and nothing else. It may come several times into one
document, once with each Deck: each part marks what it has prepared with `data-ready`.
"""

from __future__ import annotations

from liger_benchmark.report.browser.copying import COPYING
from liger_benchmark.report.browser.figure_files import FIGURE_FILES
from liger_benchmark.report.browser.file_parts import FILE_PARTS
from liger_benchmark.report.browser.sorting import SORTING
from liger_benchmark.report.browser.tips import TIPS
from liger_benchmark.report.browser.unfolding import UNFOLDING

SCRIPT = "".join(
    f"(function () {{{part}}})();"
    for part in (SORTING, TIPS, COPYING, FIGURE_FILES, FILE_PARTS, UNFOLDING)
)
