"""Balls around a sample, and how to move in them.

===== ======================================================== ==================
name  size of δ                                                of
===== ======================================================== ==================
linf  max_i |δ_i|                                              any sample
l2    √(Σ_i δ_i²)                                              any sample
point max_n ‖δ_n‖₂, the longest way that one point goes        points (..., N, D)
===== ======================================================== ==================

On points, ``linf`` is the bound for each coordinate and ``point`` that for each point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.functional.rng import SampleRNG

NORMS = ("linf", "l2", "point")
MIN_NORM = 1e-12  # lengths below count as none


def check_norm(norm: str) -> None:
    """Raises ValueError unless ``norm`` is one of the table's names."""
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}; choose from {', '.join(NORMS)}")


def delta_norm(delta: Tensor, norm: str) -> Tensor:
    """How long each sample's δ is, (B, ...) → (B,)."""
    if norm == "linf":
        return delta.flatten(1).abs().amax(1)
    if norm == "l2":
        return delta.flatten(1).norm(dim=1)
    return delta.norm(dim=-1).flatten(1).amax(1)


def project_to_ball(delta: Tensor, eps: Tensor | float, norm: str) -> Tensor:
    """The nearest point of the ball of radius ``eps``, (B, ...) → the same.

    Args:
        delta: of each sample.
        eps: one radius, or (B,).
        norm: see the table.
    """
    radius = torch.as_tensor(eps, dtype=delta.dtype, device=delta.device)
    radius = broadcast_per_sample(radius, delta) if radius.ndim else radius
    if norm == "linf":
        return torch.minimum(torch.maximum(delta, -radius), radius)
    return delta * (radius / _lengths(delta, norm)).clamp(max=1)


def steepest_direction(gradient: Tensor, norm: str) -> Tensor:
    """The step of size 1 that goes up fastest: sign(g), or g / ‖g‖ (of each point); 0 where g is.

    Shapes: (B, ...) → the same.
    """
    return gradient.sign() if norm == "linf" else gradient / _lengths(gradient, norm)


def uniform_in_ball(streams: SampleRNG, like: Tensor, eps: float, norm: str) -> Tensor:
    """A point of each sample's ball, all equally likely, in the shape of ``like``, (B, ...)."""
    shape = like.shape[1:]
    if norm == "linf":
        return (2 * streams.uniform(*shape, dtype=like.dtype) - 1) * eps
    direction = steepest_direction(streams.normal(*shape, dtype=like.dtype), norm)
    if norm == "l2":
        radius = streams.uniform(dtype=like.dtype) ** (1 / shape.numel())
        return direction * eps * broadcast_per_sample(radius, direction)
    return (
        direction
        * eps
        * streams.uniform(*shape[:-1], dtype=like.dtype)[..., None] ** (1 / shape[-1])
    )


def broadcast_per_sample(values: Tensor, like: Tensor) -> Tensor:
    """(B,) in a shape that broadcasts over samples, (B, 1, …)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _lengths(delta: Tensor, norm: str) -> Tensor:
    """Lengths by which δ is divided, in a shape that broadcasts; never 0."""
    if norm == "l2":
        lengths = broadcast_per_sample(delta.flatten(1).norm(dim=1), delta)
    else:
        lengths = delta.norm(dim=-1, keepdim=True)
    return lengths.clamp(min=MIN_NORM)
