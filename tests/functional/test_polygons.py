"""Triangulation of polygons in space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.functional.meshes import face_areas
from zoo.functional.polygons import triangulate


def shoelace(points: Tensor) -> float:
    """Return the signed area of a polygon in the plane, (n, 2)."""
    after = points.roll(-1, 0)
    return float((points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum()) / 2


def star_shaped(n: int, generator: torch.Generator) -> Tensor:
    """Return a polygon of n corners at random distances around the origin, (n, 2)."""
    angles = torch.arange(n).double() / n * 2 * math.pi
    radii = 0.05 + torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.stack([radii * angles.cos(), radii * angles.sin()], 1)


def test_random_polygons_keep_area_orientation_and_every_side() -> None:
    generator = torch.Generator().manual_seed(0)
    for trial in range(200):
        n = 4 + trial % 20
        flat = star_shaped(n, generator)
        if trial % 3 == 0:  # corners in the middle of sides
            flat = torch.stack([flat, (flat + flat.roll(-1, 0)) / 2], 1).flatten(0, 1)
            n *= 2
        rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
        normal = rotation[:, 2] * torch.linalg.det(rotation)
        points = torch.cat([flat, flat.new_zeros(n, 1)], 1) @ rotation.T + 10
        points = points.roll(trial % n, 0)
        faces, crossing = triangulate(points, torch.arange(n), torch.tensor([n]))
        assert len(faces) == n - 2
        assert not len(crossing)
        a, b, c = points[faces].unbind(1)
        signed = torch.linalg.cross(b - a, c - a) @ normal / 2
        assert math.isclose(float(signed.sum()), shoelace(flat), rel_tol=1e-9)
        assert float(signed.min()) > -1e-9
        sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).tolist()
        assert all([i, (i + 1) % n] in sides for i in range(n))


def test_triangles_and_convex_polygons_become_fans() -> None:
    points = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0.0]])
    corners = torch.tensor([1, 4, 2, 0, 1, 2, 3])
    faces, _ = triangulate(points, corners, torch.tensor([3, 4]))
    assert faces.tolist() == [[1, 4, 2], [0, 1, 2], [0, 2, 3]]
    # a fan from the first corner would start with a triangle without area
    points = torch.tensor([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0.0]])
    faces, _ = triangulate(points, torch.arange(5), torch.tensor([5]))
    assert float(face_areas(points, faces).min()) > 0.4


def test_crossing_sides_are_reported() -> None:
    bow_tie = torch.tensor([[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0.0]])
    faces, crossing = triangulate(bow_tie, torch.arange(4), torch.tensor([4]))
    assert (len(faces), crossing.tolist()) == (2, [0])
    angles = torch.arange(5).double() * 4 * math.pi / 5
    pentagram = torch.stack([angles.cos(), angles.sin(), 0 * angles], 1)
    _, crossing = triangulate(pentagram, torch.arange(5), torch.tensor([5]))
    assert crossing.tolist() == [0]
    empty = torch.zeros(0, dtype=torch.int64)
    assert triangulate(bow_tie, empty, empty).faces.shape == (0, 3)
