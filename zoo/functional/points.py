"""Clouds of points: neighbours, farthest points, what rotations leave as it is.

Everything is dense, (B, N, D): B clouds of N points each, in plain torch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_neighbors(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k points nearest to each query, the nearest first.

    Args:
        queries: (B, M, D).
        points: (B, N, D); a query that is one of them finds itself first.
        k: 1 to N.

    Returns:
        Numbers of the points and squared distances, both (B, M, k).

    Raises:
        ValueError: k is not between 1 and N.
    """
    if not 1 <= k <= points.shape[1]:
        raise ValueError(f"k={k} neighbours of clouds of {points.shape[1]} points")
    if queries.device.type != "cpu":
        return _nearest(queries, points, k)
    # a cloud at a time stays in the processor's cache
    clouds = zip(queries.split(1), points.split(1), strict=True)
    numbers, distances = zip(*(_nearest(*cloud, k) for cloud in clouds), strict=True)
    return torch.cat(numbers), torch.cat(distances)


def _nearest(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    squares = points.square().sum(-1, keepdim=True)
    # ‖y‖² − 2 x·y in one product; ‖x‖² changes no order
    left = torch.cat([queries, torch.ones_like(queries[..., :1])], -1)
    apart = left @ torch.cat([-2 * points, squares], -1).mT
    numbers = smallest(apart, k)
    distances = apart.gather(-1, numbers) + queries.square().sum(-1, keepdim=True)
    return numbers, distances.clamp(min=0)


def smallest(values: Tensor, k: int, stripes: int = 8) -> Tensor:
    """Numbers of the k smallest values of each row, the smallest first, (..., N) → (..., k).

    The same as ``topk``, faster on a processor where N is many times k: of columns that are put
    together in groups of ``stripes``, the k groups with the smallest minima hold all k.
    """
    groups = -(-values.shape[-1] // stripes)
    if values.device.type != "cpu" or groups < 2 * k:
        return values.topk(k, -1, largest=False).indices
    missing = groups * stripes - values.shape[-1]
    if missing:
        values = F.pad(values, (0, missing), value=torch.inf)
    grouped = values.unflatten(-1, (stripes, groups))
    best = grouped.amin(-2).topk(k, -1, largest=False, sorted=False).indices  # (..., k)
    index = best[..., None, :].expand(*best.shape[:-1], stripes, k)
    place = grouped.gather(-1, index).flatten(-2).topk(k, -1, largest=False).indices
    return best.gather(-1, place % k) + place // k * groups


def gather_points(values: Tensor, numbers: Tensor) -> Tensor:
    """Rows of each cloud by their numbers, (B, N, C), (B, ...) → (B, ..., C)."""
    flat = numbers.flatten(1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).unflatten(1, numbers.shape[1:])


def farthest_point_sampling(points: Tensor, count: int) -> Tensor:
    """Numbers of points that cover each cloud evenly, (B, N, D) → (B, count).

    The first is the farthest from the cloud's centroid, each further one the farthest from all
    before it: the same every time, and the same points in whatever order they come.

    Args:
        points: the clouds.
        count: 1 to N.

    Raises:
        ValueError: count is not between 1 and N.

    Source: Eldar et al., The farthest point strategy for progressive image sampling, 1997; Qi et
    al., PointNet++, 2017, section 3.2, where the first one is random.
    """
    if not 1 <= count <= points.shape[1]:
        raise ValueError(f"{count} farthest points of clouds of {points.shape[1]}")
    farthest = (points - points.mean(1, keepdim=True)).square().sum(-1).argmax(1)
    nearest = points.new_full(points.shape[:2], torch.inf)
    chosen = []
    for _ in range(count):
        chosen.append(farthest)
        latest = gather_points(points, farthest[:, None])
        nearest = torch.minimum(nearest, (points - latest).square().sum(-1))
        farthest = nearest.argmax(1)
    return torch.stack(chosen, 1)


def ball_query(centers: Tensor, points: Tensor, radius: float, k: int) -> Tensor:
    """The k nearest points of each centre that lie within the radius, (B, M, k); where there are
    fewer the nearest one stands in for the missing.

    Qi et al. 2017 take the first k in the order of the cloud; the nearest do not depend on it.
    """
    numbers, distances = nearest_neighbors(centers, points, min(k, points.shape[1]))
    return torch.where(distances <= radius**2, numbers, numbers[..., :1])


def interpolate_features(values: Tensor, known: Tensor, wanted: Tensor, k: int = 3) -> Tensor:
    """Values at other places: means of the k nearest known ones, weighted by 1/distance².

    Args:
        values: (B, M, C) at the places ``known`` (B, M, D).
        wanted: (B, N, D).
        k: default 3, or M where that is less.

    Returns:
        (B, N, C).

    Source: Qi et al. 2017, equation 2.
    """
    numbers, distances = nearest_neighbors(wanted, known, min(k, known.shape[1]))
    weights = 1 / (distances + 1e-8)
    weights = weights / weights.sum(-1, keepdim=True)
    return (gather_points(values, numbers) * weights[..., None]).sum(2)


def move_to_nearest_kept(points: Tensor, gone: Tensor) -> Tensor:
    """Clouds of the same size without some of their points: each of these lies where the nearest
    one does that stays.

    Args:
        points: (B, N, 3).
        gone: boolean, (B, N); not all of a cloud.
    """
    apart = torch.cdist(points, points).masked_fill(gone[:, None, :], torch.inf)
    place = apart.argmin(2)
    rows = torch.arange(len(points), device=points.device)[:, None]
    return torch.where(gone[..., None], points[rows, place], points)


def pair_features(points: Tensor, numbers: Tensor) -> Tensor:
    """What each point and its neighbours have that no rotation, reflection or shift changes.

    For a point p, a neighbour q, the neighbourhood's mean m and the cloud's centroid c: the
    distances ‖q−p‖, ‖q−m‖, ‖p−m‖, ‖q−c‖, ‖p−c‖ and ‖m−c‖.

    Args:
        points: (B, N, 3).
        numbers: of each point's neighbours, (B, N, k).

    Returns:
        (B, N, k, 6).

    Source: after Zhang et al., Rotation invariant convolutions for 3D point clouds deep learning,
    2019, section 3.1.
    """
    p = points[:, :, None]
    q = gather_points(points, numbers)
    m = q.mean(2, keepdim=True)
    c = points.mean(1)[:, None, None]
    pairs = (q - p, q - m, p - m, q - c, p - c, m - c)
    # the root of 0 has no slope: a point is its own neighbour
    lengths = [(pair.square().sum(-1) + 1e-12).sqrt() for pair in pairs]
    return torch.stack([length.expand(numbers.shape) for length in lengths], -1)


def random_rotations(
    count: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Rotations of space, all equally likely, (count, 3, 3), on the CPU.

    A unit quaternion with a uniformly random direction, as a matrix (Shoemake, Uniform random
    rotations, 1992).
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
    """Rotations about the third axis by angles that are all equally likely, (count, 3, 3)."""
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    zero, one = torch.zeros(count), torch.ones(count)
    c, s = angle.cos(), angle.sin()
    rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
