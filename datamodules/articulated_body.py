"""An articulated body with ten bones and eight joints, posed by linear blend skinning."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

# The body is about 1.7 units tall.
GRID_SPACING = 0.055  # spacing of the grid on which the skin is extracted
BLEND_RADIUS = 0.03  # distance over which bones are blended, in the skin and in its weights


class Bone(NamedTuple):
    """A capsule of the body at rest, with a joint at its start.

    Attributes:
        part: name of the body part, the same on the left and on the right.
        start: start of the center line.
        end: end of the center line.
        radius: radius of the capsule.
        parent: index of the bone to which it is attached, −1 for the root.
        axis: rotation axis of the joint; None for a fixed bone.
    """

    part: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    parent: int
    axis: tuple[float, float, float] | None = None


def _limbs(side: int) -> list[Bone]:
    """Return upper arm, forearm, thigh and shin of one side: 1 for left, −1 for right."""
    up, across = (0.0, -float(side), 0.0), (0.0, 0.0, float(side))
    return [
        Bone("upper arm", (side * 0.17, 0, 0.47), (side * 0.48, 0, 0.47), 0.07, 0, up),
        Bone("forearm", (side * 0.48, 0, 0.47), (side * 0.8, 0, 0.47), 0.06, -1, across),
        Bone("thigh", (side * 0.1, 0, -0.04), (side * 0.12, 0, -0.42), 0.09, 0, (1.0, 0.0, 0.0)),
        Bone("shin", (side * 0.12, 0, -0.42), (side * 0.14, 0, -0.85), 0.07, -1, (-1.0, 0.0, 0.0)),
    ]


def _skeleton() -> list[Bone]:
    bones = [
        Bone("torso", (0, 0, 0), (0, 0, 0.42), 0.17, -1),
        Bone("head", (0, 0, 0.66), (0, 0, 0.76), 0.13, 0),
    ]
    for side in (1, -1):
        for bone in _limbs(side):
            # a forearm is attached to the upper arm before it in the list, a shin to the thigh
            is_lower = bone.part in ("forearm", "shin")
            bones.append(bone._replace(parent=len(bones) - 1) if is_lower else bone)
    return bones


BONES = _skeleton()
JOINTS = [i for i, bone in enumerate(BONES) if bone.axis is not None]
PARTS = ("torso", "head", "upper arm", "forearm", "thigh", "shin")


class Body(NamedTuple):
    """The body at rest.

    Attributes:
        vertices: vertices, float64 (V, 3); the third axis points upward.
        faces: faces, (F, 3).
        weights: skinning weight of each bone at each vertex, (V, 10); each row sums to 1.
        parts: index of each vertex's body part in ``PARTS``, (V,).
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor
    parts: Tensor


@cache
def build_body() -> Body:
    """Build the body at rest: the skin around the bones, its skinning weights and its parts."""
    low, high = torch.tensor([-1.0, -0.4, -1.1]), torch.tensor([1.0, 0.4, 1.05])
    sides = [torch.arange(float(a), float(b), GRID_SPACING) for a, b in zip(low, high, strict=True)]
    grid = torch.stack(torch.meshgrid(*sides, indexing="ij"), -1).double()
    vertices, faces = extract_isosurface(_skin_distance(grid), grid)
    distances = _bone_distances(vertices)
    weights = torch.softmax(-distances / BLEND_RADIUS, -1)
    parts = torch.tensor([PARTS.index(bone.part) for bone in BONES])[distances.argmin(-1)]
    return Body(vertices, faces, weights, parts)


def pose_body(angles: Tensor) -> Tensor:
    """Pose the body by linear blend skinning: v′ = Σ_b w_b T_b v, T_b the rigid motion of bone b.

    Args:
        angles: joint angles in radians, (N, 8): shoulder, elbow, hip and knee, first left, then
            right. Positive angles raise the arm sideways, bend the elbow forward, swing the leg
            forward and bend the knee backward. At 0 the arms are stretched out sideways.

    Returns:
        Vertices, float64 (N, V, 3).
    """
    angles = angles.double()
    body = build_body()
    rotations: list[Tensor] = []
    shifts: list[Tensor] = []
    for i, bone in enumerate(BONES):
        pivot = torch.tensor(bone.start, dtype=torch.float64)
        rotation = torch.eye(3, dtype=torch.float64).expand(len(angles), 3, 3)
        if bone.axis is not None:
            rotation = axis_rotation(bone.axis, angles[:, JOINTS.index(i)])
        shift = pivot - rotation @ pivot  # (N, 3)
        if bone.parent >= 0:
            parent_rotation, parent_shift = rotations[bone.parent], shifts[bone.parent]
            shift = (parent_rotation @ shift[:, :, None])[:, :, 0] + parent_shift
            rotation = parent_rotation @ rotation
        rotations.append(rotation)
        shifts.append(shift)
    blended = torch.einsum("vb,bnij->nvij", body.weights, torch.stack(rotations))
    shift = torch.einsum("vb,bni->nvi", body.weights, torch.stack(shifts))
    return torch.einsum("nvij,vj->nvi", blended, body.vertices) + shift


def axis_rotation(axis: tuple[float, float, float], angle: Tensor) -> Tensor:
    """Return rotations about an axis through the origin by Rodrigues' formula.

    Args:
        axis: unit vector.
        angle: angles in radians, (N,).

    Returns:
        Rotation matrices, float64 (N, 3, 3).
    """
    x, y, z = axis
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3, dtype=torch.float64) + sine * cross + (1 - cosine) * (cross @ cross)


# -- movements -------------------------------------------------------------------------------------

MOVEMENTS = ("walk", "wave", "squat", "jump")


def movement_angles(movement: str, phase: Tensor, amplitude: Tensor) -> Tensor:
    """Return the joint angles at moments of a periodic movement.

    Args:
        movement: name in ``MOVEMENTS``.
        phase: phases in radians, (N,), from 0 to 2π.
        amplitude: amplitudes, (N,), from 0 to 1.

    Returns:
        Joint angles in radians, (N, 8), in the order of :func:`pose_body`.
    """
    swing, bent = phase.sin(), 0.5 * (1 - phase.cos())
    down, zero = torch.full_like(phase, -1.2), torch.zeros_like(phase)
    if movement == "walk":
        knees = 0.5 * (1 + (phase + math.pi / 2).sin()), 0.5 * (1 - (phase + math.pi / 2).sin())
        left = down, 0.3 + 0.4 * swing, 0.6 * amplitude * swing, 0.7 * amplitude * knees[0]
        right = down, 0.3 - 0.4 * swing, -0.6 * amplitude * swing, 0.7 * amplitude * knees[1]
    elif movement == "wave":
        left = 0.8 * amplitude, 1.0 + 0.8 * swing, zero, zero
        right = down, zero + 0.2, zero, zero
    elif movement == "squat":
        arm = -0.2 + zero
        left = right = arm, 1.3 * amplitude * bent, 1.5 * amplitude * bent, 1.8 * amplitude * bent
    else:
        arm = -1.2 + 2.3 * amplitude * bent
        left = right = arm, zero, 0.2 * amplitude * bent, 0.4 * amplitude * bent
    return torch.stack([*left, *right], 1)


def sample_poses(count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Sample poses from all movements in turn, with random phase and amplitude.

    Args:
        count: number of poses, N.
        noise: standard deviation of the noise added to each joint angle, in radians.
        seed: random seed.

    Returns:
        Joint angles in radians, (N, 8), and indices of the movements in ``MOVEMENTS``, (N,).
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(MOVEMENTS)
    phase = 2 * math.pi * torch.rand(count, generator=generator)
    amplitude = 0.6 + 0.4 * torch.rand(count, generator=generator)
    candidates = torch.stack([movement_angles(name, phase, amplitude) for name in MOVEMENTS])
    angles = candidates[labels, torch.arange(count)]
    return angles + noise * torch.randn(angles.shape, generator=generator), labels


# -- skin ------------------------------------------------------------------------------------------


def _bone_distances(points: Tensor) -> Tensor:
    """Return signed distances to the bones, negative inside, (..., 3) → (..., 10)."""
    distances = []
    for bone in BONES:
        start = torch.tensor(bone.start, dtype=points.dtype)
        line = torch.tensor(bone.end, dtype=points.dtype) - start
        along = ((points - start) @ line / line.square().sum()).clamp(0, 1)
        distances.append((points - start - along[..., None] * line).norm(dim=-1) - bone.radius)
    return torch.stack(distances, -1)


def _skin_distance(points: Tensor) -> Tensor:
    """Return the smooth minimum of the signed distances to the bones, (..., 3) → (...)."""
    return -BLEND_RADIUS * torch.logsumexp(-_bone_distances(points) / BLEND_RADIUS, -1)


def extract_isosurface(values: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Extract the surface on which a function on a grid is 0, as a surface net.

    Each grid cell that the surface crosses has one vertex, at the mean of the surface's crossings
    with the edges of the cell. Each grid edge that the surface crosses has two faces, oriented
    toward positive values.

    Args:
        values: function values at the grid points, (X, Y, Z), positive at the border of the grid.
        grid: coordinates of the grid points, (X, Y, Z, 3).

    Returns:
        Vertices (V, 3) and faces (F, 3).

    Source: Gibson, Constrained elastic surface nets, 1998.
    """
    num_cells = [size - 1 for size in values.shape]
    total, crossings = values.new_zeros(*num_cells, 3), values.new_zeros(*num_cells)
    for axis in range(3):
        u, v = [a for a in range(3) if a != axis]
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):  # the four cell edges along this axis
            start = [0, 0, 0]
            start[u], start[v] = corner
            end = _next_point(start, axis)
            first, last = _block(values, start, num_cells), _block(values, end, num_cells)
            crossed = (first < 0) != (last < 0)
            t = torch.where(crossed, first / torch.where(crossed, first - last, 1), 0)
            ends = _block(grid, start, num_cells), _block(grid, end, num_cells)
            total += torch.where(crossed[..., None], torch.lerp(*ends, t[..., None]), 0)
            crossings += crossed
    occupied = crossings > 0
    indices = torch.full(num_cells, -1)
    indices[occupied] = torch.arange(int(occupied.sum()))
    vertices = total[occupied] / crossings[occupied][:, None]
    return vertices, _crossing_faces(values < 0, indices)


def _crossing_faces(inside: Tensor, indices: Tensor) -> Tensor:
    """Return two faces for each grid edge that the surface crosses, (F, 3).

    Args:
        inside: whether the function is negative at the grid points, (X, Y, Z).
        indices: index of the vertex in each cell, (X − 1, Y − 1, Z − 1).
    """
    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        size = [s - 2 for s in inside.shape]
        size[axis] += 1
        start = [1, 1, 1]
        start[axis] = 0
        end = _next_point(start, axis)
        first, last = _block(inside, start, size), _block(inside, end, size)
        corners = []
        for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):  # the four cells around a grid edge
            begin = list(start)
            begin[u] += du
            begin[v] += dv
            corners.append(_block(indices, begin, size))
        around = torch.stack(corners, -1)
        quads += [around[first & ~last], around[last & ~first].flip(-1)]
    quad = torch.cat(quads)
    return torch.cat([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])


def _block(tensor: Tensor, start: list[int], size: list[int]) -> Tensor:
    """Return the part of a tensor (X, Y, Z, ...) with this first index and size."""
    for axis in range(3):
        tensor = tensor.narrow(axis, start[axis], size[axis])
    return tensor


def _next_point(point: list[int], axis: int) -> list[int]:
    """Return the next grid point along an axis."""
    return [index + (a == axis) for a, index in enumerate(point)]
