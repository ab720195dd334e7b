"""Triangulation of polygons in space, convex or not."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Triangulation(NamedTuple):
    """Triangles of a list of polygons.

    Attributes:
        faces: vertex indices of the triangles, in the order of their polygons, (F, 3).
        crossing: indices of the polygons without a triangulation, whose sides cross; they were cut
            into a fan from their first corner.
    """

    faces: Tensor
    crossing: Tensor


def triangulate(vertices: Tensor, corners: Tensor, sizes: Tensor) -> Triangulation:
    """Cut polygons into triangles: n − 2 for a polygon of n corners, with the same orientation.

    A convex polygon becomes a fan of triangles from its first corner; from any other, ears are cut
    off. Polygons do not need to be planar: they are projected along their mean normal.

    Args:
        vertices: coordinates of the vertices, (V, 3).
        corners: vertex indices of the corners of all polygons, one polygon after another, (C,).
        sizes: number of corners of each polygon, at least 3, (P,).

    Source: Meisters, Polygons have ears, 1975; the normal is that of Newell, in Sutherland et al.,
    A characterization of ten hidden-surface algorithms, 1974.
    """
    starts = sizes.cumsum(0) - sizes
    polygon = torch.arange(len(sizes)).repeat_interleave(sizes - 2)  # of each triangle
    first_triangle = (sizes - 2).cumsum(0) - (sizes - 2)
    step = torch.arange(len(polygon)) - first_triangle[polygon]
    start = starts[polygon]
    faces = torch.stack([corners[start], corners[start + step + 1], corners[start + step + 2]], 1)
    crossing = []
    for p in _needs_ears(vertices, corners, sizes).tolist():
        ring = corners[starts[p] : starts[p] + sizes[p]]
        triangles = _clip_ears(_project(vertices[ring]))
        if triangles is None:
            crossing.append(p)
        else:
            faces[first_triangle[p] : first_triangle[p] + sizes[p] - 2] = ring[triangles]
    return Triangulation(faces, torch.tensor(crossing, dtype=torch.int64))


def _needs_ears(vertices: Tensor, corners: Tensor, sizes: Tensor) -> Tensor:
    """Return the indices of polygons that a fan from the first corner does not triangulate.

    They are not convex, or their fan contains triangles without area.
    """
    chosen = (sizes > 3).nonzero()[:, 0]
    if not len(chosen):
        return chosen
    found = []
    starts = sizes.cumsum(0) - sizes
    for size in sizes[chosen].unique().tolist():  # polygons of equal size at once
        polygons = chosen[sizes[chosen] == size]
        points = vertices[corners[starts[polygons, None] + torch.arange(size)]].double()  # (P,n,3)
        points = points - points[:, :1]
        normals = torch.linalg.cross(points, points.roll(-1, 1), dim=-1).sum(1, keepdim=True)
        sides = points.roll(-1, 1) - points
        turns = (torch.linalg.cross(sides.roll(1, 1), sides, dim=-1) * normals).sum(-1)
        # a polygon that winds around twice, such as a star, turns left everywhere; its fan does not
        fan = torch.linalg.cross(points[:, 1:-1], points[:, 2:], dim=-1)
        tiny = 1e-12 * normals.square().sum(-1)
        is_convex = ((fan * normals).sum(-1) > tiny).all(1) & (turns >= -tiny).all(1)
        found.append(polygons[~is_convex])
    return torch.cat(found).sort().values


def _project(points: Tensor) -> Tensor:
    """Project a polygon along its mean normal, (n, 3) → (n, 2), counterclockwise."""
    points = points.double() - points[0].double()
    normal = torch.linalg.cross(points, points.roll(-1, 0), dim=-1).sum(0)
    if not float(normal.norm()) > 0:
        return points[:, :2]
    normal = normal / normal.norm()
    axis = torch.zeros(3, dtype=torch.float64)
    axis[normal.abs().argmin()] = 1.0
    u = torch.linalg.cross(axis, normal, dim=0)
    return points @ torch.stack([u, torch.linalg.cross(normal, u, dim=0)], 1)


def _clip_ears(points: Tensor) -> Tensor | None:
    """Triangulate a polygon in the plane, (n, 2) → corner indices (n − 2, 3).

    Returns None for a polygon whose sides cross.
    """
    ring = list(range(len(points)))
    triangles = []
    size = float(points.abs().max()) ** 2
    while len(ring) > 3:
        ear = _find_ear(points[ring], 1e-12 * size)
        if ear is None:
            return None
        triangles.append([ring[ear - 1], ring[ear], ring[(ear + 1) % len(ring)]])
        del ring[ear]
    triangles.append(ring)
    if float(_double_area(*points[torch.tensor(triangles)].unbind(1)).min()) < -1e-9 * size:
        return None
    return torch.tensor(triangles)


def _find_ear(points: Tensor, tiny: float) -> int | None:
    """Return a corner that can be cut off a polygon (n, 2): its triangle contains no other corner.

    The first corner whose triangle has an area is preferred. Returns None if no corner qualifies.
    """
    before, after = points.roll(1, 0), points.roll(-1, 0)
    areas = _double_area(before, points, after)
    flat = None
    for ear in (areas >= -tiny).nonzero()[:, 0].tolist():
        if areas[ear] <= tiny:
            flat = ear if flat is None else flat
            continue
        a, b, c = before[ear], points[ear], after[ear]
        inside = (_double_area(a, b, points) >= -tiny) & (_double_area(b, c, points) >= -tiny)
        inside &= _double_area(c, a, points) >= -tiny
        is_corner = (points == a).all(1) | (points == b).all(1) | (points == c).all(1)
        if not bool((inside & ~is_corner).any()):
            return ear
    return flat


def _double_area(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return twice the signed area of triangles (..., 2), positive if counterclockwise."""
    u, v = b - a, c - a
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
