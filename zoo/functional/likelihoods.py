"""Log-likelihoods of images in nats: summed over everything but the batch.

The parameters may have further dimensions in front of the batch's, (..., B, ...), such as several
draws of a code for each image; the images are not repeated for them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bernoulli_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) = Σ x log σ(l) + (1−x) log(1−σ(l)) = Σ x l − log(1 + eˡ), for x in [0, 1].

    With grey values between 0 and 1 this is the expectation of the log-likelihood over binary
    images drawn with those values as probabilities.

    Args:
        logits: parameters l, (..., B, *shape).
        x: pixels in [0, 1], (B, *shape).

    Returns:
        (..., B) nats.
    """
    if logits.ndim == x.ndim:
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    # without a copy of the images for each draw; linear only where log(1 + eˡ) = l to all digits
    logits, x = logits.flatten(1 - x.ndim), x.flatten(1)
    return torch.einsum("...bp,bp->...b", logits, x) - F.softplus(logits, threshold=50).sum(-1)


def gaussian_log_prob(mean: Tensor, log_sigma: Tensor, x: Tensor) -> Tensor:
    """log p(x) = −½ Σ [ (x−μ)²/σ² + 2 log σ + log 2π ].

    Args:
        mean: μ, (..., B, *shape).
        log_sigma: log σ, anything that broadcasts with ``mean``.
        x: (B, *shape); either of the two may have further dimensions in front.

    Returns:
        (..., B) nats (of a density: it may be positive).
    """
    squared = ((x - mean) * torch.exp(-log_sigma)).square()
    terms = squared + 2 * log_sigma + math.log(2 * math.pi)
    return -0.5 * terms.flatten(1 - min(mean.ndim, x.ndim)).sum(-1)


def categorical_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) = Σ log softmax(l)_x, for grey values k / (K − 1), k = 0 … K − 1.

    Args:
        logits: l, (..., B, K, *shape): one score for each of K levels of every pixel.
        x: pixels in [0, 1], (B, *shape), taken to the nearest level.

    Returns:
        (..., B) nats.
    """
    event = x.ndim - 1
    level = (x * (logits.shape[-event - 1] - 1)).round().long().unsqueeze(1)  # (B, 1, *shape)
    level = level.expand(*logits.shape[: -event - 2], *level.shape)
    chosen = logits.log_softmax(-event - 1).gather(-event - 1, level)
    return chosen.flatten(-event - 1).sum(-1)


def log_mean_exp(values: Tensor, dim: int = 0) -> Tensor:
    """log (1/n) Σ exp(v) along a dimension, without overflow."""
    return values.logsumexp(dim) - math.log(values.shape[dim])
