"""Penalties on weights, and what goes with them."""

from __future__ import annotations

import torch
from torch import Tensor


def lp_norm(w: Tensor, p: float) -> Tensor:
    """Σ |w|^p; for p < 1, where the slope at zero is infinite, Σ (w² + 10⁻¹²)^(p/2).

    Args:
        w: any shape.
        p: exponent, positive.

    Returns:
        A scalar.
    """
    if p == 2:
        return w.square().sum()
    if p < 1:
        return (w.square() + 1e-12).pow(p / 2).sum()
    return w.abs().pow(p).sum()


def soft_threshold(w: Tensor, amount: Tensor | float) -> Tensor:
    """sign(w) · max(|w| − amount, 0): the proximal map of amount · ‖·‖₁."""
    return w.sign() * (w.abs() - amount).clamp(min=0)


@torch.no_grad()
def clip_unit_norms_(weight: Tensor, limit: float) -> Tensor:
    """Scales every unit's incoming weights to a Euclidean norm of at most ``limit``, in place.

    A unit is a row of a matrix, or an output channel of a convolution's kernel.

    Source: Srivastava et al., Dropout, JMLR 2014, section 5.1.
    """
    norms = weight.flatten(1).norm(dim=1)
    factors = (limit / norms.clamp(min=1e-12)).clamp(max=1)
    return weight.mul_(factors.view(-1, *[1] * (weight.ndim - 1)))  # in any memory layout
