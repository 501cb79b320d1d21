"""Rows and records of ranks as one: times of the slowest, tokens of all, memory of the largest."""

from __future__ import annotations

from typing import Any

import pytest

from liger_benchmark.training.group_measurement import GroupRows, group_record


def row(step: int, seconds: float, tokens: int, peak: float, **more: Any) -> dict[str, Any]:
    warmup = step == 1
    measured = max(step - 1, 1)
    per_second = None if warmup else tokens / seconds
    return {
        "step": step,
        "is_warmup": warmup,
        "step_compilations": 3 if warmup else 0,
        "step_seconds": seconds,
        "avg_step_seconds": None if warmup else seconds,
        "step_tokens": tokens,
        "step_tokens_per_second": tokens / seconds,
        "avg_tokens_per_second": per_second,
        "avg_real_tokens_per_second": None if warmup else tokens / seconds / 2,
        "avg_loop_tokens_per_second": None if warmup else tokens / (2 * seconds),
        "step_peak_memory_reserved_MB": peak,
        "total_peak_memory_reserved_MB": None if warmup else peak,
        "step_energy_J": 10.0 * measured,
        "avg_energy_J_per_token": None if warmup else 10.0 / tokens,
        "loss": 2.0 - step / 10,
        **more,
    }


def test_a_row_is_made_once_all_ranks_have_ended_the_step() -> None:
    rows = GroupRows(2)
    assert rows.add(0, row(1, 1.0, 100, 5.0)) == []
    assert rows.add(0, row(2, 1.0, 100, 5.0)) == []
    assert [made["step"] for made in rows.add(1, row(1, 1.0, 100, 5.0))] == [1]
    assert [made["step"] for made in rows.add(1, row(2, 1.0, 100, 5.0))] == [2]


def test_a_group_is_as_slow_as_its_slowest_and_as_large_as_its_largest_rank() -> None:
    rows = GroupRows(2)
    for step, (seconds, other) in enumerate([(1.0, 1.0), (1.0, 1.25), (1.0, 1.25)], start=1):
        rows.add(0, row(step, seconds, 100, 5.0))
        (made,) = rows.add(1, row(step, other, 120, 7.0))
        assert made["step_seconds"] == other
        assert made["step_tokens"] == 220
        assert made["step_peak_memory_reserved_MB"] == 7.0
        assert made["step_slowest_over_fastest"] == pytest.approx(other)
    assert made["avg_tokens_per_second"] == pytest.approx(220 / 1.25)
    assert made["avg_tokens_per_second_per_gpu"] == pytest.approx(110 / 1.25)
    assert made["avg_real_tokens_per_second"] == pytest.approx(110 / 1.25)
    assert made["avg_loop_tokens_per_second"] == pytest.approx(220 / 2.5)
    assert made["avg_energy_J_per_token"] == pytest.approx(20 / 220)
    assert made["total_peak_memory_reserved_MB"] == 7.0
    assert made["loss"] == pytest.approx(1.7)


def record(**more: Any) -> dict[str, Any]:
    return {
        "environment": {"gpu": {"name": "H100", "uuid": "GPU-1", "window": {"mean_sm_MHz": 1900}}},
        "weights": {"checksum": "w"},
        "batches": {"checksum": "b", "padding_fraction": 0.5},
        "gradients": {"head": [1.0, 2.0]},
        "memory": {"allocator_retries": 0, "retries_in_measured_steps": 0},
        **more,
    }


def test_the_record_says_whether_the_ranks_agree_and_has_the_most_retries() -> None:
    rows = GroupRows(2)
    for rank in (0, 1):
        rows.add(rank, row(1, 1.0, 100, 5.0))
        rows.add(rank, row(2, 1.0, 100, 5.0, loss=1.8 + rank))
    retried = {"allocator_retries": 3, "retries_in_measured_steps": 1}
    other = record(
        gradients={"head": [1.0, 2.5]},
        memory=retried,
        batches={"checksum": "c", "padding_fraction": 0.25},
        weights={"checksum": ""},
    )
    made = group_record([record(), other], rows)
    assert made["memory"] == retried
    assert made["batches"]["checksum"] not in ("b", "c")
    assert made["batches"]["padding_fraction"] == 0.375
    group = made["group"]
    assert group["weights_agree"]  # the second was sent its own
    assert not group["gradients_agree"] and not group["losses_agree"]
    assert [rank["batches"] for rank in group["ranks"]] == ["b", "c"]
    assert group["ranks"][0]["gpu"]["uuid"] == "GPU-1"


def test_memory_that_ran_out_in_one_rank_is_the_groups() -> None:
    made = group_record([record(out_of_memory={"step": 2}, rank=1)], GroupRows(2))
    assert made["out_of_memory"] == {"step": 2}
    assert made["group"] == {"n_ranks": 2, "rank": 1}
