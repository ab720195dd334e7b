"""Triangle meshes: vertices (V, 3) and faces (F, 3), three vertex numbers each."""

from __future__ import annotations

import torch
from torch import Tensor


def face_vectors(vertices: Tensor, faces: Tensor) -> Tensor:
    """Normals of faces as long as twice their areas, (F, 3); counter-clockwise faces point at the
    viewer."""
    a, b, c = (vertices.index_select(0, corner) for corner in faces.unbind(1))
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


def corner_angles(vertices: Tensor, faces: Tensor) -> Tensor:
    """The three angles of each face, (F, 3), in radians; never quite 0 or π, so that their
    cotangents stay finite."""
    a, b, c = vertices[faces].unbind(1)
    angles = []
    for here, one, other in ((a, b, c), (b, c, a), (c, a, b)):
        u, v = one - here, other - here
        across = torch.linalg.cross(u, v, dim=-1).norm(dim=-1)
        along = (u * v).sum(-1)
        tiny = 1e-8 * (u.norm(dim=-1) * v.norm(dim=-1)) + torch.finfo(u.dtype).tiny
        angles.append(torch.atan2(across.maximum(tiny), along))
    return torch.stack(angles, 1)


def mesh_edges(faces: Tensor) -> Tensor:
    """The edges of a mesh, each once, the smaller vertex first, (E, 2)."""
    return edge_counts(faces)[0]


def edge_counts(faces: Tensor) -> tuple[Tensor, Tensor]:
    """The edges of a mesh (E, 2), and how many faces each of them has (E,)."""
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(1).values
    return torch.unique(sides, dim=0, return_counts=True)


def edge_lengths(vertices: Tensor, edges: Tensor) -> Tensor:
    """(..., V, 3), (E, 2) → (..., E)."""
    # index_select adds gradients up in the same order every time
    one, other = (vertices.index_select(-2, end) for end in edges.unbind(1))
    return (one - other).norm(dim=-1)


def relative_stretch(way: Tensor, first: Tensor, last: Tensor, edges: Tensor) -> float:
    """How far the edges of shapes along a way are from the lengths that they should have:

    Σ |ℓₑ(t) − ℓ̄ₑ(t)| / Σ ℓ̄ₑ(t), over edges and steps, ℓ̄ₑ(t) = (1−t) ℓₑ(first) + t ℓₑ(last).

    Args:
        way: shapes at t from 0 to 1, (S, V, 3).
        first, last: the shapes between which it leads, (V, 3).
        edges: (E, 2).
    """
    t = torch.linspace(0, 1, len(way), dtype=way.dtype, device=way.device)[:, None]
    wanted = torch.lerp(edge_lengths(first, edges), edge_lengths(last, edges), t)
    return float((edge_lengths(way, edges) - wanted).abs().sum() / wanted.sum())


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals of vertices, means of those of their faces weighted by area, (V, 3)."""
    of_faces = face_vectors(vertices, faces).repeat_interleave(3, 0)
    normals = torch.zeros_like(vertices).index_add(0, faces.flatten(), of_faces)
    return normals / normals.norm(dim=1, keepdim=True).clamp(min=1e-12)


def connected_components(faces: Tensor, count: int) -> Tensor:
    """Which connected piece each of ``count`` vertices belongs to, (V,), numbered from 0."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    edges = mesh_edges(faces).numpy()
    joined = sparse.coo_matrix((edges[:, 0] >= 0, (edges[:, 0], edges[:, 1])), (count, count))
    return torch.from_numpy(connected_components(joined, directed=False)[1]).long()


def check_manifold(vertices: Tensor, faces: Tensor) -> None:
    """Makes sure that a mesh is a surface, with or without boundary.

    Raises:
        ValueError: names the first vertex, edge or face that is wrong.
    """
    count = len(vertices)
    if not count or not len(faces):
        raise ValueError(f"a mesh without faces ({count} vertices)")
    wrong = ((faces < 0) | (faces >= count)).any(1).nonzero()[:, 0]
    if len(wrong):
        face = int(wrong[0])
        raise ValueError(f"face {face} is {faces[face].tolist()}, the mesh has {count} vertices")
    twice = (faces == faces[:, [1, 2, 0]]).any(1).nonzero()[:, 0]
    if len(twice):
        face = int(twice[0])
        raise ValueError(f"face {face} is {faces[face].tolist()}: the same vertex twice")
    alone = (faces.flatten().bincount(minlength=count) == 0).nonzero()[:, 0]
    if len(alone):
        raise ValueError(f"vertex {int(alone[0])} belongs to no face ({len(alone)} such vertices)")
    if not float(face_areas(vertices, faces).sum()) > 0:
        raise ValueError("the surface has no area")
    edges, faces_of_edge = edge_counts(faces)
    crowded = (faces_of_edge > 2).nonzero()[:, 0]
    if len(crowded):
        edge = int(crowded[0])
        raise ValueError(
            f"non-manifold: the edge {edges[edge].tolist()} belongs to {int(faces_of_edge[edge])} "
            f"faces ({len(crowded)} such edges)"
        )
    _check_fans(faces, edges, faces_of_edge, count)


def orient_faces(faces: Tensor) -> Tensor:
    """The same faces, some of them turned over, so that neighbours run along their edge in opposite
    directions; the first face of each piece stays as it is.

    Raises:
        ValueError: a surface with one side, such as a Möbius strip.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    count = len(faces)
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    face = torch.arange(count).repeat_interleave(3)
    forwards = sides[:, 0] < sides[:, 1]
    keys = sides.min(1).values * (int(faces.max()) + 1) + sides.max(1).values
    order = keys.argsort()
    same = keys[order][1:] == keys[order][:-1]
    one, other = order[:-1][same], order[1:][same]
    # each face twice, as it is (its number) and turned over (its number + count)
    turned = count * (forwards[one] == forwards[other])
    f, g = face[one], face[other]
    rows = torch.cat([f, f + count])
    columns = torch.cat([g + turned, (g + count - turned)])
    joined = sparse.coo_matrix((rows.numpy() >= 0, (rows, columns)), (2 * count, 2 * count))
    pieces = torch.from_numpy(connected_components(joined, directed=False)[1]).long()
    kept, over = pieces.view(2, count)
    if (kept == over).any():
        raise ValueError("the surface has one side only: it cannot be oriented")
    return torch.where((over < kept)[:, None], faces.flip(1), faces)


def _check_fans(faces: Tensor, edges: Tensor, faces_of_edge: Tensor, count: int) -> None:
    """The faces around a vertex are one fan: corners are joined by inner edges, in one piece."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    tail = faces.flatten()
    ends = torch.stack([faces[:, [1, 2, 0]].flatten(), faces[:, [2, 0, 1]].flatten()])
    corner = torch.arange(len(tail)).repeat(2)
    # corners of one vertex that share an edge
    keys = torch.cat([tail * count + ends[0], tail * count + ends[1]])
    order = keys.argsort()
    same = keys[order][1:] == keys[order][:-1]
    one, other = corner[order][:-1][same].numpy(), corner[order][1:][same].numpy()
    joined = sparse.coo_matrix((one >= 0, (one, other)), (len(tail), len(tail)))
    pieces = torch.from_numpy(connected_components(joined, directed=False)[1]).long()
    fans = torch.unique(torch.stack([tail, pieces]), dim=1)[0].bincount(minlength=count)
    if (fans > 1).any():
        vertex = int((fans > 1).nonzero()[0, 0])
        raise ValueError(
            f"non-manifold: {int(fans[vertex])} parts of the surface meet at vertex {vertex} alone"
        )
