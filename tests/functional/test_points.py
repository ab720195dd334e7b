"""Clouds of points: neighbours, coverage, and what rotations leave as it is; float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.functional.points import (
    ball_query,
    farthest_point_sampling,
    gather_points,
    interpolate_features,
    nearest_neighbors,
    pair_features,
    random_rotations,
    random_z_rotations,
    smallest,
)


@pytest.fixture
def points() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 40, 3, dtype=torch.float64)


def test_neighbours_are_scikit_learns(points: Tensor) -> None:
    from sklearn.neighbors import NearestNeighbors

    numbers, distances = nearest_neighbors(points, points, 5)
    for cloud, found, squares in zip(points, numbers, distances, strict=True):
        expected, places = NearestNeighbors(n_neighbors=5).fit(cloud).kneighbors(cloud)
        assert found.tolist() == places.tolist()
        torch.testing.assert_close(squares.sqrt(), torch.tensor(expected), atol=1e-7, rtol=0)
    with pytest.raises(ValueError, match="k=41 neighbours of clouds of 40 points"):
        nearest_neighbors(points, points, 41)


@pytest.mark.parametrize("count", [100, 301, 640])
def test_groups_of_columns_hold_the_smallest(count: int) -> None:
    values = torch.randn(2, 9, count, dtype=torch.float64)
    for k in (1, 3, 20):
        assert torch.equal(smallest(values, k), values.topk(k, -1, largest=False).indices)
    clouds = torch.randn(2, count, 3, dtype=torch.float64)
    numbers, squares = nearest_neighbors(clouds[:, :30], clouds, 5)
    exact = torch.cdist(clouds[:, :30], clouds).square().topk(5, -1, largest=False)
    assert torch.equal(numbers, exact.indices)
    torch.testing.assert_close(squares, exact.values, atol=1e-12, rtol=0)


def test_gathering(points: Tensor) -> None:
    numbers = torch.randint(40, (3, 7, 2))
    found = gather_points(points, numbers)
    assert found.shape == (3, 7, 2, 3)
    assert torch.equal(found[1, 4, 1], points[1, numbers[1, 4, 1]])


def test_farthest_points_cover_the_cloud_in_any_order(points: Tensor) -> None:
    numbers = farthest_point_sampling(points, 10)
    chosen = gather_points(points, numbers)
    for i in range(3):
        cloud = points[i]
        start = (cloud - cloud.mean(0)).norm(dim=1).argmax()
        expected = [int(start)]
        while len(expected) < 10:  # the definition, word for word
            expected.append(int(torch.cdist(cloud, cloud[expected]).min(1).values.argmax()))
        assert numbers[i].tolist() == expected
    order = torch.randperm(40)
    again = points[:, order]
    assert torch.equal(gather_points(again, farthest_point_sampling(again, 10)), chosen)
    assert sorted(farthest_point_sampling(points, 40)[0].tolist()) == list(range(40))
    with pytest.raises(ValueError, match="41 farthest points of clouds of 40"):
        farthest_point_sampling(points, 41)


def test_balls_hold_what_is_near(points: Tensor) -> None:
    numbers = ball_query(points, points, 0.8, 6)
    distances = (gather_points(points, numbers) - points[:, :, None]).norm(dim=-1)
    assert float(distances.max()) <= 0.8
    everything = torch.cdist(points, points)
    for i in range(40):
        inside = int((everything[0, i] <= 0.8).sum())
        assert len(set(numbers[0, i].tolist())) == min(inside, 6)
    assert ball_query(points[:, :4], points[:, :4], 9.0, 6).shape == (3, 4, 4)  # all that there are


def test_interpolation_keeps_known_values_and_constants(points: Tensor) -> None:
    values = torch.randn(3, 40, 5, dtype=torch.float64)
    torch.testing.assert_close(
        interpolate_features(values, points, points), values, atol=1e-5, rtol=0
    )
    ones = torch.ones(3, 40, 1, dtype=torch.float64)
    between = torch.randn(3, 9, 3, dtype=torch.float64)
    torch.testing.assert_close(
        interpolate_features(ones, points, between), torch.ones(3, 9, 1).double()
    )


def test_pair_features_do_not_change_under_rigid_motions(points: Tensor) -> None:
    numbers, _ = nearest_neighbors(points, points, 6)
    before = pair_features(points, numbers)
    rotation = random_rotations(3, dtype=torch.float64)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0])).double()
    moved = points @ rotation.mT @ mirror + torch.randn(3, 1, 3).double()
    torch.testing.assert_close(pair_features(moved, numbers), before, atol=1e-10, rtol=0)
    p, q, c = points[0, 5], points[0, numbers[0, 5, 2]], points[0].mean(0)
    m = points[0, numbers[0, 5]].mean(0)
    expected = torch.stack([q - p, q - m, p - m, q - c, p - c, m - c]).norm(dim=1)
    torch.testing.assert_close(before[0, 5, 2], expected, atol=1e-8, rtol=0)


def test_rotations_are_rotations_and_even() -> None:
    generator = torch.Generator().manual_seed(0)
    rotations = random_rotations(20_000, generator)
    products = rotations @ rotations.mT
    torch.testing.assert_close(products, torch.eye(3).expand(20_000, 3, 3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotations).tolist() == pytest.approx([1.0] * 20_000, abs=1e-5)
    # a fixed vector goes evenly over the sphere: each coordinate is uniform in [−1, 1]
    for axis in range(3):
        places = rotations[:, axis, 0].sort().values
        torch.testing.assert_close(places, torch.linspace(-1, 1, 20_000), atol=0.03, rtol=0)
    # and the angle has the density (1 − cos)/π, with mean π/2 + 2/π
    trace = rotations.diagonal(dim1=1, dim2=2).sum(1)
    angle = ((trace - 1) / 2).clamp(-1, 1).acos()
    assert float(angle.mean()) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)
    upright = random_z_rotations(100, generator)
    torch.testing.assert_close(upright @ upright.mT, torch.eye(3).expand(100, 3, 3))
    assert torch.equal(upright[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(100, 3))
