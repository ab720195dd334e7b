"""Triangle meshes: vertices (V, 3) and faces (F, 3), three vertex numbers each."""

from __future__ import annotations

import torch
from torch import Tensor


def face_vectors(vertices: Tensor, faces: Tensor) -> Tensor:
    """Normals of faces as long as twice their areas, (F, 3); counter-clockwise faces point at the
    viewer."""
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a, dim=-1)


def face_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """Areas of faces, (F,)."""
    return face_vectors(vertices, faces).norm(dim=-1) / 2


def sample_surface(
    vertices: Tensor, faces: Tensor, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Points spread evenly over a surface, (count, 3).

    A face is drawn by its area, and in it a point: a + √u (1 − v)(b − a) + √u v (c − a) with u, v
    uniform (Osada et al., Shape distributions, 2002, section 4.1).

    Args:
        vertices, faces: the mesh, on the CPU.
        count: how many.
        generator: of the draw, default the global one.

    Raises:
        ValueError: a surface without area.
    """
    areas = face_areas(vertices, faces)
    if not float(areas.sum()) > 0:
        raise ValueError("the surface has no area")
    # multinomial takes 2²⁴ categories at most; a search in the sums takes any number
    sums = areas.double().cumsum(0)
    places = torch.rand(count, generator=generator, dtype=torch.float64) * sums[-1]
    chosen = torch.searchsorted(sums, places, right=True).clamp(max=len(faces) - 1)
    a, b, c = vertices[faces[chosen]].unbind(1)
    root, v = torch.rand(2, count, 1, generator=generator, dtype=vertices.dtype).unbind(0)
    root = root.sqrt()
    return a + root * (1 - v) * (b - a) + root * v * (c - a)
