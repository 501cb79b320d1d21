"""What the ranks of a group measured, as one: a row for each step, and one record.

A step of the group lasts as long as that of its slowest rank. Tokens and energy are those of all
ranks, and memory is the most that any rank needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
# Of the columns that a rank counts for itself, those that are added up.
_SUMMED = ("step_tokens", "num_input_tokens_seen", "step_energy_J")
_LARGEST = ("step_seconds", "step_compilations")
AVERAGES = (
    "avg_step_seconds",
    "avg_tokens_per_second",
    "avg_real_tokens_per_second",
    "avg_loop_tokens_per_second",
    "avg_energy_J_per_token",
)


class GroupRows:
    """Makes the group's history rows from those of its ranks.

    Attributes:
        rows: by rank all rows that it has sent.
    """

    def __init__(self, n_ranks: int) -> None:
        self.rows: list[list[Row]] = [[] for _ in range(n_ranks)]
        self._seconds = 0.0
        self._tokens = 0
        self._n_measured = 0
        self._n_made = 0

    def add(self, rank: int, row: Row) -> list[Row]:
        """Add a rank's row of its next step; the group's rows that are complete by it."""
        self.rows[rank].append(row)
        complete = []
        while min(map(len, self.rows)) > self._n_made:
            complete.append(self._merged([rows[self._n_made] for rows in self.rows]))
            self._n_made += 1
        return complete

    def _merged(self, of_ranks: list[Row]) -> Row:
        first = of_ranks[0]
        merged = dict(first)
        for key in first:
            values = [row[key] for row in of_ranks]
            if key in _SUMMED:
                merged[key] = sum(values)
            elif key in _LARGEST or "_peak_" in key:
                merged[key] = None if None in values else max(values)
        seconds, tokens = merged["step_seconds"], merged["step_tokens"]
        merged["step_tokens_per_second"] = tokens / seconds
        merged["step_slowest_over_fastest"] = seconds / min(row["step_seconds"] for row in of_ranks)
        if first["is_warmup"]:
            return merged | dict.fromkeys(("avg_tokens_per_second_per_gpu",))
        self._seconds += seconds
        self._tokens += tokens
        self._n_measured += 1
        return merged | self._averages(of_ranks)

    def _averages(self, of_ranks: list[Row]) -> Row:
        """The averages since the warm-up, from the ranks' own."""
        own_tokens = [row["avg_tokens_per_second"] * row["avg_step_seconds"] * self._n_measured
                      for row in of_ranks]  # fmt: skip
        own_seconds = [row["avg_step_seconds"] * self._n_measured for row in of_ranks]
        real_tokens = sum(
            row["avg_real_tokens_per_second"] * seconds
            for row, seconds in zip(of_ranks, own_seconds, strict=True)
        )
        loop_seconds = max(
            tokens / row["avg_loop_tokens_per_second"]
            for row, tokens in zip(of_ranks, own_tokens, strict=True)
        )
        per_second = self._tokens / self._seconds
        averages = {
            "avg_step_seconds": self._seconds / self._n_measured,
            "avg_tokens_per_second": per_second,
            "avg_real_tokens_per_second": real_tokens / self._seconds,
            "avg_loop_tokens_per_second": self._tokens / loop_seconds,
            "avg_tokens_per_second_per_gpu": per_second / len(of_ranks),
        }
        if all(row.get("avg_energy_J_per_token") is not None for row in of_ranks):
            joules = sum(
                row["avg_energy_J_per_token"] * tokens
                for row, tokens in zip(of_ranks, own_tokens, strict=True)
            )
            averages["avg_energy_J_per_token"] = joules / self._tokens
        return averages


def group_record(records: Sequence[dict[str, Any]], rows: GroupRows) -> dict[str, Any]:
    """The record of a group: rank 0's, with what concerns all ranks.

    Args:
        records: of all ranks, or of the one alone whose memory ran out.
    """
    record = dict(records[0])
    n_ranks = len(rows.rows)
    record["group"] = {"n_ranks": n_ranks}
    if "out_of_memory" in record:
        record["group"]["rank"] = record.pop("rank")
        return record
    record["group"] |= {
        "ranks": [_of_rank(one, own) for one, own in zip(records, rows.rows, strict=True)],
        "slowest_over_fastest": _slowest_over_fastest(rows),
        "losses_agree": _agree([[row.get("loss") for row in own] for own in rows.rows]),
        "gradients_agree": _agree([one.get("gradients") for one in records]),
        # Empty for a rank that was sent its weights.
        "weights_agree": _agree(
            [one["weights"]["checksum"] for one in records if one["weights"]["checksum"]]
        ),
    }
    batches = [one["batches"] for one in records if "batches" in one]
    if len(batches) == n_ranks:
        checksums = " ".join(one["checksum"] for one in batches)
        record["batches"] = {
            "checksum": hashlib.sha256(checksums.encode()).hexdigest()[:16],
            "padding_fraction": round(sum(b["padding_fraction"] for b in batches) / n_ranks, 4),
        }
    if all("memory" in one for one in records):
        record["memory"] = {
            key: max(one["memory"][key] for one in records) for key in record["memory"]
        }
    return record


def _of_rank(record: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What one rank measured by itself: its last row's averages and peaks, batches and card."""
    last = rows[-1] if rows else {}
    gpu = record["environment"]["gpu"] or {}
    return {
        **{key: last[key] for key in last if key in AVERAGES or key.startswith("total_peak_")},
        "batches": record.get("batches", {}).get("checksum"),
        "gpu": {key: gpu[key] for key in ("name", "uuid", "window") if key in gpu},
    }


def _slowest_over_fastest(rows: GroupRows) -> float | None:
    """How much longer the steps of the slowest rank took, after the warm-up; 1 is no longer."""
    means = [own[-1].get("avg_step_seconds") for own in rows.rows if own]
    known = [mean for mean in means if mean]
    return round(max(known) / min(known), 4) if known else None


def _agree(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)
