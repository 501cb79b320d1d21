"""The rehearsal's labels: divisible by 16 in number exactly where the batch's own are not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liger_benchmark.training.dataset import IGNORED
from liger_benchmark.training.rehearsal import DIVISOR, with_other_label_count


def batch(rows: list[list[bool]]) -> Any:
    """Labels, shape (batch, length): the token's position where True, else `IGNORED`."""
    import torch

    return torch.tensor(
        [[column if counts else IGNORED for column, counts in enumerate(row)] for row in rows]
    )


def counted(labels: Any) -> int:
    """The labels that a causal loss counts: a row's first has no token before it."""
    return int((labels[:, 1:] != IGNORED).sum())


BATCHES = st.integers(min_value=1, max_value=40).flatmap(
    lambda length: st.lists(
        st.lists(st.booleans(), min_size=length, max_size=length), min_size=1, max_size=6
    )
)


@given(BATCHES)
@settings(deadline=None, max_examples=300)
def test_the_copys_number_of_labels_is_divisible_exactly_if_the_batchs_is_not(
    rows: list[list[bool]],
) -> None:
    import torch

    labels = batch(rows)
    before = labels.clone()
    changed = with_other_label_count(labels)
    assert torch.equal(labels, before)
    n = counted(labels)
    if changed is None:
        # Fewer than 16 have no smaller multiple of 16 but 0.
        assert n < DIVISOR
        return
    assert (counted(changed) % DIVISOR == 0) != (n % DIVISOR == 0)
    assert counted(changed) >= 2
    # Labels are only taken out, none is changed and none is added.
    differs = changed != labels
    assert bool((changed[differs] == IGNORED).all())


@pytest.mark.parametrize(
    ("n", "expected"), [(0, None), (1, None), (15, None), (16, 15), (17, 16), (31, 16), (32, 31)]
)
def test_as_few_labels_are_taken_out_as_possible(n: int, expected: int | None) -> None:
    changed = with_other_label_count(batch([[True] * (n + 1)]))
    assert (None if changed is None else counted(changed)) == expected
