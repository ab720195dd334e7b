"""Log-likelihoods of images in nats, summed over all dimensions except the batch.

The parameters may have leading dimensions before the batch dimension, (..., B, *shape), such as
several latent samples per image; the images are broadcast to them without being copied.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.functional.precision import widen, without_autocast


def bernoulli_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """Compute log p(x) = Σ x log σ(l) + (1−x) log(1−σ(l)) = Σ x l − log(1 + eˡ), for x in [0, 1].

    For gray values this is the expected log-likelihood of binary images sampled with the gray
    values as probabilities.

    Args:
        logits: logits l of the pixels, (..., B, *shape).
        x: pixels in [0, 1], (B, *shape).

    Returns:
        (..., B) in nats.
    """
    logits, x = widen(logits), widen(x)
    if logits.ndim == x.ndim:
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    # einsum does not copy the images for each latent sample. Above the threshold, log(1 + eˡ)
    # equals l in float64; softplus's default of 20 would lose digits.
    logits, x = logits.flatten(1 - x.ndim), x.flatten(1)
    with without_autocast([x.device.type]):
        product = torch.einsum("...bp,bp->...b", logits, x)
    return product - F.softplus(logits, threshold=50).sum(-1)


def gaussian_log_prob(mean: Tensor, log_sigma: Tensor, x: Tensor) -> Tensor:
    """Compute log p(x) = −½ Σ [ (x−μ)²/σ² + 2 log σ + log 2π ].

    Args:
        mean: μ, (..., B, *shape).
        log_sigma: log σ, broadcastable with ``mean``.
        x: values, (..., B, *shape); ``mean`` or ``x`` may have leading dimensions.

    Returns:
        (..., B) in nats; a log-density, which may be positive.
    """
    mean, log_sigma, x = widen(mean), widen(log_sigma), widen(x)
    squared = ((x - mean) * torch.exp(-log_sigma)).square()
    terms = squared + 2 * log_sigma + math.log(2 * math.pi)
    return -0.5 * terms.flatten(1 - min(mean.ndim, x.ndim)).sum(-1)


def categorical_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """Compute log p(x) = Σ log softmax(l)_x, for gray values k / (K − 1), k = 0 … K − 1.

    Args:
        logits: logits l of the K levels of each pixel, (..., B, K, *shape).
        x: pixels in [0, 1], (B, *shape), rounded to the nearest level.

    Returns:
        (..., B) in nats.
    """
    logits, x = widen(logits), widen(x)
    event_dims = x.ndim - 1
    level_dim = -event_dims - 1
    level = (x * (logits.shape[level_dim] - 1)).round().long().unsqueeze(1)  # (B, 1, *shape)
    level = level.expand(*logits.shape[: level_dim - 1], *level.shape)
    chosen = logits.log_softmax(level_dim).gather(level_dim, level)
    return chosen.flatten(level_dim).sum(-1)


def log_mean_exp(values: Tensor, dim: int = 0) -> Tensor:
    """Compute log (1/n) Σ exp(v) along a dimension, without overflow."""
    return values.logsumexp(dim) - math.log(values.shape[dim])
