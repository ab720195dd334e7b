"""Paths between points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PATHS = ("linear", "spherical")


def linear_path(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """The straight line (1−t) z₀ + t z₁, both ends included: two (B, D) → (steps, B, D)."""
    t = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype)
    return torch.lerp(z0, z1, t[:, None, None])


def spherical_path(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """The arc sin((1−t)Ω)/sin Ω · z₀ + sin(tΩ)/sin Ω · z₁, Ω the angle between z₀ and z₁.

    It keeps to the shell where a Gaussian of many dimensions has its mass; a straight line between
    two of its draws cuts through the empty middle. Where the two point the same way or in opposite
    ones, which leaves no arc, or one is zero, it is the straight line.

    Source: Shoemake, Animating rotation with quaternion curves, 1985; White, Sampling generative
    networks, 2016.

    Shapes: two (B, D) → (steps, B, D).
    """
    lengths = z0.norm(dim=1) * z1.norm(dim=1)
    cosine = (z0 * z1).sum(1) / lengths.clamp(min=torch.finfo(z0.dtype).tiny)
    angle = cosine.clamp(-1, 1).acos()[:, None]  # (B, 1)
    sine = angle.sin()
    t = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype)[:, None, None]
    arc = (((1 - t) * angle).sin() * z0 + (t * angle).sin() * z1) / sine.clamp(min=1e-30)
    bent = (sine > 1e-4) & (lengths[:, None] > 0)
    return torch.where(bent, arc, linear_path(z0, z1, steps))


def interpolation_path(kind: str, z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """``linear`` or ``spherical_path``; ValueError for another kind."""
    if kind not in PATHS:
        raise ValueError(f"unknown path {kind!r}; choose from {', '.join(PATHS)}")
    return (linear_path if kind == "linear" else spherical_path)(z0, z1, steps)


def minimize_path_energy(
    line: Tensor, energy: Callable[[Tensor], Tensor], iterations: int = 100
) -> Tensor:
    """A path of least energy between the ends of another, (steps, B, D) → the same.

    The codes in between move (L-BFGS with a line search), the ends stay.

    Args:
        line: where to begin, such as a straight line.
        energy: of a path, a number that can be differentiated.
        iterations: at most, default 100.
    """
    if len(line) < 3:
        return line
    inner = line[1:-1].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([inner], max_iter=iterations, line_search_fn="strong_wolfe")

    def whole() -> Tensor:
        return torch.cat([line[:1], inner, line[-1:]])

    def closure() -> Tensor:
        value = energy(whole())
        (inner.grad,) = torch.autograd.grad(value, inner)
        return value

    optimizer.step(closure)
    return whole().detach()
