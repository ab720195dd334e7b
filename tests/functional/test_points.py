"""Point clouds: neighbors, farthest point sampling, invariance and rotations, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.functional.points import (
    ball_query,
    farthest_point_sampling,
    gather_rows,
    interpolate_features,
    k_smallest_indices,
    nearest_neighbors,
    random_rotations,
    random_z_rotations,
    replace_dropped_points,
    rotation_invariant_features,
)


@pytest.fixture
def points() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 40, 3, dtype=torch.float64)


def test_neighbors_are_those_of_scikit_learn(points: Tensor) -> None:
    from sklearn.neighbors import NearestNeighbors

    indices, distances = nearest_neighbors(points, points, 5)
    for cloud, found, squares in zip(points, indices, distances, strict=True):
        expected, neighbors = NearestNeighbors(n_neighbors=5).fit(cloud).kneighbors(cloud)
        assert found.tolist() == neighbors.tolist()
        torch.testing.assert_close(squares.sqrt(), torch.tensor(expected), atol=1e-7, rtol=0)
    with pytest.raises(ValueError, match="k must be between 1 and the number of points 40, got 41"):
        nearest_neighbors(points, points, 41)


@pytest.mark.parametrize("count", [100, 301, 640])
def test_k_smallest_indices_are_those_of_topk(count: int) -> None:
    values = torch.randn(2, 9, count, dtype=torch.float64)
    for k in (1, 3, 20):
        assert torch.equal(k_smallest_indices(values, k), values.topk(k, -1, largest=False).indices)
    clouds = torch.randn(2, count, 3, dtype=torch.float64)
    indices, squares = nearest_neighbors(clouds[:, :30], clouds, 5)
    exact = torch.cdist(clouds[:, :30], clouds).square().topk(5, -1, largest=False)
    assert torch.equal(indices, exact.indices)
    torch.testing.assert_close(squares, exact.values, atol=1e-12, rtol=0)


def test_gather_rows(points: Tensor) -> None:
    indices = torch.randint(40, (3, 7, 2))
    found = gather_rows(points, indices)
    assert found.shape == (3, 7, 2, 3)
    assert torch.equal(found[1, 4, 1], points[1, indices[1, 4, 1]])


def test_farthest_points_do_not_depend_on_the_order(points: Tensor) -> None:
    indices = farthest_point_sampling(points, 10)
    selected = gather_rows(points, indices)
    for i in range(3):
        cloud = points[i]
        start = (cloud - cloud.mean(0)).norm(dim=1).argmax()
        expected = [int(start)]
        while len(expected) < 10:  # the definition, word for word
            expected.append(int(torch.cdist(cloud, cloud[expected]).min(1).values.argmax()))
        assert indices[i].tolist() == expected
    order = torch.randperm(40)
    shuffled = points[:, order]
    assert torch.equal(gather_rows(shuffled, farthest_point_sampling(shuffled, 10)), selected)
    assert sorted(farthest_point_sampling(points, 40)[0].tolist()) == list(range(40))
    with pytest.raises(ValueError, match="count must be between 1 and the number of points 40"):
        farthest_point_sampling(points, 41)


def test_ball_query_returns_points_within_the_radius(points: Tensor) -> None:
    indices = ball_query(points, points, 0.8, 6)
    distances = (gather_rows(points, indices) - points[:, :, None]).norm(dim=-1)
    assert float(distances.max()) <= 0.8
    all_distances = torch.cdist(points, points)
    for i in range(40):
        inside = int((all_distances[0, i] <= 0.8).sum())
        assert len(set(indices[0, i].tolist())) == min(inside, 6)
    # a point cloud smaller than k: all of its points
    assert ball_query(points[:, :4], points[:, :4], 9.0, 6).shape == (3, 4, 4)


def test_interpolation_keeps_known_values_and_constants(points: Tensor) -> None:
    features = torch.randn(3, 40, 5, dtype=torch.float64)
    torch.testing.assert_close(
        interpolate_features(features, points, points), features, atol=1e-5, rtol=0
    )
    ones = torch.ones(3, 40, 1, dtype=torch.float64)
    between = torch.randn(3, 9, 3, dtype=torch.float64)
    torch.testing.assert_close(
        interpolate_features(ones, points, between), torch.ones(3, 9, 1).double()
    )


def test_dropped_points_become_copies_of_the_nearest_kept_point(points: Tensor) -> None:
    dropped = torch.rand(3, 40) < 0.5
    found = replace_dropped_points(points, dropped)
    for cloud, mask, result in zip(points, dropped, found, strict=True):
        kept = cloud[~mask]
        nearest = kept[torch.cdist(cloud, kept).argmin(1)]
        assert torch.equal(result, nearest)


def test_pair_features_are_invariant_to_rigid_motions_and_reflections(points: Tensor) -> None:
    neighbors, _ = nearest_neighbors(points, points, 6)
    before = rotation_invariant_features(points, neighbors)
    rotation = random_rotations(3, dtype=torch.float64)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0])).double()
    moved = points @ rotation.mT @ mirror + torch.randn(3, 1, 3).double()
    torch.testing.assert_close(
        rotation_invariant_features(moved, neighbors), before, atol=1e-10, rtol=0
    )
    p, q, c = points[0, 5], points[0, neighbors[0, 5, 2]], points[0].mean(0)
    m = points[0, neighbors[0, 5]].mean(0)
    expected = torch.stack([q - p, q - m, p - m, q - c, p - c, m - c]).norm(dim=1)
    torch.testing.assert_close(before[0, 5, 2], expected, atol=1e-8, rtol=0)


def test_random_rotations_are_orthogonal_and_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    rotations = random_rotations(20_000, generator)
    products = rotations @ rotations.mT
    torch.testing.assert_close(products, torch.eye(3).expand(20_000, 3, 3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotations).tolist() == pytest.approx([1.0] * 20_000, abs=1e-5)
    # a rotated unit vector is uniform on the sphere, so each coordinate is uniform in [−1, 1]
    for axis in range(3):
        coordinates = rotations[:, axis, 0].sort().values
        torch.testing.assert_close(coordinates, torch.linspace(-1, 1, 20_000), atol=0.03, rtol=0)
    # the rotation angle has the density (1 − cos)/π, with mean π/2 + 2/π
    trace = rotations.diagonal(dim1=1, dim2=2).sum(1)
    angle = ((trace - 1) / 2).clamp(-1, 1).acos()
    assert float(angle.mean()) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)
    about_z = random_z_rotations(100, generator)
    torch.testing.assert_close(about_z @ about_z.mT, torch.eye(3).expand(100, 3, 3))
    assert torch.equal(about_z[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(100, 3))


def test_rotations_about_z_have_uniform_angles() -> None:
    rotations = random_z_rotations(10_000, torch.Generator().manual_seed(0))
    angle = torch.atan2(rotations[:, 1, 0], rotations[:, 0, 0]).sort().values
    expected = torch.linspace(-math.pi, math.pi, 10_000)
    torch.testing.assert_close(angle, expected, atol=0.1, rtol=0)
    angles = 2 * math.pi * torch.rand(3, generator=torch.Generator().manual_seed(5))
    found = random_z_rotations(3, torch.Generator().manual_seed(5))
    for matrix, a in zip(found.tolist(), angles.tolist(), strict=True):
        c, s = math.cos(a), math.sin(a)
        assert matrix[0] == pytest.approx([c, -s, 0], abs=1e-6)
        assert matrix[1] == pytest.approx([s, c, 0], abs=1e-6)


def test_interpolation_weights_are_inverse_squared_distances() -> None:
    known = torch.tensor([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [9, 9, 9]]], dtype=torch.float64)
    features = torch.tensor([[[1.0], [2.0], [4.0], [100.0]]], dtype=torch.float64)
    query = torch.tensor([[[1.0, 0, 0]]], dtype=torch.float64)
    weights = [1 / 1, 1 / 4, 1 / 17]
    expected = (1 * weights[0] + 2 * weights[1] + 4 * weights[2]) / sum(weights)
    assert interpolate_features(features, known, query).item() == pytest.approx(expected, rel=1e-6)
    two = interpolate_features(features[:, :2], known[:, :2], query)  # fewer than three are known
    assert two.item() == pytest.approx((1 + 2 / 4) / (1 + 1 / 4), rel=1e-6)


def test_one_neighbor_and_a_ball_with_points_on_its_surface() -> None:
    points = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [5, 0, 0]]], dtype=torch.float64)
    indices, squares = nearest_neighbors(points, points, 1)
    assert indices[0, :, 0].tolist() == [0, 1, 2]
    assert squares.abs().max() == 0
    assert ball_query(points, points, 2.0, 2)[0].tolist() == [[0, 1], [1, 0], [2, 2]]
