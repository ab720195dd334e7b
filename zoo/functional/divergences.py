"""Divergences between distributions, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kl_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ (μ² + σ² − 1 − log σ²) of each dimension.

    Kingma and Welling, Auto-Encoding Variational Bayes, appendix B.

    Args:
        mean: μ, (B, D).
        log_var: log σ², (B, D).

    Returns:
        (B, D) nats, never negative; the sum over D is the divergence of the whole.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def kl_bernoulli(p: float, q: Tensor) -> Tensor:
    """KL(Bernoulli(p) ‖ Bernoulli(q)) = p log(p/q) + (1−p) log((1−p)/(1−q)), elementwise.

    Args:
        p: probability in (0, 1).
        q: probabilities in (0, 1).

    Returns:
        nats, in the shape of ``q``, never negative.
    """
    q = q.clamp(1e-7, 1 - 1e-7)  # a unit that never fires is far away, not infinitely far
    return p * (math.log(p) - q.log()) + (1 - p) * (math.log1p(-p) - (-q).log1p())


def kl_categorical(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ p log(p/q) of distributions over finitely many values.

    Args:
        p, q: probabilities, (..., K).

    Returns:
        (...) nats; infinite where q is 0 and p is not.
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """JS(p ‖ q) = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2.

    Args:
        p, q: probabilities, (..., K).

    Returns:
        (...) nats, between 0, where p = q, and log 2.
    """
    middle = (p + q) / 2
    return (kl_categorical(p, middle) + kl_categorical(q, middle)) / 2
