"""Conditions of a local grid that run at the same time, each on GPUs of its own.

flytekit runs the conditions of a local map task one after the other. With `parallel_conditions` the
first of them starts all: the map task then collects each result as it asks for it. What is compared
with each other, the arms of one batch size in one repeat, runs one after the other on the same GPU.
"""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.experiment.grid import most_gpus
from liger_benchmark.training.environment import visible_devices
from liger_benchmark.training.isolated_process import kill_running

# The GPUs of the condition that a thread runs; None where conditions take turns.
_devices: ContextVar[Sequence[str] | None] = ContextVar("devices", default=None)


class SideBySide:
    """The conditions of a grid, distributed over lanes: a lane is a thread with GPUs of its own.

    Args:
        grid: the conditions in their order; `parallel_conditions` of the first says how many lanes.
        train: trains one condition and returns its result.
    """

    def __init__(
        self, grid: Sequence[TrainingArguments], train: Callable[[TrainingArguments], Any]
    ) -> None:
        self.stopped = False
        self._lanes = [ThreadPoolExecutor(1) for _ in range(grid[0].parallel_conditions)]
        devices = list(devices_of_lanes(grid))
        self._futures: dict[str, Future[Any]] = {}
        for index, cell in enumerate(cells_of(grid)):
            lane = index % len(self._lanes)
            for arguments in cell:
                context = contextvars.copy_context()
                context.run(_devices.set, devices[lane])
                self._futures[arguments.slug] = self._lanes[lane].submit(
                    context.run, train, arguments
                )

    def result(self, arguments: TrainingArguments) -> Any:
        """Wait for a condition's result. Raises what its training raised."""
        return self._futures[arguments.slug].result()

    def stop(self) -> None:
        """End the lanes: the conditions that run are killed, and no other is started."""
        self.stopped = True
        for lane in self._lanes:
            lane.shutdown(wait=False, cancel_futures=True)
        kill_running()
        for lane in self._lanes:
            lane.shutdown()


def devices_of_this_condition() -> Sequence[str] | None:
    """The GPUs of the lane in which this is called; None where conditions take turns."""
    return _devices.get()


def devices_of_lanes(grid: Sequence[TrainingArguments]) -> Iterator[list[str]]:
    """The GPUs of each lane: as many as the largest condition needs; none on a CPU."""
    each, visible = most_gpus(grid), visible_devices()
    for lane in range(grid[0].parallel_conditions):
        yield visible[lane * each : (lane + 1) * each]


def cells_of(grid: Sequence[TrainingArguments]) -> Iterator[list[TrainingArguments]]:
    """The arms of each batch size in each repeat, in the grid's order."""
    for _, cell in itertools.groupby(grid, lambda a: (a.run, a.per_device_train_batch_size)):
        yield list(cell)
