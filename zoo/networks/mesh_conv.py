"""Convolutions on meshes of one connectivity, (B, V, C), and encoders and decoders made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.functional.meshes import mesh_edges
from zoo.functional.templates import CoarseLevel, coarsen_mesh, spiral_indices
from zoo.networks.mlp import make_activation

CONV_TYPES = ("spiral", "cheb")


class SpiralConv(nn.Module):
    """A linear map of the features along a spiral around each vertex, W [x(s₁), …, x(s_S)] + b.

    Args:
        spiral: of each vertex, (V, S); see :func:`zoo.functional.templates.spiral_indices`.
        in_dim, out_dim: features.

    Shapes: (B, V, in_dim) → (B, V, out_dim).

    Source: Gong et al., SpiralNet++, 2019.
    """

    spiral: Tensor

    def __init__(self, spiral: Tensor, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.register_buffer("spiral", spiral)
        self.linear = nn.Linear(spiral.shape[1] * in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        along = x.index_select(1, self.spiral.flatten())
        return self.linear(along.view(len(x), len(self.spiral), -1))


class TemplateCheb(nn.Module):
    """PyG's Chebyshev convolution on the edges of a template.

    Args:
        faces: (F, 3).
        in_dim, out_dim: features.
        order: number of polynomials.

    Shapes: (B, V, in_dim) → (B, V, out_dim).

    Source: Defferrard et al., 2016; on meshes Ranjan et al., 2018.
    """

    edge_index: Tensor

    def __init__(self, faces: Tensor, in_dim: int, out_dim: int, order: int) -> None:
        super().__init__()
        from torch_geometric.nn import ChebConv

        edges = mesh_edges(faces).T
        self.register_buffer("edge_index", torch.cat([edges, edges.flip(0)], 1))
        self.conv = ChebConv(in_dim, out_dim, order)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, self.edge_index)


class MeshPool(nn.Module):
    """The vertices that a coarser mesh keeps: (B, V, C) → (B, M, C)."""

    kept: Tensor

    def __init__(self, coarser: CoarseLevel) -> None:
        super().__init__()
        self.register_buffer("kept", coarser.kept)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.kept)


class MeshUnpool(nn.Module):
    """Values on a coarser mesh at the vertices of the finer one, by barycentric coordinates:
    (B, M, C) → (B, V, C)."""

    corners: Tensor
    weights: Tensor

    def __init__(self, coarser: CoarseLevel) -> None:
        super().__init__()
        self.register_buffer("corners", coarser.corners)
        self.register_buffer("weights", coarser.weights)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.corners.unbind(1), self.weights.to(x).unbind(1), strict=True)
        return sum(share[:, None] * x.index_select(1, corner) for corner, share in parts)  # type: ignore[return-value]


class MeshHierarchy:
    """A template and coarser versions of it, and the convolutions on each.

    Args:
        vertices, faces: the template, (V, 3) and (F, 3).
        factors: how many times fewer vertices each level has than the one before.
        kind: ``spiral`` or ``cheb``.
        size: the spiral's length, or the number of polynomials.

    Raises:
        ValueError: unknown kind; a level of fewer than 4 vertices.
    """

    def __init__(
        self, vertices: Tensor, faces: Tensor, factors: Sequence[int], kind: str, size: int
    ) -> None:
        if kind not in CONV_TYPES:
            raise ValueError(f"unknown network {kind!r}; choose from {', '.join(CONV_TYPES)}")
        self.kind, self.size = kind, size
        self.meshes = [(vertices, faces)]
        self.steps: list[CoarseLevel] = []
        for factor in factors:
            vertices, faces = self.meshes[-1]
            if len(vertices) // factor < 4:
                raise ValueError(
                    f"pooling {tuple(factors)} leaves fewer than 4 of {len(self.meshes[0][0])} "
                    "vertices"
                )
            step = coarsen_mesh(vertices, faces, len(vertices) // factor)
            self.steps.append(step)
            self.meshes.append((vertices[step.kept], step.faces))
        self.spirals = (
            [spiral_indices(*mesh, size) for mesh in self.meshes] if kind == "spiral" else []
        )

    def conv(self, level: int, in_dim: int, out_dim: int) -> nn.Module:
        """A convolution on the mesh of a level, 0 the template itself."""
        if self.kind == "spiral":
            return SpiralConv(self.spirals[level], in_dim, out_dim)
        return TemplateCheb(self.meshes[level][1], in_dim, out_dim, self.size)

    @property
    def coarsest(self) -> int:
        """Vertices of the last level."""
        return len(self.meshes[-1][0])


def mesh_encoder(
    levels: MeshHierarchy, channels: Sequence[int], out_features: int, activation: str
) -> nn.Sequential:
    """Convolution, nonlinearity and pooling at each level, then one linear map:
    (B, V, 3) → (B, out_features)."""
    layers: list[nn.Module] = []
    before = 3
    for level, after in enumerate(channels):
        layers += [levels.conv(level, before, after), make_activation(activation)]
        layers += [MeshPool(levels.steps[level])]
        before = after
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(levels.coarsest * before, out_features))


def mesh_decoder(
    levels: MeshHierarchy, channels: Sequence[int], in_features: int, activation: str
) -> nn.Sequential:
    """The way back: (B, in_features) → (B, V, 3)."""
    before = channels[-1]
    layers: list[nn.Module] = [
        nn.Linear(in_features, levels.coarsest * before),
        nn.Unflatten(1, (levels.coarsest, before)),
    ]
    for level, after in reversed(list(enumerate(channels))):
        layers += [MeshUnpool(levels.steps[level])]
        layers += [levels.conv(level, before, after), make_activation(activation)]
        before = after
    return nn.Sequential(*layers, levels.conv(0, before, 3))
