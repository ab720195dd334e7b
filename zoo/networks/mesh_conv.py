"""Convolutions on a template mesh, and the encoder and decoder built from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.errors import InputError, check_choice
from zoo.functional.meshes import mesh_edges
from zoo.functional.templates import CoarseLevel, coarsen_mesh, spiral_indices
from zoo.networks.mlp import make_activation

CONV_TYPES = ("spiral", "cheb")
MIN_VERTICES = 4  # of the coarsest mesh


class SpiralConv(nn.Module):
    """Spiral convolution: a linear map of the features along a spiral, W [x(s₁), …, x(s_S)] + b.

    Args:
        spiral: vertex indices along the spiral around each vertex, (V, S); see
            :func:`zoo.functional.templates.spiral_indices`.
        in_dim: number of input features of a vertex.
        out_dim: number of output features of a vertex.

    Shapes: (B, V, in_dim) → (B, V, out_dim).

    Source: Gong et al., SpiralNet++, 2019.
    """

    spiral: Tensor

    def __init__(self, spiral: Tensor, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.register_buffer("spiral", spiral)
        self.linear = nn.Linear(spiral.shape[1] * in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        along_spiral = x.index_select(1, self.spiral.flatten())
        return self.linear(along_spiral.view(len(x), len(self.spiral), -1))


class TemplateChebConv(nn.Module):
    """PyG's Chebyshev convolution on the edges of a template mesh.

    Args:
        faces: faces of the template, (F, 3).
        in_dim: number of input features of a vertex.
        out_dim: number of output features of a vertex.
        cheb_order: number of Chebyshev polynomials.

    Shapes: (B, V, in_dim) → (B, V, out_dim).

    Source: Defferrard et al., 2016; on meshes Ranjan et al., 2018.
    """

    edge_index: Tensor

    def __init__(self, faces: Tensor, in_dim: int, out_dim: int, cheb_order: int) -> None:
        super().__init__()
        from torch_geometric.nn import ChebConv

        edges = mesh_edges(faces).T
        self.register_buffer("edge_index", torch.cat([edges, edges.flip(0)], 1))
        self.conv = ChebConv(in_dim, out_dim, cheb_order)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, self.edge_index)


class MeshPool(nn.Module):
    """Pooling: the features of the vertices that a coarser mesh keeps, (B, V, C) → (B, M, C).

    Args:
        level: the coarser mesh.
    """

    kept: Tensor

    def __init__(self, level: CoarseLevel) -> None:
        super().__init__()
        self.register_buffer("kept", level.kept)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.kept)


class MeshUnpool(nn.Module):
    """Unpooling: barycentric interpolation from a coarser mesh, (B, M, C) → (B, V, C).

    Args:
        level: the coarser mesh.
    """

    corners: Tensor
    weights: Tensor

    def __init__(self, level: CoarseLevel) -> None:
        super().__init__()
        self.register_buffer("corners", level.corners)
        self.register_buffer("weights", level.weights)

    def forward(self, x: Tensor) -> Tensor:
        terms = zip(self.corners.unbind(1), self.weights.to(x).unbind(1), strict=True)
        return sum(weight[:, None] * x.index_select(1, corner) for corner, weight in terms)  # type: ignore[return-value]


class MeshHierarchy:
    """A template mesh, coarser versions of it, and the convolutions on each level.

    Args:
        vertices: vertices of the template, (V, 3).
        faces: faces of the template, (F, 3).
        pooling_factors: for each coarser level, number of vertices of the level before divided by
            its own.
        conv_type: ``spiral`` or ``cheb``.
        kernel_size: length of the spirals, or number of Chebyshev polynomials.

    Attributes:
        meshes: vertices and faces of each level, the template first.
        coarse_levels: result of each coarsening step.

    Raises:
        InputError: unknown convolution; a level with fewer than 4 vertices.
    """

    def __init__(
        self,
        vertices: Tensor,
        faces: Tensor,
        pooling_factors: Sequence[int],
        conv_type: str,
        kernel_size: int,
    ) -> None:
        check_choice("conv_type", conv_type, CONV_TYPES)
        self.conv_type, self.kernel_size = conv_type, kernel_size
        self.meshes = [(vertices, faces)]
        self.coarse_levels: list[CoarseLevel] = []
        for factor in pooling_factors:
            vertices, faces = self.meshes[-1]
            count = len(vertices) // factor
            if count < MIN_VERTICES:
                raise InputError(
                    f"pooling factors {tuple(pooling_factors)} leave fewer than {MIN_VERTICES} of "
                    f"{len(self.meshes[0][0])} vertices: choose a smaller pooling_factor or fewer "
                    "widths in hidden_dims"
                )
            level = coarsen_mesh(vertices, faces, count)
            self.coarse_levels.append(level)
            self.meshes.append((vertices[level.kept], level.faces))
        self.spirals = (
            [spiral_indices(*mesh, kernel_size) for mesh in self.meshes]
            if conv_type == "spiral"
            else []
        )

    def make_conv(self, level: int, in_dim: int, out_dim: int) -> nn.Module:
        """Create a convolution on the mesh of a level; level 0 is the template."""
        if self.conv_type == "spiral":
            return SpiralConv(self.spirals[level], in_dim, out_dim)
        return TemplateChebConv(self.meshes[level][1], in_dim, out_dim, self.kernel_size)

    @property
    def coarsest_size(self) -> int:
        """Number of vertices of the coarsest level."""
        return len(self.meshes[-1][0])


def make_mesh_encoder(
    hierarchy: MeshHierarchy, channels: Sequence[int], out_features: int, activation: str
) -> nn.Sequential:
    """Create an encoder: convolution, nonlinearity and pooling at each level, then a linear layer.

    Args:
        hierarchy: levels of the mesh.
        channels: output channels of the convolution at each level, from the finest to the coarsest.
        out_features: dimension of the code.
        activation: nonlinearity after each convolution.

    Shapes: (B, V, 3) → (B, out_features).
    """
    layers: list[nn.Module] = []
    in_dim = 3
    for level, width in enumerate(channels):
        layers += [hierarchy.make_conv(level, in_dim, width), make_activation(activation)]
        layers.append(MeshPool(hierarchy.coarse_levels[level]))
        in_dim = width
    linear = nn.Linear(hierarchy.coarsest_size * in_dim, out_features)
    return nn.Sequential(*layers, nn.Flatten(), linear)


def make_mesh_decoder(
    hierarchy: MeshHierarchy, channels: Sequence[int], in_features: int, activation: str
) -> nn.Sequential:
    """Create the mirror image of :func:`make_mesh_encoder`.

    Args:
        hierarchy: levels of the mesh.
        channels: channels of the mirrored encoder, in the encoder's order.
        in_features: dimension of the code.
        activation: nonlinearity after each convolution but the last.

    Shapes: (B, in_features) → (B, V, 3).
    """
    in_dim = channels[-1]
    layers: list[nn.Module] = [
        nn.Linear(in_features, hierarchy.coarsest_size * in_dim),
        nn.Unflatten(1, (hierarchy.coarsest_size, in_dim)),
    ]
    for level, width in reversed(list(enumerate(channels))):
        layers.append(MeshUnpool(hierarchy.coarse_levels[level]))
        layers += [hierarchy.make_conv(level, in_dim, width), make_activation(activation)]
        in_dim = width
    return nn.Sequential(*layers, hierarchy.make_conv(0, in_dim, 3))
