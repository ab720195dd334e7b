"""Grids of voxels, (B, 1, R, R, R)."""

from __future__ import annotations

import torch
from torch import Tensor


def voxelize(points: Tensor, resolution: int, margin: int = 1) -> Tensor:
    """Which voxels have a point in them, (B, N, 3) → (B, 1, R, R, R) of 0 and 1.

    The cube from −1 to 1 fills the grid up to its margin; points outside of the grid are left out.
    The first axis of the grid is the first of space.

    Args:
        points: clouds.
        resolution: R, voxels along each side.
        margin: empty voxels around the cube, default 1.

    Raises:
        ValueError: a grid without voxels between its margins.
    """
    inner = resolution - 2 * margin
    if inner < 1:
        raise ValueError(
            f"a grid of {resolution} voxels a side has none inside a margin of {margin}"
        )
    index = ((points + 1) * (inner / 2)).floor().long() + margin
    # the far side of the cube belongs to the last voxel
    index = torch.where(points == 1, resolution - margin - 1, index)
    inside = ((index >= 0) & (index < resolution)).all(-1)
    flat = (index[..., 0] * resolution + index[..., 1]) * resolution + index[..., 2]
    outside = resolution**3
    flat = torch.where(inside, flat, outside)
    grid = points.new_zeros(len(points), outside + 1).scatter(1, flat, 1.0)
    return grid[:, :-1].view(-1, 1, resolution, resolution, resolution)


def voxel_faces(grid: Tensor) -> tuple[Tensor, Tensor]:
    """The outside of the voxels of a grid as squares: corners (V, 3) and squares (F, 4).

    Args:
        grid: (R, R, R); what is above ½ is filled. Voxel (i, j, k) fills the cube from (i, j, k)
            to (i+1, j+1, k+1).
    """
    filled = torch.nn.functional.pad(grid > 0.5, (1, 1, 1, 1, 1, 1))
    corners, squares = [], []
    count = 0
    for axis in range(3):
        u, v = torch.zeros(3), torch.zeros(3)
        u[(axis + 1) % 3] = v[(axis + 2) % 3] = 1
        for side in (0, 1):
            neighbor = filled.roll(1 if side == 0 else -1, axis)
            cells = (filled & ~neighbor).nonzero().float() - 1  # without the padding
            start = cells.clone()
            start[:, axis] += side
            ring = [start, start + u, start + u + v, start + v]
            if side == 0:
                ring.reverse()  # counter-clockwise from outside
            corners.append(torch.stack(ring, 1).flatten(0, 1))
            squares.append(count + torch.arange(4 * len(cells)).view(-1, 4))
            count += 4 * len(cells)
    return torch.cat(corners), torch.cat(squares)
