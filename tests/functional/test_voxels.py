"""Voxel grids."""

from __future__ import annotations

import pytest
import torch

from zoo.functional.voxels import voxel_faces, voxelize


def test_points_occupy_their_voxels() -> None:
    points = torch.tensor(
        [[[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [0.01, -0.99, 0.0], [3.0, 0.0, 0.0]]]
    )
    grid = voxelize(points, 6)[0, 0]  # four voxels from −1 to 1, one empty on each side
    assert grid.nonzero().tolist() == [[1, 1, 1], [3, 1, 3], [4, 4, 4]]
    assert voxelize(points, 4, margin=0)[0, 0].nonzero().tolist() == [
        [0, 0, 0], [2, 0, 2], [3, 3, 3],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="greater than 2 · margin, got resolution=2 and margin=1"):
        voxelize(points, 2)


def test_moving_points_by_a_voxel_moves_the_grid() -> None:
    torch.manual_seed(0)
    points = torch.rand(3, 50, 3) * 0.6 - 0.3
    step = 2 / 14  # a voxel of a grid of 16 with its margin
    moved = voxelize(points + torch.tensor([step, 0.0, -2 * step]), 16)
    assert torch.equal(moved, voxelize(points, 16).roll((1, -2), (2, 4)))


def test_outer_faces_of_voxels() -> None:
    grid = torch.zeros(4, 4, 4)
    grid[1, 1, 1] = 1
    corners, squares = voxel_faces(grid)
    assert (corners.shape, squares.shape) == ((24, 3), (6, 4))
    assert (corners.min(), corners.max()) == (1, 2)
    a, b, d = corners[squares[:, 0]], corners[squares[:, 1]], corners[squares[:, 3]]
    outward = (torch.linalg.cross(b - a, d - a) * (corners[squares].mean(1) - 1.5)).sum(1)
    assert bool((outward > 0).all())
    grid[1, 1, 2] = 1  # the squares between two occupied neighbors are not outer faces
    assert len(voxel_faces(grid)[1]) == 10
    grid[:] = 1
    assert len(voxel_faces(grid)[1]) == 6 * 16
