"""Divergences between distributions, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.functional.precision import widen


def kl_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """Compute KL(N(μ, σ²) ‖ N(0, 1)) = ½ (μ² + σ² − 1 − log σ²) for each dimension.

    Args:
        mean: μ, (B, D).
        log_var: log σ², (B, D).

    Returns:
        (B, D) in nats, never negative; its sum over D is the divergence of the joint distribution.

    Source: Kingma and Welling, Auto-encoding variational Bayes, 2014, appendix B.
    """
    mean, log_var = widen(mean), widen(log_var)
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def kl_bernoulli(p: float, q: Tensor) -> Tensor:
    """Compute KL(Bernoulli(p) ‖ Bernoulli(q)) = p log(p/q) + (1−p) log((1−p)/(1−q)), elementwise.

    Args:
        p: probability in (0, 1).
        q: probabilities in [0, 1], clamped to [10⁻⁷, 1 − 10⁻⁷].

    Returns:
        divergences in nats, in the shape of ``q``, never negative.
    """
    # a unit that never fires (q = 0) has a large divergence, not an infinite one
    q = q.clamp(1e-7, 1 - 1e-7)
    q = widen(q)
    return p * (math.log(p) - q.log()) + (1 - p) * (math.log1p(-p) - (-q).log1p())


def kl_categorical(p: Tensor, q: Tensor) -> Tensor:
    """Compute KL(p ‖ q) = Σ p log(p/q) of categorical distributions.

    Args:
        p, q: probabilities of the K categories, (..., K).

    Returns:
        (...) in nats; infinite where a category has q = 0 and p > 0.
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Compute JS(p ‖ q) = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2, of categorical distributions.

    Args:
        p, q: probabilities of the K categories, (..., K).

    Returns:
        (...) in nats, from 0 (p = q) to log 2 (disjoint supports).
    """
    mixture = (p + q) / 2
    return (kl_categorical(p, mixture) + kl_categorical(q, mixture)) / 2
