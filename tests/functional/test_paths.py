"""Paths between latent codes."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.errors import InputError
from zoo.functional.paths import interpolation_path, linear_path, spherical_path


def test_paths_start_and_end_at_the_given_codes() -> None:
    z0, z1 = torch.randn(2, 4, 3).double()
    for kind in ("linear", "spherical"):
        points = interpolation_path(kind, z0, z1, 7)
        assert points.shape == (7, 4, 3)
        torch.testing.assert_close(points[0], z0)
        torch.testing.assert_close(points[-1], z1)
    torch.testing.assert_close(linear_path(z0, z1, 3)[1], (z0 + z1) / 2)


def test_the_spherical_path_is_a_rotation_at_constant_speed() -> None:
    z0, z1 = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[0.0, 2.0]]).double()
    points = spherical_path(z0, z1, 4)[:, 0]
    angles = [k * math.pi / 6 for k in range(4)]
    expected = torch.tensor([[2 * math.cos(a), 2 * math.sin(a)] for a in angles]).double()
    torch.testing.assert_close(points, expected)


def test_the_spherical_path_keeps_the_norm_that_a_straight_line_loses() -> None:
    z0, z1 = torch.randn(2, 50, 100).double()
    spherical = interpolation_path("spherical", z0, z1, 3)[1].norm(dim=1).mean()
    linear = interpolation_path("linear", z0, z1, 3)[1].norm(dim=1).mean()
    assert float(spherical) == pytest.approx(10, rel=0.02)
    assert float(linear) == pytest.approx(10 / math.sqrt(2), rel=0.03)


def test_without_an_arc_the_spherical_path_is_the_line() -> None:
    z0 = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).double()
    z1 = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [1.0, 1.0]]).double()
    torch.testing.assert_close(spherical_path(z0, z1, 5), linear_path(z0, z1, 5))


def test_unknown_path() -> None:
    with pytest.raises(InputError, match="unknown path 'curly'; choose from linear, spherical"):
        interpolation_path("curly", torch.zeros(1, 2), torch.ones(1, 2), 3)


def test_codes_of_equal_direction_in_float32() -> None:
    """The cosine of a code with itself is rounded to more than 1, whose arccosine is nan."""
    torch.manual_seed(0)
    z = torch.randn(500, 64)
    for end in (z, -z):
        path = spherical_path(z, end, 3)
        assert path.isfinite().all()
        torch.testing.assert_close(path, linear_path(z, end, 3))
    tiny = torch.tensor([[1e-3, 0.0], [0.0, 1e-3]])
    path = spherical_path(tiny[:1], tiny[1:], 3)  # short codes have an arc, too
    assert float(path[1].norm()) == pytest.approx(1e-3)
