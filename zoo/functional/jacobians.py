"""Squared norms of Jacobians, exact and estimated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vjp, vmap


def jacobian_norm(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """‖∂f/∂x‖²_F of each sample: one reverse pass for each output, all at once.

    Args:
        function: f, (B, ...) → (B, D), each output row a function of its own input row.
        x: (B, ...).

    Returns:
        (B,), differentiable in the parameters of ``function``.
    """
    z, pull_back = vjp(function, x)[:2]
    basis = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None].expand(-1, *z.shape)
    (rows,) = vmap(pull_back)(basis)  # (D, B, ...)
    return rows.square().flatten(2).sum((0, 2))


def estimated_jacobian_norm(
    function: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """An unbiased estimate of the same from one reverse pass: ‖vᵀ ∂f/∂x‖², v of random signs.

    E[v vᵀ] = I, so that E‖vᵀJ‖² = tr(JᵀJ) (Hutchinson, 1990).

    Args:
        function, x: as in :func:`jacobian_norm`.
        generator: of the signs.

    Returns:
        (B,).
    """
    z, pull_back = vjp(function, x)[:2]
    signs = torch.empty_like(z).bernoulli_(0.5, generator=generator) * 2 - 1
    (row,) = pull_back(signs)
    return row.square().flatten(1).sum(1)
