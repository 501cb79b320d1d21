"""What became of the dataset's rows, in one line: read, usable, left out, cut, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liger_benchmark.run import Run
from liger_benchmark.wording import NO_VALUE, enumerate_words, number


def data_line(runs: Sequence[Run]) -> str:
    """The line, as far as the runs recorded it; only the dataset's name where they did not.

    The counts are those of the run that used the most rows.
    """
    recorded = [run for run in runs if run.record.get("dataset")]
    name = runs[0].training_args.dataset_name
    if not recorded:
        return f"Data: {name}"
    most = max(recorded, key=_n_used)
    of_most = most.record["dataset"]
    parts = [*_read(of_most), *_used(of_most, most.training_args.max_seq_length)]
    parts_of_records = [run.record["dataset"] for run in recorded]
    parts_of_records += [run.record.get("batches") or {} for run in runs]
    shares = [part["padding_fraction"] for part in parts_of_records if "padding_fraction" in part]
    if shares:
        least, largest = (number(100 * share) for share in (min(shares), max(shares)))
        shown = least if least == largest else f"{least}{NO_VALUE}{largest}"
        parts.append(f"{shown}% of the tokens are padding")
    if "template_date" in of_most:
        parts.append(f"the chat template's date is always {of_most['template_date']}")
    return f"Data: {name}{': ' if parts else ''}{'; '.join(parts)}"


def _n_used(run: Run) -> int:
    """How many rows a run used, as far as it recorded it."""
    rows = run.record["dataset"]
    return int(rows.get("rows_used", rows.get("rows", 0)))


def _read(record: dict[str, Any]) -> list[str]:
    if "rows_read" not in record:
        return []
    text = f"{number(record['rows_read'])} rows read, {number(record['rows_usable'])} usable"
    left_out = record.get("rows_left_out") or {}
    if left_out:
        reasons = enumerate_words(f"{number(n)} {reason}" for reason, n in left_out.items())
        text += f" (left out: {reasons})"
    return [text]


def _used(record: dict[str, Any], max_seq_length: int) -> list[str]:
    used = record.get("rows_used")
    if not used:
        return [f"{number(record['rows'])} rows a run at most"] if record.get("rows") else []
    share = record.get("rows_cut", 0) / used
    cut = "under 1" if 0 < share < 0.005 else number(100 * share)
    return [f"{number(used)} used, {cut}% of them cut to {max_seq_length} tokens"]
