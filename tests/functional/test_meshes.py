"""Triangle meshes: normals, areas, surface sampling."""

from __future__ import annotations

import pytest
import torch

from zoo.functional.meshes import area_weighted_face_normals, face_areas, sample_surface

RECTANGLE = torch.tensor([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [3.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_areas_and_normals_of_a_rectangle() -> None:
    assert face_areas(RECTANGLE, FACES).tolist() == [3.0, 3.0]
    assert area_weighted_face_normals(RECTANGLE, FACES).tolist() == [[0.0, 0.0, 6.0]] * 2
    flipped = FACES.flip(1)
    assert area_weighted_face_normals(RECTANGLE, flipped).tolist() == [[0.0, 0.0, -6.0]] * 2


def test_points_are_uniform_on_the_surface() -> None:
    generator = torch.Generator().manual_seed(0)
    points = sample_surface(RECTANGLE, FACES, 40_000, generator)
    assert bool((points[:, 2] == 1).all())
    for axis, side in ((0, 3.0), (1, 2.0)):
        coordinates = points[:, axis].sort().values
        expected = torch.linspace(0, side, 40_000)
        torch.testing.assert_close(coordinates, expected, atol=0.02 * side, rtol=0)
    # the mean of points on a triangle is its centroid; without the square root of u it is not
    triangle = sample_surface(RECTANGLE, FACES[:1], 40_000, generator)
    torch.testing.assert_close(triangle.mean(0), RECTANGLE[FACES[0]].mean(0), atol=0.02, rtol=0)
    first, second = (
        sample_surface(RECTANGLE, FACES, 5, torch.Generator().manual_seed(0)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_a_surface_without_area() -> None:
    with pytest.raises(ValueError, match="the surface has no area"):
        sample_surface(RECTANGLE, torch.tensor([[0, 1, 1]]), 5)
