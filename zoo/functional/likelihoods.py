"""Log-likelihoods of images in nats: summed over everything but the batch dimension."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bernoulli_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) = Σ x log σ(l) + (1−x) log(1−σ(l)), for x in [0, 1].

    With grey values between 0 and 1 this is the expectation of the log-likelihood over binary
    images drawn with those values as probabilities.

    Args:
        logits: parameters l, (B, ...).
        x: pixels in [0, 1], (B, ...).

    Returns:
        (B,) nats.
    """
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian_log_prob(mean: Tensor, log_sigma: Tensor, x: Tensor) -> Tensor:
    """log p(x) = −½ Σ [ (x−μ)²/σ² + 2 log σ + log 2π ].

    Args:
        mean: μ, (B, ...).
        log_sigma: log σ, anything that broadcasts with ``mean``.
        x: (B, ...).

    Returns:
        (B,) nats (of a density: it may be positive).
    """
    squared = ((x - mean) * torch.exp(-log_sigma)).square()
    return -0.5 * (squared + 2 * log_sigma + math.log(2 * math.pi)).flatten(1).sum(1)


def categorical_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) = Σ log softmax(l)_x, for grey values k / (K − 1), k = 0 … K − 1.

    Args:
        logits: l, (B, K, ...): one score for each of K levels of every pixel.
        x: pixels in [0, 1], (B, ...), taken to the nearest level.

    Returns:
        (B,) nats.
    """
    level = (x * (logits.shape[1] - 1)).round().long()
    return -F.cross_entropy(logits, level, reduction="none").flatten(1).sum(1)


def log_mean_exp(values: Tensor, dim: int = 0) -> Tensor:
    """log (1/n) Σ exp(v) along a dimension, without overflow."""
    return values.logsumexp(dim) - math.log(values.shape[dim])
