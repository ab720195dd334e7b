"""DiffusionNet: learned heat diffusion on surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.networks.mlp import MLP


class SurfaceBatch(NamedTuple):
    """A batch of B surfaces with V vertices in total, and their differential operators.

    Attributes:
        mass: area around each vertex, (V,).
        eigenvalues: smallest eigenvalues of each surface's Laplacian, Λ, (B, k).
        eigenvectors: the eigenvectors at each vertex, Φ, (V, k).
        grad_index: pairs (vertex, neighbor or itself), (2, E).
        grad: coefficients of the gradient along both tangent axes, (2, E).
        sizes: number of vertices of each surface.
    """

    mass: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    grad_index: Tensor
    grad: Tensor
    sizes: Sequence[int]

    def project(self, x: Tensor) -> Tensor:
        """Return the coefficients of functions in the eigenbasis, Φᵀ M x: (V, C) → (B, k, C)."""
        weighted = self.mass[:, None] * x
        parts = zip(self.eigenvectors.split(self.sizes), weighted.split(self.sizes), strict=True)
        return torch.stack([basis.mT @ part for basis, part in parts])

    def expand(self, coefficients: Tensor) -> Tensor:
        """Return the functions with given coefficients, Φ c: (B, k, C) → (V, C)."""
        parts = zip(self.eigenvectors.split(self.sizes), coefficients.unbind(0), strict=True)
        return torch.cat([basis @ part for basis, part in parts])

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradients of functions along the tangent axes, (V, C) → (2, V, C)."""
        shape = (len(x), len(x))
        # sparse products are not implemented in half precision
        with torch.autocast(x.device.type, enabled=False):
            matrices = (
                torch.sparse_coo_tensor(
                    self.grad_index, axis, shape, is_coalesced=False, check_invariants=False
                )
                for axis in self.grad
            )
            return torch.stack([torch.sparse.mm(m, x.to(self.grad.dtype)) for m in matrices])

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of functions over each surface, weighted by area: (V, C) → (B, C)."""
        parts = zip(self.mass.split(self.sizes), x.split(self.sizes), strict=True)
        return torch.stack([mass @ part / mass.sum() for mass, part in parts])


class HeatDiffusion(nn.Module):
    """Heat diffusion of each channel for a learned time t ≥ 0: Φ e^(−Λ t) Φᵀ M x.

    Args:
        width: number of channels, C.

    Shapes: x (V, C), :class:`SurfaceBatch` → (V, C).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # Times are in units of the surface's area: heat initially spreads over anything from a few
        # vertices to a tenth of the surface.
        self.log_time = nn.Parameter(torch.logspace(-4, -1, width).log())

    def forward(self, x: Tensor, surfaces: SurfaceBatch) -> Tensor:
        decay = torch.exp(-surfaces.eigenvalues[..., None] * self.log_time.exp())  # (B, k, C)
        return surfaces.expand(decay * surfaces.project(x))


class GradientFeatures(nn.Module):
    """Products of gradients at each vertex: tanh Re(w̄ ⊙ A w), w the gradients as complex numbers.

    The features do not depend on the choice of tangent axes. Since A is complex, they can
    distinguish the two sides of a surface.

    Args:
        width: number of channels, C.

    Shapes: gradients (2, V, C) → (V, C).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.real = nn.Linear(width, width, bias=False)
        self.imaginary = nn.Linear(width, width, bias=False)

    def forward(self, gradient: Tensor) -> Tensor:
        x, y = gradient.unbind(0)
        real = self.real(x) - self.imaginary(y)
        imaginary = self.real(y) + self.imaginary(x)
        return torch.tanh(x * real + y * imaginary)


class DiffusionBlock(nn.Module):
    """x ← x + MLP(x, diffused x, gradient features of diffused x).

    Args:
        width: number of channels, C.
        dropout: dropout probability in the MLP.

    Shapes: x (V, C), :class:`SurfaceBatch` → (V, C).
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.diffusion = HeatDiffusion(width)
        self.features = GradientFeatures(width)
        self.mlp = MLP([3 * width, width, width], dropout=dropout)

    def forward(self, x: Tensor, surfaces: SurfaceBatch) -> Tensor:
        diffused = self.diffusion(x, surfaces)
        features = self.features(surfaces.gradient(diffused))
        return x + self.mlp(torch.cat([x, diffused, features], 1))


class DiffusionNet(nn.Module):
    """DiffusionNet: a linear map, blocks of diffusion and pointwise MLPs, and a linear map.

    The output is invariant to bending the surface, to the choice of basis in each eigenspace and,
    approximately, to mesh refinement, provided that the inputs are.

    Args:
        in_dim: number of input features of a vertex.
        out_dim: number of output features of a vertex.
        width: number of channels of the blocks, C, default 64.
        blocks: number of blocks, default 4.
        dropout: dropout probability in the MLPs, default 0.

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

    def forward(self, x: Tensor, surfaces: SurfaceBatch) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x, surfaces)
        return self.last(x)
