"""Norm penalties on weights, soft thresholding, and norm constraints."""

from __future__ import annotations

import torch
from torch import Tensor


def lp_penalty(w: Tensor, p: float) -> Tensor:
    """Compute Σ |w|^p; for p < 1, where its slope at 0 is infinite, Σ (w² + 10⁻¹²)^(p/2).

    Args:
        w: weights of any shape.
        p: exponent, positive.

    Returns:
        a scalar.
    """
    if p == 2:
        return w.square().sum()
    if p < 1:
        return (w.square() + 1e-12).pow(p / 2).sum()
    return w.abs().pow(p).sum()


def soft_threshold(w: Tensor, threshold: Tensor | float) -> Tensor:
    """Compute sign(w) · max(|w| − threshold, 0), the proximal map of threshold · ‖·‖₁."""
    return w.sign() * (w.abs() - threshold).clamp(min=0)


@torch.no_grad()
def clip_unit_norms_(weight: Tensor, limit: float) -> Tensor:
    """Scale each unit's incoming weights, in place, to a Euclidean norm of at most ``limit``.

    Args:
        weight: weights of a layer; a unit is a row of a matrix or an output channel of a
            convolution kernel.
        limit: maximum norm.

    Returns:
        ``weight``.

    Source: Srivastava et al., Dropout, JMLR 2014, section 5.1.
    """
    norms = weight.flatten(1).norm(dim=1)
    factors = (limit / norms.clamp(min=1e-12)).clamp(max=1)
    return weight.mul_(factors.view(-1, *[1] * (weight.ndim - 1)))  # works in any memory format
