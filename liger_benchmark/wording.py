"""How numbers, units and lists are written, in the analysis' sentences and in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeGuard

MINUS = "\N{MINUS SIGN}"
NO_VALUE = "\N{EN DASH}"

_MODEL_TITLES = {
    "phi3-mini": "Phi-3 mini",
    "llama-3-8b": "Llama 3 8B",
    "phi-3-mini-4k-instruct": "Phi-3 mini",
    "phi3-tiny": "a tiny Phi-3",
}


def model_title(short_model_name: str) -> str:
    """The model's name as people say it; the name itself where none is known."""
    return _MODEL_TITLES.get(short_model_name.lower(), short_model_name)


def known(value: Any) -> TypeGuard[float]:
    """Whether a table's cell holds a number."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def number(value: float, decimals: int = 0) -> str:
    """`12,345`, with a true minus sign; a value that rounds to zero has no sign."""
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, decimals: int = 1) -> str:
    """`+34.1` or `−2.0`."""
    text = number(value, decimals)
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"


def percent(value: float) -> str:
    """`52%` or `3.1%`: without sign, with one decimal below 10, whole from there on."""
    return f"{number(abs(value), 0 if round(abs(value), 1) >= 10 else 1)}%"


# Percentage points between the ends of an interval from which on it says nothing.
WIDEST_INTERVAL = 100.0


def percent_range(low: float, high: float, decimals: int) -> str:
    """`31–37%`, `−2 to +3%` where it needs a sign, `± < 0.1%` where the ends round to one.

    "undetermined" for an interval wider than `WIDEST_INTERVAL`.
    """
    if number(low, decimals) == number(high, decimals):
        return f"± < {10**-decimals:g}%"
    if high - low > WIDEST_INTERVAL:
        return "undetermined"
    if low >= 0 and high >= 0:
        return f"{number(low, decimals)}{NO_VALUE}{number(high, decimals)}%"
    return f"{signed(low, decimals)} to {signed(high, decimals)}%"


def all_the_same(low: float | None, high: float | None) -> bool:
    """Whether an interval has no width, but for rounding: all repeats gave the same value."""
    return known(low) and known(high) and math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-9)


def decimals_for(low: float | None, high: float | None) -> int:
    """Decimals for a percentage: 0 where its interval is wider than one percent, else 1."""
    return 0 if known(low) and known(high) and high - low >= 1 else 1


def significant(value: float, digits: int = 3) -> str:
    """A positive number with `digits` significant digits and no exponent: `0.0347`, `1.20`."""
    if not value or not math.isfinite(value):
        return number(value)
    return number(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def gibibytes(megabytes: float, decimals: int = 1) -> str:
    """Memory in GiB from MB of 2**20 bytes."""
    return number(megabytes / 1024, decimals)


def small_fraction(value: float) -> str:
    """A relative difference that may be tiny or huge: `0.31%`, `0.0002%`, `not finite`."""
    if math.isinf(value):
        return "not finite"
    percent = 100 * value
    if percent < 1e-4:
        return "below 0.0001%" if value else "0%"
    return f"{percent:.2g}%" if percent < 100 else f"{number(percent)}%"


def count_of_parameters(count: int) -> str:
    """`3.82 B` or `0.1 M` parameters."""
    return f"{number(count / 1e9, 2)} B" if count >= 1e9 else f"{number(count / 1e6, 1)} M"


def enumerate_words(items: Iterable[Any]) -> str:
    """`48`, `48 and 56`, `40, 48 and 56`."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(count: int, singular: str, many: str | None = None) -> str:
    """`1 run`, `3 runs`."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"


def batch_sizes(sizes: Iterable[int]) -> str:
    """`batch size 48`, `batch sizes 48 and 56`."""
    sizes = list(sizes)
    return f"batch size{'s' if len(sizes) > 1 else ''} {enumerate_words(sizes)}"
