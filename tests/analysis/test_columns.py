"""The columns that the analysis reads are columns that a run's measurement writes."""

from __future__ import annotations

from types import SimpleNamespace

from liger_benchmark import columns
from liger_benchmark.training.measurement import EfficiencyCallback


class Gpu:
    """A device with all that a history may hold."""

    def synchronize(self) -> None:
        pass

    def reset_peak_memory(self) -> None:
        pass

    def sample_clock(self) -> None:
        pass

    def peak_memory(self) -> dict[str, float]:
        return dict.fromkeys(("memory_allocated_MB", "memory_reserved_MB", "resident_set_MB"), 1.0)

    def energy_joules(self) -> float:
        return 1.0


def test_every_column_that_is_read_is_written_by_the_measurement() -> None:
    callback = EfficiencyCallback(0, Gpu())
    state = SimpleNamespace(global_step=1)
    callback.on_step_begin(None, state, None)
    callback.count_tokens(8)
    callback.on_step_end(None, state, None)
    read = {value for name, value in vars(columns).items() if name.isupper()}
    assert read and read <= set(callback.history[-1])
