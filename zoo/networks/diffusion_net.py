"""DiffusionNet: learned heat flow on surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.networks.mlp import MLP


class SurfaceBatch(NamedTuple):
    """A batch of B surfaces, V vertices in all, and what is needed to compute on them.

    Attributes:
        mass: area around each vertex, (V,).
        eigenvalues: (B, k).
        eigenvectors: (V, k).
        grad_index: pairs (vertex, neighbour or itself), (2, E).
        grad: coefficients of the gradient along both tangent axes, (2, E).
        sizes: vertices of each surface.
    """

    mass: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    grad_index: Tensor
    grad: Tensor
    sizes: Sequence[int]

    def project(self, x: Tensor) -> Tensor:
        """Coefficients of functions in each surface's eigenbasis, Φᵀ M x: (V, C) → (B, k, C)."""
        weighted = self.mass[:, None] * x
        parts = zip(self.eigenvectors.split(self.sizes), weighted.split(self.sizes), strict=True)
        return torch.stack([basis.mT @ part for basis, part in parts])

    def expand(self, coefficients: Tensor) -> Tensor:
        """Functions by their coefficients, Φ c: (B, k, C) → (V, C)."""
        parts = zip(self.eigenvectors.split(self.sizes), coefficients.unbind(0), strict=True)
        return torch.cat([basis @ part for basis, part in parts])

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients of functions, (V, C) → (2, V, C)."""
        size = (len(x), len(x))
        with torch.autocast(x.device.type, enabled=False):  # sparse products know no half precision
            maps = (
                torch.sparse_coo_tensor(
                    self.grad_index, axis, size, is_coalesced=False, check_invariants=False
                )
                for axis in self.grad
            )
            return torch.stack([torch.sparse.mm(one, x.to(self.grad.dtype)) for one in maps])

    def mean(self, x: Tensor) -> Tensor:
        """Means over each surface by area, (V, C) → (B, C)."""
        parts = zip(self.mass.split(self.sizes), x.split(self.sizes), strict=True)
        return torch.stack([mass @ part / mass.sum() for mass, part in parts])


class HeatDiffusion(nn.Module):
    """Each channel flows for a time of its own: Φ e^(−Λ t) Φᵀ M x, with learned t ≥ 0 (C,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # of the surface's area: from a few vertices to a tenth of the whole
        self.log_time = nn.Parameter(torch.logspace(-4, -1, width).log())

    def forward(self, x: Tensor, on: SurfaceBatch) -> Tensor:
        kept = torch.exp(-on.eigenvalues[..., None] * self.log_time.exp())  # (B, k, C)
        return on.expand(kept * on.project(x))


class GradientFeatures(nn.Module):
    """How gradients lie to one another: tanh Re(w̄ ⊙ A w), w the gradients as complex numbers.

    The axes of the tangent planes cancel, and A, complex, lets a surface's two sides differ.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.real = nn.Linear(width, width, bias=False)
        self.imaginary = nn.Linear(width, width, bias=False)

    def forward(self, gradient: Tensor) -> Tensor:
        x, y = gradient.unbind(0)
        along = self.real(x) - self.imaginary(y)
        across = self.real(y) + self.imaginary(x)
        return torch.tanh(x * along + y * across)


class DiffusionBlock(nn.Module):
    """x ← x + MLP(x, diffused x, features of its gradient)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.diffusion = HeatDiffusion(width)
        self.features = GradientFeatures(width)
        self.mlp = MLP([3 * width, width, width], dropout=dropout)

    def forward(self, x: Tensor, on: SurfaceBatch) -> Tensor:
        diffused = self.diffusion(x, on)
        features = self.features(on.gradient(diffused))
        return x + self.mlp(torch.cat([x, diffused, features], 1))


class DiffusionNet(nn.Module):
    """A linear map, blocks of diffusion and pointwise MLPs, a linear map.

    What it gives is the same for a bent surface, a finer mesh (nearly) and other eigenvectors of
    the same eigenspaces, if its inputs are.

    Args:
        in_dim, out_dim: numbers at a vertex, before and after.
        width: C inside, default 64.
        blocks: default 4.
        dropout: in the MLPs, default 0.

    Shapes: x (V, in_dim), :class:`SurfaceBatch` → (V, out_dim).

    Source: Sharp, Attaiki, Crane and Ovsjanikov, DiffusionNet: Discretization agnostic learning on
    surfaces, 2022.
    """

    def __init__(
        self, in_dim: int, out_dim: int, width: int = 64, blocks: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first = nn.Linear(in_dim, width)
        self.blocks = nn.ModuleList(DiffusionBlock(width, dropout) for _ in range(blocks))
        self.last = nn.Linear(width, out_dim)

    def forward(self, x: Tensor, on: SurfaceBatch) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x, on)
        return self.last(x)
