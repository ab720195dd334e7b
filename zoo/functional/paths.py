"""Paths between latent codes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.errors import check_choice

PATHS = ("linear", "spherical")


def linear_path(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """Interpolate linearly, (1−t) z₀ + t z₁, both ends included: two (B, D) → (steps, B, D)."""
    t = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype)
    return torch.lerp(z0, z1, t[:, None, None])


def spherical_path(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """Interpolate spherically: sin((1−t)Ω)/sin Ω · z₀ + sin(tΩ)/sin Ω · z₁, Ω = ∠(z₀, z₁).

    The path stays near the shell that contains the mass of a high-dimensional Gaussian; a straight
    line between two samples passes through its empty center. Where the arc is not defined, because
    z₀ and z₁ are parallel or one of them is zero, the path is the straight line.

    Shapes: two (B, D) → (steps, B, D).

    Sources: Shoemake, Animating rotation with quaternion curves, 1985; White, Sampling generative
    networks, 2016.
    """
    norms = z0.norm(dim=1) * z1.norm(dim=1)
    cosine = (z0 * z1).sum(1) / norms.clamp(min=torch.finfo(z0.dtype).tiny)
    angle = cosine.clamp(-1, 1).acos()[:, None]  # (B, 1)
    sine = angle.sin()
    t = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype)[:, None, None]
    arc = (((1 - t) * angle).sin() * z0 + (t * angle).sin() * z1) / sine.clamp(min=1e-30)
    has_arc = (sine > 1e-4) & (norms[:, None] > 0)
    return torch.where(has_arc, arc, linear_path(z0, z1, steps))


def interpolation_path(kind: str, z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """Compute a path of the given kind by :func:`linear_path` or :func:`spherical_path`.

    Args:
        kind: ``linear`` or ``spherical``.
        z0: codes at the start, (B, D).
        z1: codes at the end, (B, D).
        steps: number of codes on each path, both ends included.

    Returns:
        (steps, B, D).

    Raises:
        InputError: ``kind`` is unknown.
    """
    check_choice("path", kind, PATHS)
    return (linear_path if kind == "linear" else spherical_path)(z0, z1, steps)


def minimize_path_energy(
    path: Tensor, energy: Callable[[Tensor], Tensor], max_iterations: int = 100
) -> Tensor:
    """Minimize the energy of a path over its inner points by L-BFGS; the ends stay fixed.

    Args:
        path: initial path, such as a straight line, (steps, B, D).
        energy: function from a path to a differentiable scalar.
        max_iterations: maximum number of L-BFGS iterations, default 100.

    Returns:
        (steps, B, D).
    """
    if len(path) < 3:
        return path
    inner = path[1:-1].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([inner], max_iter=max_iterations, line_search_fn="strong_wolfe")

    def full_path() -> Tensor:
        return torch.cat([path[:1], inner, path[-1:]])

    def closure() -> Tensor:
        value = energy(full_path())
        (inner.grad,) = torch.autograd.grad(value, inner)
        return value

    optimizer.step(closure)
    return full_path().detach()
