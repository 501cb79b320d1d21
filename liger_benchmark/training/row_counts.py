"""What became of a dataset's rows: how many were read, left out and why, and cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

# Fewer usable rows are said to be few: it is the first power of two above the blog's largest batch,
# so that fewer fill no batch of that size with different rows. The lengths of a handful decide how
# much is padding, and with it speed and memory.
FEW_ROWS = 64
# Why a row is left out.
EMPTY = "empty"
NO_ANSWER = "without an answer"
REFUSED = "refused by the chat template"
NOTHING_LEFT = "with no token of the answer left"
NOT_FOUND = "whose answer the chat template does not show"


@dataclass
class RowCounts:
    """Counts of rows.

    Attributes:
        read: of the dataset.
        left_out: by reason. Whether a chat template refuses a row is known of those that a run
            came to: it takes as many as its steps need.
        used: different rows that the steps train on.
        cut: those of `used` that were longer than `max_seq_length` tokens.
        template_date: the date that the chat template wrote, see `template_clock`; None if none.
    """

    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    used: int = 0
    cut: int = 0
    template_date: str | None = None

    @property
    def usable(self) -> int:
        """The rows that were read and not left out."""
        return self.read - self.left_out.total()

    def record(self) -> dict[str, Any]:
        """The counts as a run's record holds them."""
        counts = {
            "rows_read": self.read,
            "rows_usable": self.usable,
            "rows_left_out": dict(self.left_out),
            "rows_used": self.used,
            "rows_cut": self.cut,
        }
        return counts | ({"template_date": self.template_date} if self.template_date else {})

    def describe(self, max_seq_length: int) -> str:
        """A line such as `data: 52,002 rows read, 51,974 usable (28 without an answer), …`."""
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.most_common())
        line = f"data: {self.read:,} rows read, {self.usable:,} usable"
        if reasons:
            line += f" ({reasons})"
        if self.used:
            share = self.cut / self.used
            shown = f"{share:.0%}" if not self.cut or share >= 0.005 else "under 1%"
            line += f"; of {self.used:,} used, {shown} cut at {max_seq_length} tokens"
        if self.template_date:
            line += f"; the chat template's date is always {self.template_date}"
        return line

    def warning(self, needed: int, batch_size: int) -> str | None:
        """What to say about too few usable rows; None if there are enough.

        Args:
            needed: the rows that the steps of the longest run train on.
            batch_size: the largest batch, in rows.
        """
        text = few_rows(self.usable, self.used, needed, batch_size)
        return text and f"warning: {text}"


def few_rows(usable: int, used: int, needed: int, batch_size: int) -> str | None:
    """A sentence about too few usable rows, also where each is used once; None for enough.

    Args:
        usable: rows of the dataset that are not left out.
        used: different rows that a run trains on.
        needed: rows that its steps take; more than `used` where rows are repeated.
        batch_size: the largest batch, in rows.
    """
    enough = max(FEW_ROWS, batch_size)
    if not used or usable >= enough:
        return None
    text = f"{usable} usable rows are few (under {enough}): speed and memory hold for their lengths"
    if needed <= used:
        return text
    return f"{text}; each is trained on about {-(-needed // used)} times, and losses say little"
