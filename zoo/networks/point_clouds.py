"""Networks on clouds of points, (B, N, 3): a vector for the whole, and one for each point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """What a network finds in clouds.

    Attributes:
        shape: a vector for each cloud, (B, shape_dim).
        local: one for each point, (B, N, local_dim); None unless the network was made with
            ``local=True``.
        misalignment: ‖I − A Aᵀ‖²_F of a learned alignment A of features, mean over the batch; None
            where there is none.
    """

    shape: Tensor
    local: Tensor | None = None
    misalignment: Tensor | None = None


class SharedMLP(nn.Sequential):
    """The same MLP at every point: h ← φ(norm(W h)), with batch norm over all points.

    Args:
        sizes: widths from input to output.
        slope: of a negative input to φ, default 0.

    Shapes: (..., ``sizes[0]``) → (..., ``sizes[-1]``).
    """

    def __init__(self, sizes: Sequence[int], slope: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for before, after in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after)]
            layers += [nn.LeakyReLU(slope) if slope else nn.ReLU()]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).unflatten(0, x.shape[:-1])


class PointNetwork(nn.Module):
    """What all networks on points have: ``forward(points (B, N, 3)) → Features``."""

    shape_dim: int
    local_dim: int


class TNet(nn.Module):
    """A linear map for each cloud, found from the cloud itself; nearly the identity at first.

    Args:
        dim: D, of the points or of their features.
        width: W; the hidden layers have W, 2 W and 16 W, then 8 W and 4 W features.

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
    """A function of each point alone, its maximum over the cloud, and two learned alignments.

    Args:
        width: W, default 64: layers of W, W, then W, 2 W and 16 W features.
        local: whether there are features of each point, default no.

    Source: Qi et al., PointNet, 2017, section 4.
    """

    def __init__(self, width: int = 64, local: bool = False) -> None:
        super().__init__()
        self.shape_dim, self.local_dim = 16 * width, 17 * width
        self.local = local
        self.align_points, self.align_features = TNet(3, width), TNet(width, width)
        self.first = SharedMLP([3, width, width])
        self.second = SharedMLP([width, width, 2 * width, 16 * width])

    def forward(self, points: Tensor) -> PointFeatures:
        h = self.first(points @ self.align_points(points))
        alignment = self.align_features(h)
        unit = torch.eye(alignment.shape[-1]).to(alignment)
        misalignment = (unit - alignment @ alignment.mT).square().sum((1, 2)).mean()
        h = h @ alignment
        shape = self.second(h).amax(1)
        if not self.local:
            return PointFeatures(shape, None, misalignment)
        return PointFeatures(shape, joined(h, shape), misalignment)


class SetAbstraction(nn.Module):
    """Fewer points, each of which has seen its surroundings.

    Args:
        share: how many of the points stay, as a fraction.
        radius, k: of the surroundings, in units of the cloud; points in them at most.
        sizes: of the MLP over each neighbour's place relative to the point, and its features.

    Shapes: points (B, N, 3), features (B, N, C) or None → (B, M, 3), (B, M, ``sizes[-1]``).
    """

    def __init__(self, share: float, radius: float, k: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.share, self.radius, self.k = share, radius, k
        self.mlp = SharedMLP(sizes)

    def forward(self, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        count = max(1, round(self.share * points.shape[1]))
        centers = gather_rows(points, farthest_point_sampling(points, count))
        numbers = ball_query(centers, points, self.radius, self.k)
        near = (gather_rows(points, numbers) - centers[:, :, None]) / self.radius
        if features is not None:
            near = torch.cat([near, gather_rows(features, numbers)], -1)
        return centers, self.mlp(near).amax(2)


class PointNet2(PointNetwork):
    """PointNets over neighbourhoods of neighbourhoods: PointNet++ with a single scale.

    Args:
        width: W, default 64: W, W, 2 W; then 2 W, 2 W, 4 W; then 4 W, 8 W, 16 W features.
        radii: of the two kinds of neighbourhoods, default 0.2 and 0.4, for clouds in the unit ball.
        k: neighbours, default 32 and 64.
        shares: of the points that stay as centres, default 1/2 and 1/4 (512 and 128 of 1,024).
        local: whether features are led back to each point, default no.

    Source: Qi et al., PointNet++, 2017, section 3.
    """

    def __init__(
        self,
        width: int = 64,
        radii: Sequence[float] = (0.2, 0.4),
        k: Sequence[int] = (32, 64),
        shares: Sequence[float] = (0.5, 0.25),
        local: bool = False,
    ) -> None:
        super().__init__()
        w = width
        self.shape_dim, self.local_dim = 16 * w, 2 * w
        self.near = SetAbstraction(shares[0], radii[0], k[0], [3, w, w, 2 * w])
        self.far = SetAbstraction(shares[1], radii[1], k[1], [3 + 2 * w, 2 * w, 2 * w, 4 * w])
        self.whole = SharedMLP([3 + 4 * w, 4 * w, 8 * w, 16 * w])
        self.back: nn.ModuleList | None = None
        if local:
            sizes = ([20 * w, 4 * w, 4 * w], [6 * w, 4 * w, 2 * w], [3 + 2 * w, 2 * w, 2 * w])
            self.back = nn.ModuleList(SharedMLP(size) for size in sizes)

    def forward(self, points: Tensor) -> PointFeatures:
        some, h = self.near(points, None)
        few, g = self.far(some, h)
        shape = self.whole(torch.cat([few, g], -1)).amax(1)
        if self.back is None:
            return PointFeatures(shape)
        first, second, third = self.back
        g = first(joined(g, shape))
        h = second(torch.cat([h, interpolate_features(g, few, some)], -1))
        return PointFeatures(
            shape, third(torch.cat([points, interpolate_features(h, some, points)], -1))
        )


class DGCNN(PointNetwork):
    """Edge convolutions on graphs of neighbours that change with the features.

    h_i ← max_j φ(W [h_i, h_j − h_i]) over the k nearest neighbours j in the space of h. The whole
    is the maximum and the mean over points of a map of all layers' features.

    Args:
        width: W, default 64: layers of W, W, 2 W and 4 W features, then 16 W for the whole.
        k: neighbours, a point itself included; default 20.
        local: whether there are features of each point, default no.

    Source: Wang et al., Dynamic graph CNN for learning on point clouds, 2019.
    """

    edge_dim = 0  # further numbers of each pair

    def __init__(self, width: int = 64, k: int = 20, local: bool = False) -> None:
        super().__init__()
        self.k, self.local = k, local
        widths = [width, width, 2 * width, 4 * width]
        inputs = [self.first_inputs(), *(2 * w + self.edge_dim for w in widths[:-1])]
        self.layers = nn.ModuleList(
            SharedMLP([before, after], 0.2) for before, after in zip(inputs, widths, strict=True)
        )
        self.whole = SharedMLP([sum(widths), 16 * width], 0.2)
        self.shape_dim = 32 * width
        self.local_dim = sum(widths) + self.shape_dim

    def first_inputs(self) -> int:
        """Numbers of a pair in the first layer."""
        return 2 * 3

    def pairs(self, points: Tensor) -> Callable[[Tensor | None], Tensor]:
        """Makes the pairs' numbers (B, N, k, C) from the features before a layer."""

        def make(h: Tensor | None) -> Tensor:
            h = points if h is None else h
            numbers, _ = nearest_neighbors(h, h, min(self.k, h.shape[1]))
            return differences(h, numbers)

        return make

    def forward(self, points: Tensor) -> PointFeatures:
        pairs = self.pairs(points)
        h: Tensor | None = None
        states: list[Tensor] = []
        for layer in self.layers:
            h = layer(pairs(h)).amax(2)
            states.append(h)
        every = torch.cat(states, -1)
        mixed = self.whole(every)
        shape = torch.cat([mixed.amax(1), mixed.mean(1)], -1)
        return PointFeatures(shape, joined(every, shape) if self.local else None)


class InvariantDGCNN(DGCNN):
    """A :class:`DGCNN` that sees distances alone: rotations and reflections change nothing.

    The k neighbours are those in space, the same in every layer; each pair brings the six distances
    of :func:`~zoo.functional.points.rotation_invariant_features`.

    Args:
        width, k, local: see :class:`DGCNN`.
    """

    edge_dim = 6

    def first_inputs(self) -> int:
        return self.edge_dim

    def pairs(self, points: Tensor) -> Callable[[Tensor | None], Tensor]:
        numbers, _ = nearest_neighbors(points, points, min(self.k, points.shape[1]))
        known = rotation_invariant_features(points, numbers)

        def make(h: Tensor | None) -> Tensor:
            return known if h is None else torch.cat([differences(h, numbers), known], -1)

        return make


def differences(h: Tensor, numbers: Tensor) -> Tensor:
    """[h_i, h_j − h_i] for the neighbours j of each i, (B, N, C), (B, N, k) → (B, N, k, 2 C)."""
    own = h[:, :, None].expand(-1, -1, numbers.shape[2], -1)
    return torch.cat([own, gather_rows(h, numbers) - own], -1)


def joined(local: Tensor, shape: Tensor) -> Tensor:
    """Features of points, each followed by the whole's, (B, N, C), (B, F) → (B, N, C + F)."""
    return torch.cat([local, shape[:, None].expand(-1, local.shape[1], -1)], -1)


POINT_NETWORKS: dict[str, type[PointNetwork]] = {
    "pointnet": PointNet,
    "pointnet2": PointNet2,
    "dgcnn": DGCNN,
    "invariant": InvariantDGCNN,
}
