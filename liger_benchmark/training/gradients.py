"""A fingerprint of a model's gradients: small enough for a record, telling enough to compare arms.

At initialisation the loss is about ln(vocabulary) whatever a model computes; its gradients are not.
Two arms that compute the same have, at the first step, the same gradient for every parameter but
for rounding.

Of each gradient g the norm is kept and its projections on a few vectors s of random signs. For two
gradients g and h the expected square of s·g - s·h is |g - h|² (Johnson and Lindenstrauss, 1984), so
that the relative difference of the arms' gradients can be estimated from the two fingerprints
alone. The signs come from the parameter's name: every run draws the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

N_PROJECTIONS = 4
# Elements that are looked at together: 250 MB of working memory at most.
CHUNK = 2**24


def gradient_fingerprint(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]], loss_scale: float = 1.0
) -> dict[str, list[float] | None]:
    """For each parameter that needs a gradient: its norm, then `N_PROJECTIONS` projections.

    An empty list stands for a parameter that got no gradient, None for a gradient that is not
    finite: JSON has no such number. The gradients stay as they are.

    Args:
        loss_scale: what the loss was multiplied by for fp16; the fingerprint is without it.
    """
    return {
        name.removeprefix("_orig_mod."): (
            []
            if parameter.grad is None
            else _norm_and_projections(name, parameter.grad, loss_scale)
        )
        for name, parameter in named_parameters
        if parameter.requires_grad
    }


def _norm_and_projections(
    name: str, gradient: torch.Tensor, loss_scale: float
) -> list[float] | None:
    import torch

    seed = int.from_bytes(hashlib.sha256(name.removeprefix("_orig_mod.").encode()).digest()[:4])
    generator = torch.Generator(gradient.device).manual_seed(seed)
    sums = torch.zeros(1 + N_PROJECTIONS, dtype=torch.float64, device=gradient.device)
    for chunk in gradient.detach().reshape(-1).split(CHUNK):
        values = chunk.float()
        sums[0] += values.square().sum(dtype=torch.float64)
        # Each bit of a random byte is a sign: one draw serves all projections.
        bits = torch.randint(
            2**N_PROJECTIONS,
            values.shape,
            dtype=torch.uint8,
            device=values.device,
            generator=generator,
        )
        for i in range(N_PROJECTIONS):
            negative = (bits >> i).bitwise_and_(1).bool()
            sums[1 + i] += torch.where(negative, -values, values).sum(dtype=torch.float64)
    sums[0] = sums[0].sqrt()
    if not bool(sums.isfinite().all()):
        return None
    return [float(f"{value:.7g}") for value in (sums / loss_scale).tolist()]
