"""Voxel grids, (B, 1, R, R, R)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def voxelize(points: Tensor, resolution: int, margin: int = 1) -> Tensor:
    """Convert point clouds to occupancy grids, (B, N, 3) → (B, 1, R, R, R) of 0 and 1.

    The cube [−1, 1]³ fills the grid except for its margin; points outside the grid are ignored. The
    grid axes are in the order of the coordinates.

    Args:
        points: point clouds, (B, N, 3).
        resolution: number of voxels along each side, R.
        margin: number of empty voxels on each side of the cube, default 1.

    Raises:
        ValueError: the margins leave no voxels between them.
    """
    inner = resolution - 2 * margin
    if inner < 1:
        raise ValueError(
            f"resolution must be greater than 2 · margin, got resolution={resolution} and "
            f"margin={margin}"
        )
    index = ((points + 1) * (inner / 2)).floor().long() + margin
    # a coordinate of exactly 1 belongs to the last voxel of the cube
    index = torch.where(points == 1, resolution - margin - 1, index)
    is_inside = ((index >= 0) & (index < resolution)).all(-1)
    flat = (index[..., 0] * resolution + index[..., 1]) * resolution + index[..., 2]
    overflow = resolution**3  # an extra entry that collects the points outside the grid
    flat = torch.where(is_inside, flat, overflow)
    grid = points.new_zeros(len(points), overflow + 1).scatter(1, flat, 1.0)
    return grid[:, :-1].view(-1, 1, resolution, resolution, resolution)


def voxel_faces(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outer faces of the occupied voxels as squares.

    Args:
        grid: occupancies, (R, R, R); a voxel (i, j, k) above ½ is occupied, and fills the cube from
            (i, j, k) to (i+1, j+1, k+1).

    Returns:
        corners, (V, 3), and squares of four corner indices each, counterclockwise as seen from
        outside, (F, 4).
    """
    occupied = F.pad(grid > 0.5, (1, 1, 1, 1, 1, 1))
    corners, squares = [], []
    count = 0
    for axis in range(3):
        u, v = torch.zeros(3), torch.zeros(3)
        u[(axis + 1) % 3] = v[(axis + 2) % 3] = 1
        for side in (0, 1):
            neighbor = occupied.roll(1 if side == 0 else -1, axis)
            cells = (occupied & ~neighbor).nonzero().float() - 1  # minus the padding
            start = cells.clone()
            start[:, axis] += side
            square = [start, start + u, start + u + v, start + v]
            if side == 0:
                square.reverse()  # counterclockwise as seen from outside
            corners.append(torch.stack(square, 1).flatten(0, 1))
            squares.append(count + torch.arange(4 * len(cells)).view(-1, 4))
            count += 4 * len(cells)
    return torch.cat(corners), torch.cat(squares)
