"""How far apart two runs' gradients are, told from the fingerprints in their records.

The parameters are taken together by kind, all layers as one: what is wrong in one layer of 32 shows
in its kind, and the rounding of small tensors averages out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Fingerprint = Mapping[str, Sequence[float]]

# See `bounds_of`.
BF16_DIRECTION_BOUND = 0.3
BF16_NORM_BOUND = 0.02
FP32_DIRECTION_BOUND = 1e-3
FP32_NORM_BOUND = 1e-3
# In the order of the bounds.
MEASURES = ("direction", "norm")


@dataclass(frozen=True)
class GradientDifference:
    """Of all kinds of parameters and both measures the largest difference in relation to its bound.

    Attributes:
        measure: "direction", |g - h| / |h|, estimated from the projections, or "norm", the relative
            difference of |g| and |h|.
        value: the difference; infinite where one run has a gradient and the other has none.
        bound: what rounding explains of this measure.
        parameter: the kind of parameter; empty where there is none.
    """

    measure: str
    value: float
    bound: float
    parameter: str

    @property
    def times_bound(self) -> float:
        """The difference as a multiple of its bound."""
        return self.value / self.bound

    @property
    def above_bound(self) -> bool:
        """Whether rounding does not explain the difference."""
        return not self.value <= self.bound


def bounds_of(bf16: bool) -> tuple[float, float]:
    """The largest differences in direction and in norm that rounding explains.

    Both were measured, on one H100 (Phi-3 mini, batch sizes 16 and 40; tiny Qwen 3, Gemma 3 and
    Llama at 16) and on a CPU (tiny models, fp32).

    bf16: 0.3 and 0.02. Honest arms (Liger, its kernels singly, eager attention, the chunked loss,
    torch.compile, checkpointing) differ by at most 0.11 in direction and 0.005 in norm. RoPE left
    out, ReLU for SiLU, one MLP of 32 left out, labels shifted by one and another epsilon in the
    norms differ by 0.9 to 2.1 in direction; a loss scaled by 1.05 by 0.05 in norm.

    fp32: 1e-3 and 1e-3. Honest arms differ by at most 1e-6 in both.

    Args:
        bf16: whether the arithmetic was in bf16, on weights of either dtype: fp32 master weights
            are cast to bf16 before each product. Also for fp16, which has three bits more, so that
            its rounding stays below the same bounds.
    """
    if bf16:
        return BF16_DIRECTION_BOUND, BF16_NORM_BOUND
    return FP32_DIRECTION_BOUND, FP32_NORM_BOUND


def gradient_difference(one: Fingerprint, other: Fingerprint, bf16: bool) -> GradientDifference:
    """The difference of two fingerprints, relative to `other`.

    Args:
        one, other: see `training.gradients.gradient_fingerprint`.
        bf16: see `bounds_of`.
    """
    bounds = bounds_of(bf16)
    kinds: dict[str, list[str]] = {}
    for name in dict.fromkeys((*other, *one)):
        kinds.setdefault(re.sub(r"\.\d+\.", ".*.", name), []).append(name)
    differences = [
        GradientDifference(measure, value, bound, kind)
        for kind, names in kinds.items()
        for measure, value, bound in zip(MEASURES, _of_kind(one, other, names), bounds, strict=True)
    ]
    nothing = GradientDifference(MEASURES[0], 0.0, bounds[0], "")
    return max(differences, key=lambda difference: difference.times_bound, default=nothing)


def _of_kind(one: Fingerprint, other: Fingerprint, names: Sequence[str]) -> tuple[float, float]:
    """How far the parameters of one kind lie apart, by each of `MEASURES`."""
    squares = [0.0, 0.0, 0.0]  # of the difference, of `one` and of `other`
    for name in names:
        a, b = one.get(name, ()), other.get(name, ())
        # Of another length: made by code that drew another number of projections.
        if len(a) != len(b):
            return math.inf, math.inf
        if not a:
            continue
        squares[0] += sum((x - y) ** 2 for x, y in zip(a[1:], b[1:], strict=True)) / (len(a) - 1)
        squares[1] += a[0] ** 2
        squares[2] += b[0] ** 2
    difference, of_one, of_other = map(math.sqrt, squares)
    if not math.isfinite(difference + of_one + of_other):
        return math.inf, math.inf
    if of_other == 0.0:
        return (0.0, 0.0) if of_one == 0.0 else (math.inf, math.inf)
    return difference / of_other, abs(of_one / of_other - 1)
