"""A body with ten bones that moves at eight joints: every pose is known."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

SPACING = 0.055  # of the grid on which the skin is found, in body lengths of about 1.7
BLEND = 0.03  # over which distance bones melt together, and share a vertex


class Bone(NamedTuple):
    """A capsule of the body at rest, with the joint at its first end.

    Attributes:
        part: its name; left and right have the same.
        first, last: ends of its axis.
        radius: around it.
        parent: number of the bone that it hangs from, −1 for the first.
        axis: about which its joint turns; None where it does not.
    """

    part: str
    first: tuple[float, float, float]
    last: tuple[float, float, float]
    radius: float
    parent: int
    axis: tuple[float, float, float] | None = None


def _limbs(side: int) -> list[Bone]:
    """Upper arm, forearm, thigh and shin of one side: 1 for left, −1 for right."""
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
            # a forearm hangs from the upper arm before it, a shin from the thigh
            outer = bone.part in ("forearm", "shin")
            bones.append(bone._replace(parent=len(bones) - 1) if outer else bone)
    return bones


BONES = _skeleton()
JOINTS = [i for i, bone in enumerate(BONES) if bone.axis is not None]
PARTS = ("torso", "head", "upper arm", "forearm", "thigh", "shin")


class Body(NamedTuple):
    """The body at rest.

    Attributes:
        vertices: float64 (V, 3), the third axis upwards.
        faces: (F, 3).
        weights: share of each bone in each vertex, (V, 10).
        parts: number of the part that each vertex belongs to, (V,).
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor
    parts: Tensor


@cache
def body() -> Body:
    """The skin around the bones, found on a grid."""
    low, high = torch.tensor([-1.0, -0.4, -1.1]), torch.tensor([1.0, 0.4, 1.05])
    sides = [torch.arange(float(a), float(b), SPACING) for a, b in zip(low, high, strict=True)]
    grid = torch.stack(torch.meshgrid(*sides, indexing="ij"), -1).double()
    vertices, faces = surface_net(_skin(grid), grid)
    distances = _distances(vertices)
    weights = torch.softmax(-distances / BLEND, -1)
    parts = torch.tensor([PARTS.index(bone.part) for bone in BONES])[distances.argmin(-1)]
    return Body(vertices, faces, weights, parts)


def pose(angles: Tensor) -> Tensor:
    """The body with its joints at these angles.

    Linear blend skinning: v′ = Σ_b w_b T_b v, T_b the motion of bone b.

    Args:
        angles: radians, (N, 8): shoulder, elbow, hip and knee of the left, then of the right.
            Positive ones raise the arm sideways, bend the elbow forwards, swing the leg forwards
            and bend the knee backwards. At 0 the arms are stretched out sideways.

    Returns:
        Vertices, float64 (N, V, 3).
    """
    angles = angles.double()
    rest = body()
    turns: list[Tensor] = []
    shifts: list[Tensor] = []
    for number, bone in enumerate(BONES):
        pivot = torch.tensor(bone.first, dtype=torch.float64)
        turn = torch.eye(3, dtype=torch.float64).expand(len(angles), 3, 3)
        if bone.axis is not None:
            turn = rotation(bone.axis, angles[:, JOINTS.index(number)])
        shift = pivot - turn @ pivot  # (N, 3)
        if bone.parent >= 0:
            outer, moved = turns[bone.parent], shifts[bone.parent]
            shift = (outer @ shift[:, :, None])[:, :, 0] + moved
            turn = outer @ turn
        turns.append(turn)
        shifts.append(shift)
    blended = torch.einsum("vb,bnij->nvij", rest.weights, torch.stack(turns))
    shift = torch.einsum("vb,bni->nvi", rest.weights, torch.stack(shifts))
    return torch.einsum("nvij,vj->nvi", blended, rest.vertices) + shift


def rotation(axis: tuple[float, float, float], angle: Tensor) -> Tensor:
    """Rotations about an axis through the origin (Rodrigues' formula), (N,) → (N, 3, 3)."""
    x, y, z = axis
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3, dtype=torch.float64) + sine * cross + (1 - cosine) * (cross @ cross)


# -- gestures --------------------------------------------------------------------------------------

GESTURES = ("walk", "wave", "squat", "jump")


def gesture(kind: int, phase: Tensor, size: Tensor) -> Tensor:
    """Angles of the joints in a movement, (N, 8), radians.

    Args:
        kind: number in ``GESTURES``.
        phase: of the movement, (N,), 0 to 2π.
        size: how wide it is, (N,), 0 to 1.
    """
    swing, bent = phase.sin(), 0.5 * (1 - phase.cos())
    down, none = torch.full_like(phase, -1.2), torch.zeros_like(phase)
    if GESTURES[kind] == "walk":
        knees = 0.5 * (1 + (phase + math.pi / 2).sin()), 0.5 * (1 - (phase + math.pi / 2).sin())
        left = down, 0.3 + 0.4 * swing, 0.6 * size * swing, 0.7 * size * knees[0]
        right = down, 0.3 - 0.4 * swing, -0.6 * size * swing, 0.7 * size * knees[1]
    elif GESTURES[kind] == "wave":
        left = 0.8 * size, 1.0 + 0.8 * swing, none, none
        right = down, none + 0.2, none, none
    elif GESTURES[kind] == "squat":
        arm = -0.2 + none
        left = right = arm, 1.3 * size * bent, 1.5 * size * bent, 1.8 * size * bent
    else:
        left = right = -1.2 + 2.3 * size * bent, none, 0.2 * size * bent, 0.4 * size * bent
    return torch.stack([*left, *right], 1)


def draw_poses(count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Poses in turn of each movement, in a random phase: angles (count, 8) and movements
    (count,)."""
    source = torch.Generator().manual_seed(seed)
    kinds = torch.arange(count) % len(GESTURES)
    phase = 2 * math.pi * torch.rand(count, generator=source)
    size = 0.6 + 0.4 * torch.rand(count, generator=source)
    every = torch.stack([gesture(k, phase, size) for k in range(len(GESTURES))])
    angles = every[kinds, torch.arange(count)]
    return angles + noise * torch.randn(angles.shape, generator=source), kinds


# -- skin ------------------------------------------------------------------------------------------


def _distances(points: Tensor) -> Tensor:
    """Distances to the bones' capsules, negative inside, (..., 3) → (..., 10)."""
    found = []
    for bone in BONES:
        first = torch.tensor(bone.first, dtype=points.dtype)
        axis = torch.tensor(bone.last, dtype=points.dtype) - first
        along = ((points - first) @ axis / axis.square().sum()).clamp(0, 1)
        found.append((points - first - along[..., None] * axis).norm(dim=-1) - bone.radius)
    return torch.stack(found, -1)


def _skin(points: Tensor) -> Tensor:
    """Distance to all bones melted together, negative inside."""
    return -BLEND * torch.logsumexp(-_distances(points) / BLEND, -1)


def surface_net(values: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The surface where a function on a grid is 0: vertices (V, 3) and faces (F, 3).

    A vertex in every cell that the surface passes, in the middle of its crossings of the cell's
    edges; two faces at every edge of the grid that it crosses, turned towards positive values.

    Args:
        values: at the points of the grid, (X, Y, Z), positive at its border.
        grid: these points, (X, Y, Z, 3).

    Source: Gibson, Constrained elastic surface nets, 1998.
    """
    inside = values < 0
    cells = [s - 1 for s in values.shape]
    total, crossings = values.new_zeros(*cells, 3), values.new_zeros(*cells)
    steps = torch.eye(3, dtype=torch.long).tolist()

    def part(tensor: Tensor, start: list[int], size: list[int]) -> Tensor:
        for axis in range(3):
            tensor = tensor.narrow(axis, start[axis], size[axis])
        return tensor

    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            start = [0, 0, 0]
            start[others[0]], start[others[1]] = corner
            end = [s + t for s, t in zip(start, steps[axis], strict=True)]
            one, other = part(values, start, cells), part(values, end, cells)
            crossed = (one < 0) != (other < 0)
            share = torch.where(crossed, one / torch.where(crossed, one - other, 1), 0)
            place = torch.lerp(part(grid, start, cells), part(grid, end, cells), share[..., None])
            total += torch.where(crossed[..., None], place, 0)
            crossings += crossed
    passed = crossings > 0
    numbers = torch.full(cells, -1)
    numbers[passed] = torch.arange(int(passed.sum()))
    vertices = total[passed] / crossings[passed][:, None]

    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        size = [s - 2 for s in values.shape]
        size[axis] += 1
        start = [1, 1, 1]
        start[axis] = 0
        end = [s + t for s, t in zip(start, steps[axis], strict=True)]
        one, other = part(inside, start, size), part(inside, end, size)
        corners = []
        for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):  # the four cells around an edge
            begin = list(start)
            begin[u] += du
            begin[v] += dv
            corners.append(part(numbers, begin, size))
        around = torch.stack(corners, -1)
        quads += [around[one & ~other], around[other & ~one].flip(-1)]
    quad = torch.cat(quads)
    return vertices, torch.cat([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
