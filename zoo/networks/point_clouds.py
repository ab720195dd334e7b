"""Networks on point clouds, (B, N, 3): features of the whole cloud and of each point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.functional.points import (
    ball_query,
    farthest_point_sampling,
    gather_rows,
    interpolate_features,
    nearest_neighbors,
    rotation_invariant_features,
)


class PointFeatures(NamedTuple):
    """Output of a network on point clouds.

    Attributes:
        cloud: features of each cloud, (B, cloud_dim).
        points: features of each point, (B, N, point_dim); None unless the network was created with
            ``per_point=True``.
        orthogonality_penalty: ‖I − A Aᵀ‖²_F of PointNet's feature transform A, mean over the
            batch; None for networks that do not have one.
    """

    cloud: Tensor
    points: Tensor | None = None
    orthogonality_penalty: Tensor | None = None


class SharedMLP(nn.Sequential):
    """One MLP applied to every point: h ← φ(norm(W h)), with batch normalization over all points.

    Args:
        sizes: widths from input to output.
        slope: slope of the leaky ReLU φ for negative inputs; default 0, a ReLU.

    Shapes: (..., ``sizes[0]``) → (..., ``sizes[-1]``).
    """

    def __init__(self, sizes: Sequence[int], slope: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for in_dim, out_dim in pairwise(sizes):
            layers += [nn.Linear(in_dim, out_dim, bias=False), nn.BatchNorm1d(out_dim)]
            layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).unflatten(0, x.shape[:-1])


class PointNetwork(nn.Module):
    """Interface of all networks on point clouds: points (B, N, 3) → :class:`PointFeatures`.

    Attributes:
        cloud_dim: number of features of a cloud.
        point_dim: number of features of a point.
    """

    cloud_dim: int
    point_dim: int


class TNet(nn.Module):
    """T-Net: a D × D matrix computed from each cloud, initially close to the identity.

    Args:
        dim: dimension of the points or of their features, D.
        width: W; the hidden layers have W, 2 W and 16 W features of a point, then 8 W and 4 W
            features of the cloud.

    Shapes: (B, N, D) → (B, D, D).
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.local = SharedMLP([dim, width, 2 * width, 16 * width])
        self.whole = SharedMLP([16 * width, 8 * width, 4 * width])
        self.map = nn.Linear(4 * width, dim * dim)
        nn.init.normal_(self.map.weight, std=1e-3)
        nn.init.zeros_(self.map.bias)

    def forward(self, x: Tensor) -> Tensor:
        change = self.map(self.whole(self.local(x).amax(1)))
        return change.unflatten(1, (self.dim, self.dim)) + torch.eye(self.dim).to(x)


class PointNet(PointNetwork):
    """PointNet: features of each point, their maximum over the cloud, and two learned alignments.

    Args:
        width: W, default 64; the layers have W, W, then W, 2 W and 16 W features.
        per_point: whether the output has features of each point, default no.

    Source: Qi et al., PointNet, 2017, section 4.
    """

    def __init__(self, width: int = 64, per_point: bool = False) -> None:
        super().__init__()
        self.cloud_dim, self.point_dim = 16 * width, 17 * width
        self.per_point = per_point
        self.align_points, self.align_features = TNet(3, width), TNet(width, width)
        self.first = SharedMLP([3, width, width])
        self.second = SharedMLP([width, width, 2 * width, 16 * width])

    def forward(self, points: Tensor) -> PointFeatures:
        h = self.first(points @ self.align_points(points))
        transform = self.align_features(h)  # (B, W, W)
        identity = torch.eye(transform.shape[-1]).to(transform)
        penalty = (identity - transform @ transform.mT).square().sum((1, 2)).mean()
        h = h @ transform
        cloud = self.second(h).amax(1)
        if not self.per_point:
            return PointFeatures(cloud, None, penalty)
        return PointFeatures(cloud, append_cloud_features(h, cloud), penalty)


class SetAbstraction(nn.Module):
    """Set abstraction: fewer points, each with features of its neighborhood.

    Args:
        fraction: fraction of the points that is kept.
        radius: radius of the neighborhoods, in the units of the points.
        k: largest number of points in a neighborhood.
        sizes: widths of the MLP, whose input is a neighbor's position relative to the point and its
            features.

    Shapes: points (B, N, 3), features (B, N, C) or None → (B, M, 3), (B, M, ``sizes[-1]``).
    """

    def __init__(self, fraction: float, radius: float, k: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.fraction, self.radius, self.k = fraction, radius, k
        self.mlp = SharedMLP(sizes)

    def forward(self, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        count = max(1, round(self.fraction * points.shape[1]))
        centers = gather_rows(points, farthest_point_sampling(points, count))
        neighbors = ball_query(centers, points, self.radius, self.k)
        h = (gather_rows(points, neighbors) - centers[:, :, None]) / self.radius
        if features is not None:
            h = torch.cat([h, gather_rows(features, neighbors)], -1)
        return centers, self.mlp(h).amax(2)


class PointNet2(PointNetwork):
    """PointNet++ with a single scale: PointNets on a hierarchy of neighborhoods.

    Args:
        width: W, default 64; the layers have W, W, 2 W, then 2 W, 2 W, 4 W, then 4 W, 8 W, 16 W
            features.
        radii: radius of the neighborhoods at both levels, default 0.2 and 0.4, for clouds in the
            unit ball.
        k: largest number of points in a neighborhood at both levels, default 32 and 64.
        fractions: fraction of the points kept at both levels, default 1/2 and 1/4 (512 and 128 of
            1,024).
        per_point: whether the output has features of each point, interpolated from the kept
            points; default no.

    Source: Qi et al., PointNet++, 2017, section 3.
    """

    def __init__(
        self,
        width: int = 64,
        radii: Sequence[float] = (0.2, 0.4),
        k: Sequence[int] = (32, 64),
        fractions: Sequence[float] = (0.5, 0.25),
        per_point: bool = False,
    ) -> None:
        super().__init__()
        w = width
        self.cloud_dim, self.point_dim = 16 * w, 2 * w
        self.near = SetAbstraction(fractions[0], radii[0], k[0], [3, w, w, 2 * w])
        self.far = SetAbstraction(fractions[1], radii[1], k[1], [3 + 2 * w, 2 * w, 2 * w, 4 * w])
        self.whole = SharedMLP([3 + 4 * w, 4 * w, 8 * w, 16 * w])
        self.back: nn.ModuleList | None = None
        if per_point:
            sizes = ([20 * w, 4 * w, 4 * w], [6 * w, 4 * w, 2 * w], [3 + 2 * w, 2 * w, 2 * w])
            self.back = nn.ModuleList(SharedMLP(size) for size in sizes)

    def forward(self, points: Tensor) -> PointFeatures:
        centers1, h1 = self.near(points, None)
        centers2, h2 = self.far(centers1, h1)
        cloud = self.whole(torch.cat([centers2, h2], -1)).amax(1)
        if self.back is None:
            return PointFeatures(cloud)
        # feature propagation: from the cloud to the second level, the first level and the points
        to_second, to_first, to_points = self.back
        h2 = to_second(append_cloud_features(h2, cloud))
        h1 = to_first(torch.cat([h1, interpolate_features(h2, centers2, centers1)], -1))
        h = to_points(torch.cat([points, interpolate_features(h1, centers1, points)], -1))
        return PointFeatures(cloud, h)


class DGCNN(PointNetwork):
    """Dynamic graph CNN: edge convolutions whose neighbors are found again in every feature space.

    h_i ← max_j φ(W [h_i, h_j − h_i]) over the k nearest neighbors j in the space of h. A last layer
    mixes the features of all layers; its maximum and mean over points are the cloud's features.

    Args:
        width: W, default 64; the layers have W, W, 2 W and 4 W features, then 16 W.
        k: number of neighbors, the point itself included, default 20.
        per_point: whether the output has features of each point, default no.

    Source: Wang et al., Dynamic graph CNN for learning on point clouds, 2019.
    """

    def __init__(self, width: int = 64, k: int = 20, per_point: bool = False) -> None:
        super().__init__()
        self.k, self.per_point = k, per_point
        widths = [width, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            SharedMLP([self.edge_dim(in_dim), out_dim], 0.2)
            for in_dim, out_dim in zip([None, *widths[:-1]], widths, strict=True)
        )
        self.whole = SharedMLP([sum(widths), 16 * width], 0.2)
        self.cloud_dim = 32 * width
        self.point_dim = sum(widths) + self.cloud_dim

    def edge_dim(self, in_dim: int | None) -> int:
        """Return the number of features of an edge.

        Args:
            in_dim: number of features of a point before the layer; None for the first layer.
        """
        return 2 * (3 if in_dim is None else in_dim)

    def make_edge_function(self, points: Tensor) -> Callable[[Tensor | None], Tensor]:
        """Return the function that computes the edge features of a layer.

        Args:
            points: the clouds, (B, N, 3).

        Returns:
            A function from the features before a layer, (B, N, C), or None for the first layer, to
            features of each point's k edges, (B, N, k, edge_dim(C)).
        """

        def edges_of(h: Tensor | None) -> Tensor:
            h = points if h is None else h
            neighbors, _ = nearest_neighbors(h, h, min(self.k, h.shape[1]))
            return edge_features(h, neighbors)

        return edges_of

    def forward(self, points: Tensor) -> PointFeatures:
        edges_of = self.make_edge_function(points)
        h: Tensor | None = None
        outputs: list[Tensor] = []
        for layer in self.layers:
            h = layer(edges_of(h)).amax(2)
            outputs.append(h)
        h = torch.cat(outputs, -1)
        mixed = self.whole(h)
        cloud = torch.cat([mixed.amax(1), mixed.mean(1)], -1)
        return PointFeatures(cloud, append_cloud_features(h, cloud) if self.per_point else None)


class InvariantDGCNN(DGCNN):
    """DGCNN on distances, invariant to rotations and reflections.

    The k neighbors are the nearest in space, in every layer. Every edge has the six distances of
    :func:`~zoo.functional.points.rotation_invariant_features` as additional features.

    Args:
        width: see :class:`DGCNN`.
        k: see :class:`DGCNN`.
        per_point: see :class:`DGCNN`.
    """

    def edge_dim(self, in_dim: int | None) -> int:
        return 6 if in_dim is None else 2 * in_dim + 6

    def make_edge_function(self, points: Tensor) -> Callable[[Tensor | None], Tensor]:
        neighbors, _ = nearest_neighbors(points, points, min(self.k, points.shape[1]))
        distances = rotation_invariant_features(points, neighbors)

        def edges_of(h: Tensor | None) -> Tensor:
            if h is None:
                return distances
            return torch.cat([edge_features(h, neighbors), distances], -1)

        return edges_of


def edge_features(h: Tensor, neighbors: Tensor) -> Tensor:
    """Return [h_i, h_j − h_i] for the neighbors j of each point i.

    Args:
        h: features of the points, (B, N, C).
        neighbors: indices of each point's neighbors, (B, N, k).

    Returns:
        (B, N, k, 2 C).
    """
    centers = h[:, :, None].expand(-1, -1, neighbors.shape[2], -1)
    return torch.cat([centers, gather_rows(h, neighbors) - centers], -1)


def append_cloud_features(points: Tensor, cloud: Tensor) -> Tensor:
    """Append the cloud's features to those of each point, (B, N, C), (B, F) → (B, N, C + F)."""
    return torch.cat([points, cloud[:, None].expand(-1, points.shape[1], -1)], -1)


POINT_NETWORKS: dict[str, type[PointNetwork]] = {
    "pointnet": PointNet,
    "pointnet2": PointNet2,
    "dgcnn": DGCNN,
    "invariant": InvariantDGCNN,
}
