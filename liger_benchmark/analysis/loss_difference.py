"""How far apart two runs' losses are, and what rounding explains of it."""

from __future__ import annotations

from liger_benchmark.analysis.intervals import largest_relative_difference
from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import Run

# See `loss_bound`.
FP32_LOSS_BOUND = 1e-4
BF16_LOSS_BOUND = 2e-3


def loss_bound(args: TrainingArguments) -> float:
    """The largest relative difference of two arms' losses at one step that rounding explains.

    fp32: 1e-4. Measured: Liger's kernels agree with transformers' to 5e-7 in one step, on tiny
    models on a CPU. Forty SGD steps carry the difference on, and 1e-4 leaves two hundred times it.

    bf16: 2e-3. It has 8 significant bits, so that rounding one number is off by up to 2**-9 = 2e-3
    of it (unit roundoff: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section
    2.1). A loss is a mean over thousands of tokens, in which single roundings average out, so that
    the arms should stay closer than one rounding. Measured: at most 3.3e-4 over forty steps of
    Phi-3 mini on an H100, results/phi3-mini-h100-39gib. fp16 has 11 bits and stays below the bound.
    """
    return BF16_LOSS_BOUND if args.is_rounded else FP32_LOSS_BOUND


def loss_difference(one: Run, other: Run) -> float | None:
    """The largest relative difference of two runs' losses at the same step; None without steps."""
    if not len(one.history) or not len(other.history):
        return None
    losses = [run.history.set_index("step")["loss"] for run in (one, other)]
    steps = losses[0].index.intersection(losses[1].index)
    return largest_relative_difference(losses[0][steps], losses[1][steps])
