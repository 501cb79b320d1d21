"""A rehearsal before the first step, so that no measured step compiles a kernel of Liger's.

Triton compiles a kernel anew where a whole-number argument is divisible by 16 and where it is not.
Liger's cross-entropy takes the number of counted labels as such an argument, so that the first
batch whose number is of the other kind compiles for 0.3 s (on an H100), in whichever step it comes.
Both kinds are therefore computed before the first step: once with some labels taken out, once with
the batch as it is. In a user's own long training the same compilation happens once, and costs as
much; it says nothing about the speed of the steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from liger_benchmark.training.dataset import IGNORED

if TYPE_CHECKING:
    import torch

# Triton's divisibility: `triton.runtime.jit` specialises integers on this factor.
DIVISOR = 16


def with_other_label_count(labels: torch.Tensor) -> torch.Tensor | None:
    """A copy of `labels` whose number of counted labels is divisible by 16 if theirs is not.

    And not divisible by 16 if theirs is. Of a row's labels the first is never counted, since no
    token precedes it. None if there are too few labels for both.

    Args:
        labels: shape (batch, length), `IGNORED` where no loss is taken.
    """
    counted = (labels[:, 1:] != IGNORED).nonzero()
    n = len(counted)
    surplus = n % DIVISOR or 1
    # One label is a specialisation of its own (1), and none is no loss.
    if n - surplus < 2:
        return None
    changed = labels.clone()
    rows, columns = counted[n - surplus :].unbind(1)
    changed[rows, columns + 1] = IGNORED
    return changed
