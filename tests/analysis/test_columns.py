"""The columns that the analysis reads are columns that a run's measurement writes."""

from __future__ import annotations

from dataclasses import fields

from liger_benchmark import columns
from liger_benchmark.training.measurement import TPS, Energy, Memory


def test_every_column_that_is_read_is_written_by_the_measurement() -> None:
    written = {field.name for part in (TPS, Energy, Memory) for field in fields(part)}
    read = {value for name, value in vars(columns).items() if name.isupper()}
    assert read and read <= written
