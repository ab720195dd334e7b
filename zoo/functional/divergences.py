"""Divergences between distributions, in nats."""

from __future__ import annotations

import math

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
