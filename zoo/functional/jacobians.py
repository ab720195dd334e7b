"""Squared Frobenius norms of Jacobians, exact and estimated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vjp, vmap


def squared_jacobian_norm(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute ‖∂f/∂x‖²_F of each sample, by one vectorized backward pass per output dimension.

    Args:
        function: f, (B, ...) → (B, D), each output row a function only of the input row at its
            index.
        x: inputs, (B, ...).

    Returns:
        (B,), differentiable in the parameters of ``function``.
    """
    z, pullback = vjp(function, x)[:2]
    basis = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None].expand(-1, *z.shape)
    (rows,) = vmap(pullback)(basis)  # (D, B, ...)
    return rows.square().flatten(2).sum((0, 2))


def estimate_squared_jacobian_norm(
    function: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Estimate ‖∂f/∂x‖²_F without bias from one backward pass: ‖vᵀ ∂f/∂x‖², v random signs.

    E[v vᵀ] = I, therefore E‖vᵀJ‖² = tr(JᵀJ) (Hutchinson, 1990).

    Args:
        function, x: see :func:`squared_jacobian_norm`.
        generator: random generator of the signs, default the global one.

    Returns:
        (B,), differentiable in the parameters of ``function``.
    """
    z, pullback = vjp(function, x)[:2]
    signs = torch.empty_like(z).bernoulli_(0.5, generator=generator) * 2 - 1
    (row,) = pullback(signs)
    return row.square().flatten(1).sum(1)
