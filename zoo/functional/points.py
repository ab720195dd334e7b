"""Point clouds: neighbors, farthest point sampling, rotation-invariant features, rotations.

Batches are dense, (B, N, D): B point clouds with N points each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# -- neighbors -----------------------------------------------------------------------------------


def nearest_neighbors(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k points nearest to each query, in order of the distance.

    Args:
        queries: query points, (B, M, D).
        points: point clouds, (B, N, D); a query that is one of the points is its own first
            neighbor.
        k: number of neighbors, 1 to N.

    Returns:
        indices of the neighbors and their squared distances, both (B, M, k).

    Raises:
        ValueError: k is not between 1 and N.
    """
    if not 1 <= k <= points.shape[1]:
        raise ValueError(f"k must be between 1 and the number of points {points.shape[1]}, got {k}")
    if queries.device.type != "cpu":
        return _nearest_neighbors(queries, points, k)
    # on the CPU one point cloud at a time fits into the cache
    clouds = zip(queries.split(1), points.split(1), strict=True)
    indices, distances = zip(*(_nearest_neighbors(*cloud, k) for cloud in clouds), strict=True)
    return torch.cat(indices), torch.cat(distances)


def _nearest_neighbors(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    squares = points.square().sum(-1, keepdim=True)
    # ‖y‖² − 2 x·y as one matrix product; the missing ‖x‖² does not change the order
    left = torch.cat([queries, torch.ones_like(queries[..., :1])], -1)
    partial = left @ torch.cat([-2 * points, squares], -1).mT
    indices = k_smallest_indices(partial, k)
    distances = partial.gather(-1, indices) + queries.square().sum(-1, keepdim=True)
    return indices, distances.clamp(min=0)


def k_smallest_indices(values: Tensor, k: int, group_size: int = 8) -> Tensor:
    """Return the indices of the k smallest values of each row, in order, (..., N) → (..., k).

    The result is that of ``torch.topk``, faster on the CPU if N is much larger than k. The columns
    are divided into groups; the k groups with the smallest minima contain the k smallest values.

    Args:
        values: rows of values, (..., N).
        k: number of values, 1 to N.
        group_size: number of columns in a group, default 8.
    """
    groups = -(-values.shape[-1] // group_size)
    if values.device.type != "cpu" or groups < 2 * k:
        return values.topk(k, -1, largest=False).indices
    missing = groups * group_size - values.shape[-1]
    if missing:
        values = F.pad(values, (0, missing), value=torch.inf)
    grouped = values.unflatten(-1, (group_size, groups))
    best = grouped.amin(-2).topk(k, -1, largest=False, sorted=False).indices  # (..., k)
    index = best[..., None, :].expand(*best.shape[:-1], group_size, k)
    position = grouped.gather(-1, index).flatten(-2).topk(k, -1, largest=False).indices
    return best.gather(-1, position % k) + position // k * groups


def gather_rows(values: Tensor, indices: Tensor) -> Tensor:
    """Gather rows of each point cloud by index, (B, N, C) and (B, ...) → (B, ..., C)."""
    flat = indices.flatten(1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).unflatten(1, indices.shape[1:])


def ball_query(centers: Tensor, points: Tensor, radius: float, k: int) -> Tensor:
    """Find the k nearest points of each center within a radius.

    If there are fewer, the index of the nearest one is repeated. Qi et al., PointNet++, 2017, take
    the first k points in the order of the input; the nearest ones do not depend on that order.

    Args:
        centers: centers of the balls, (B, M, D).
        points: point clouds, (B, N, D).
        radius: radius of the balls.
        k: number of points; at most N are returned.

    Returns:
        indices, (B, M, min(k, N)).
    """
    indices, distances = nearest_neighbors(centers, points, min(k, points.shape[1]))
    return torch.where(distances <= radius**2, indices, indices[..., :1])


def interpolate_features(features: Tensor, known: Tensor, queries: Tensor, k: int = 3) -> Tensor:
    """Interpolate features by the mean of the k nearest known points, weighted by 1/distance².

    Args:
        features: features at the known points, (B, M, C).
        known: known points, (B, M, D).
        queries: points at which to interpolate, (B, N, D).
        k: number of neighbors, default 3; at most M are used.

    Returns:
        (B, N, C).

    Source: Qi et al., PointNet++, 2017, equation 2.
    """
    indices, distances = nearest_neighbors(queries, known, min(k, known.shape[1]))
    weights = 1 / (distances + 1e-8)
    weights = weights / weights.sum(-1, keepdim=True)
    return (gather_rows(features, indices) * weights[..., None]).sum(2)


# -- subsets -------------------------------------------------------------------------------------


def farthest_point_sampling(points: Tensor, count: int) -> Tensor:
    """Select points that cover each point cloud evenly, (B, N, D) → indices (B, count).

    The first is the point farthest from the centroid, each next one the point farthest from all
    points selected so far. The selection is deterministic and does not depend on the order of the
    points.

    Args:
        points: point clouds, (B, N, D).
        count: number of points to select, 1 to N.

    Raises:
        ValueError: ``count`` is not between 1 and N.

    Source: Eldar et al., The farthest point strategy for progressive image sampling, 1997; Qi et
    al., PointNet++, 2017, section 3.2, where the first point is random.
    """
    if not 1 <= count <= points.shape[1]:
        raise ValueError(
            f"count must be between 1 and the number of points {points.shape[1]}, got {count}"
        )
    farthest = (points - points.mean(1, keepdim=True)).square().sum(-1).argmax(1)
    distance = points.new_full(points.shape[:2], torch.inf)  # squared, to the selected points
    selected = []
    for _ in range(count):
        selected.append(farthest)
        latest = gather_rows(points, farthest[:, None])
        distance = torch.minimum(distance, (points - latest).square().sum(-1))
        farthest = distance.argmax(1)
    return torch.stack(selected, 1)


def replace_dropped_points(points: Tensor, dropped: Tensor) -> Tensor:
    """Drop points without changing the shape: each becomes a copy of the nearest kept point.

    Args:
        points: point clouds, (B, N, 3).
        dropped: boolean mask of the points to drop, (B, N); each point cloud must keep at least
            one point.

    Returns:
        (B, N, 3).
    """
    distance = torch.cdist(points, points).masked_fill(dropped[:, None, :], torch.inf)
    nearest = distance.argmin(2)
    rows = torch.arange(len(points), device=points.device)[:, None]
    return torch.where(dropped[..., None], points[rows, nearest], points)


# -- rotations -----------------------------------------------------------------------------------


def rotation_invariant_features(points: Tensor, neighbors: Tensor) -> Tensor:
    """Compute features of neighbor pairs that are invariant to rigid motions and reflections.

    For a point p, a neighbor q, the mean m of the neighborhood and the centroid c of the point
    cloud, these are the distances ‖q−p‖, ‖q−m‖, ‖p−m‖, ‖q−c‖, ‖p−c‖ and ‖m−c‖.

    Args:
        points: point clouds, (B, N, 3).
        neighbors: indices of the neighbors of each point, (B, N, k).

    Returns:
        (B, N, k, 6).

    Source: after Zhang et al., Rotation invariant convolutions for 3D point clouds deep learning,
    2019, section 3.1.
    """
    p = points[:, :, None]
    q = gather_rows(points, neighbors)
    m = q.mean(2, keepdim=True)
    c = points.mean(1)[:, None, None]
    differences = (q - p, q - m, p - m, q - c, p - c, m - c)
    # a point is its own neighbor, and the square root has no derivative at 0
    distances = [(d.square().sum(-1) + 1e-12).sqrt() for d in differences]
    return torch.stack([d.expand(neighbors.shape) for d in distances], -1)


def random_rotations(
    count: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Sample uniform 3D rotation matrices on the CPU, (count, 3, 3).

    They are the matrices of unit quaternions with a uniform direction (Shoemake, Uniform random
    rotations, 1992).

    Args:
        count: number of rotations.
        generator: random generator, default the global one.
        dtype: type of the result, default float32.
    """
    quaternion = torch.randn(count, 4, generator=generator, dtype=dtype)
    w, x, y, z = (quaternion / quaternion.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def random_z_rotations(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Sample rotations about the z axis by uniform angles on the CPU, (count, 3, 3)."""
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    zero, one = torch.zeros(count), torch.ones(count)
    c, s = angle.cos(), angle.sin()
    rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
