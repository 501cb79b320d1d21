"""The counter counts Triton's compilations from its start on, and leaves others' hooks in place."""

from __future__ import annotations

import sys
from collections import Counter
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from liger_benchmark.training import compile_counter
from liger_benchmark.training.compile_counter import CompilationCounter


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Triton's settings of its runtime, of which the hook after a compilation is one."""
    triton = ModuleType("triton")
    runtime = SimpleNamespace(jit_post_compile_hook=None)
    triton.knobs = SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton", triton)
    return runtime


@pytest.fixture
def dynamo(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    counters: dict[str, Counter[str]] = {"stats": Counter(), "graph_break": Counter()}
    monkeypatch.setattr(compile_counter, "_dynamo_counters", lambda: counters)
    return counters


def test_each_compiled_kernel_is_counted(
    runtime: SimpleNamespace, dynamo: dict[str, Counter[str]]
) -> None:
    counter = CompilationCounter()
    counter.start()
    assert counter.total == 0
    for _ in range(3):
        assert runtime.jit_post_compile_hook(key="a", is_warmup=False) is None
    assert (counter.triton_kernels, counter.total) == (3, 3)


def test_a_hook_that_was_there_before_is_still_called(
    runtime: SimpleNamespace, dynamo: dict[str, Counter[str]]
) -> None:
    calls: list[Any] = []

    def earlier(*args: Any, **kwargs: Any) -> bool:
        calls.append((args, kwargs))
        return True

    runtime.jit_post_compile_hook = earlier
    counter = CompilationCounter()
    counter.start()
    assert runtime.jit_post_compile_hook(1, key="a") is True
    assert calls == [((1,), {"key": "a"})]
    assert counter.triton_kernels == 1


def test_dynamos_graphs_and_breaks_are_counted_besides(
    runtime: SimpleNamespace, dynamo: dict[str, Counter[str]]
) -> None:
    counter = CompilationCounter()
    counter.start()
    runtime.jit_post_compile_hook()
    dynamo["stats"]["unique_graphs"] = 4
    dynamo["graph_break"].update({"a call": 2, "a print": 1})
    assert (counter.graphs, counter.graph_breaks, counter.total) == (4, 3, 5)


def test_without_triton_there_is_nothing_to_count(
    monkeypatch: pytest.MonkeyPatch, dynamo: dict[str, Counter[str]]
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    counter = CompilationCounter()
    counter.start()
    assert counter.total == 0


def test_the_installed_triton_and_torch_have_what_is_read() -> None:
    knobs = pytest.importorskip("triton.knobs")
    assert hasattr(knobs.runtime, "jit_post_compile_hook")
    counters = compile_counter._dynamo_counters()
    assert isinstance(counters["stats"]["unique_graphs"], int)
