"""Divergences between distributions, in nats: summed over latent dimensions."""

from __future__ import annotations

from torch import Tensor


def kl_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − 1 − log σ²).

    Kingma and Welling, Auto-Encoding Variational Bayes, appendix B.

    Args:
        mean: μ, (B, D).
        log_var: log σ², (B, D).

    Returns:
        (B,) nats, never negative.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
