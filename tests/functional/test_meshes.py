"""Triangle meshes."""

from __future__ import annotations

import pytest
import torch

from zoo.functional.meshes import area_weighted_face_normals, face_areas, sample_surface

SQUARE = torch.tensor([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [3.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_areas_and_normals_of_a_rectangle() -> None:
    assert face_areas(SQUARE, FACES).tolist() == [3.0, 3.0]
    assert area_weighted_face_normals(SQUARE, FACES).tolist() == [[0.0, 0.0, 6.0]] * 2
    assert area_weighted_face_normals(SQUARE, FACES.flip(1)).tolist() == [[0.0, 0.0, -6.0]] * 2


def test_points_are_even_over_the_surface() -> None:
    generator = torch.Generator().manual_seed(0)
    points = sample_surface(SQUARE, FACES, 40_000, generator)
    assert bool((points[:, 2] == 1).all())
    for axis, side in ((0, 3.0), (1, 2.0)):
        places = points[:, axis].sort().values
        expected = torch.linspace(0, side, 40_000)
        torch.testing.assert_close(places, expected, atol=0.02 * side, rtol=0)
    # a triangle's points have its centroid for a mean, which an even choice of u and v would miss
    triangle = sample_surface(SQUARE, FACES[:1], 40_000, generator)
    torch.testing.assert_close(triangle.mean(0), SQUARE[FACES[0]].mean(0), atol=0.02, rtol=0)
    again = sample_surface(SQUARE, FACES, 5, torch.Generator().manual_seed(0))
    assert torch.equal(again, sample_surface(SQUARE, FACES, 5, torch.Generator().manual_seed(0)))


def test_a_surface_without_area() -> None:
    with pytest.raises(ValueError, match="the surface has no area"):
        sample_surface(SQUARE, torch.tensor([[0, 1, 1]]), 5)
