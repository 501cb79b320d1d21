"""What a chat template may write that is another thing in each run: today's date, and chance.

Llama 3.x's and gpt-oss' templates write today's date (`strftime_now`), so that a grid that is
resumed on another day would train on other rows. Every rendering here tells them the same date.
"""

from __future__ import annotations

import contextlib
import datetime
import random
from collections.abc import Iterator
from typing import Any

# The date for all runs of all days: the one that Llama 3.2's template writes where it has no clock.
DATE = datetime.datetime(2024, 7, 26)


class Clock:
    """Takes the place of `datetime.datetime` where transformers' `strftime_now` asks for the time.

    transformers turns a function that is given to a template into text, so that the template cannot
    be given another `strftime_now`.

    Attributes:
        was_read: whether a template has asked for the date.
    """

    def __init__(self) -> None:
        self.was_read = False

    def now(self, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        """`DATE`, always."""
        self.was_read = True
        return DATE

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """A template that is rendered inside the block writes what it would on any other day.

        Jinja's filter `random` and its function `lipsum` choose the same in every rendering.
        """
        from transformers.utils import chat_template_utils

        used: Any = chat_template_utils
        real, state = used.datetime, random.getstate()
        used.datetime = self
        random.seed(0)
        try:
            yield
        finally:
            used.datetime = real
            random.setstate(state)
