"""Norm balls around samples: projection, steepest ascent direction, uniform sampling.

The norms of a perturbation δ:

===== ============================================ =============================
name  norm                                         samples
===== ============================================ =============================
linf  max_i |δ_i|                                  any shape
l2    √(Σ_i δ_i²)                                  any shape
point max_n ‖δ_n‖₂, over the points n              point clouds, (..., N, D)
===== ============================================ =============================

For point clouds, ``linf`` bounds each coordinate and ``point`` bounds each point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.functional.rng import SampleRNG

NORMS = ("linf", "l2", "point")
MIN_NORM = 1e-12  # lower limit of a norm that is a divisor


def delta_norm(delta: Tensor, norm: str) -> Tensor:
    """Compute the norm of each sample's perturbation, (B, ...) → (B,)."""
    if norm == "linf":
        return delta.flatten(1).abs().amax(1)
    if norm == "l2":
        return delta.flatten(1).norm(dim=1)
    return delta.norm(dim=-1).flatten(1).amax(1)


def project_to_ball(delta: Tensor, eps: Tensor | float, norm: str) -> Tensor:
    """Project each sample's perturbation onto the ball of radius ``eps``, (B, ...) → the same.

    Args:
        delta: perturbations, (B, ...).
        eps: radius, one for all samples or one per sample (B,).
        norm: ``linf``, ``l2`` or ``point``.
    """
    radius = per_sample(eps, delta)
    if norm == "linf":
        return torch.minimum(torch.maximum(delta, -radius), radius)
    return delta * (radius / _divisor(delta, norm)).clamp(max=1)


def steepest_direction(gradient: Tensor, norm: str) -> Tensor:
    """Return the step of norm 1 along which a function with this gradient increases fastest.

    It is sign(g) for ``linf``, g / ‖g‖ for ``l2`` and g_n / ‖g_n‖ at each point for ``point``; zero
    where the gradient is zero.

    Shapes: (B, ...) → the same.
    """
    return gradient.sign() if norm == "linf" else gradient / _divisor(gradient, norm)


def uniform_in_ball(rng: SampleRNG, like: Tensor, eps: Tensor | float, norm: str) -> Tensor:
    """Sample one point uniformly from the ball of each sample.

    Args:
        rng: random generator with one stream per sample.
        like: tensor with the shape and dtype of the result, (B, ...).
        eps: radius, one for all samples or one per sample (B,).
        norm: ``linf``, ``l2`` or ``point``.

    Returns:
        points around zero, (B, ...).
    """
    shape, eps = like.shape[1:], per_sample(eps, like)
    if norm == "linf":
        return (2 * rng.uniform(*shape, dtype=like.dtype) - 1) * eps
    direction = steepest_direction(rng.normal(*shape, dtype=like.dtype), norm)
    if norm == "l2":
        radius = rng.uniform(dtype=like.dtype) ** (1 / shape.numel())
        return direction * eps * broadcast_per_sample(radius, direction)
    radius = rng.uniform(*shape[:-1], dtype=like.dtype)[..., None] ** (1 / shape[-1])
    return direction * eps * radius


def broadcast_per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per sample, (B,), to broadcast with ``like``, (B, 1, …)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def per_sample(value: Tensor | float, like: Tensor) -> Tensor:
    """Return one value, or one per sample, (B,), as a tensor that broadcasts with ``like``."""
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return broadcast_per_sample(value, like) if value.ndim else value


def _divisor(delta: Tensor, norm: str) -> Tensor:
    """Return the norms of samples or points in a shape that broadcasts, at least ``MIN_NORM``."""
    if norm == "l2":
        norms = broadcast_per_sample(delta.flatten(1).norm(dim=1), delta)
    else:
        norms = delta.norm(dim=-1, keepdim=True)
    return norms.clamp(min=MIN_NORM)
