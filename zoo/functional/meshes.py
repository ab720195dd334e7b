"""Triangle meshes: vertices (V, 3) and faces (F, 3) of three vertex indices each."""

from __future__ import annotations

import torch
from torch import Tensor

# -- faces ---------------------------------------------------------------------------------------


def area_weighted_face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute face normals whose norms are twice the areas of the faces, (F, 3).

    They point to the side from which the corners are in counterclockwise order.
    """
    a, b, c = (vertices.index_select(0, corner) for corner in faces.unbind(1))
    return torch.linalg.cross(b - a, c - a, dim=-1)


def face_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute the areas of faces, (F,)."""
    return area_weighted_face_normals(vertices, faces).norm(dim=-1) / 2


def corner_angles(vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute the three angles of each face in radians, (F, 3).

    They are slightly above 0 and below π even in degenerate faces, which keeps their cotangents
    finite.
    """
    a, b, c = vertices[faces].unbind(1)
    angles = []
    for corner, second, third in ((a, b, c), (b, c, a), (c, a, b)):
        u, v = second - corner, third - corner
        cross = torch.linalg.cross(u, v, dim=-1).norm(dim=-1)
        dot = (u * v).sum(-1)
        tiny = 1e-8 * (u.norm(dim=-1) * v.norm(dim=-1)) + torch.finfo(u.dtype).tiny
        angles.append(torch.atan2(cross.maximum(tiny), dot))
    return torch.stack(angles, 1)


def sample_surface(
    vertices: Tensor, faces: Tensor, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Sample points uniformly on a surface, (count, 3).

    A face is sampled in proportion to its area, and a point in it as
    a + √u (1 − v)(b − a) + √u v (c − a) with u, v uniform in [0, 1].

    Args:
        vertices: vertices of the mesh on the CPU, (V, 3).
        faces: faces of the mesh on the CPU, (F, 3).
        count: number of points.
        generator: random generator of the points, default the global one.

    Raises:
        ValueError: the surface has no area.

    Source: Osada et al., Shape distributions, 2002, section 4.1.
    """
    areas = face_areas(vertices, faces)
    if not float(areas.sum()) > 0:
        raise ValueError("the surface has no area")
    # torch.multinomial is limited to 2²⁴ categories; a search in the cumulative areas is not
    cumulative = areas.double().cumsum(0)
    position = torch.rand(count, generator=generator, dtype=torch.float64) * cumulative[-1]
    chosen = torch.searchsorted(cumulative, position, right=True).clamp(max=len(faces) - 1)
    a, b, c = vertices[faces[chosen]].unbind(1)
    u, v = torch.rand(2, count, 1, generator=generator, dtype=vertices.dtype).unbind(0)
    root = u.sqrt()
    return a + root * (1 - v) * (b - a) + root * v * (c - a)


# -- repairs -------------------------------------------------------------------------------------


def merge_duplicate_vertices(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Merge vertices with the same coordinates, in the order of their first occurrence.

    Args:
        vertices: coordinates, (V, D), such as D = 3, or D = 3 T for T frames of a movement.
        faces: vertex indices, (F, 3).

    Returns:
        The vertices that remain, (W, D), and the faces with their new indices, (F, 3).
    """
    positions, position_of = torch.unique(vertices, dim=0, return_inverse=True)
    if len(positions) == len(vertices):
        return vertices, faces
    first = torch.full((len(positions),), len(vertices)).scatter_reduce(
        0, position_of, torch.arange(len(vertices)), "amin"
    )
    order = first.argsort()
    return vertices[first[order]], order.argsort()[position_of][faces]


def repeated_faces(faces: Tensor) -> Tensor:
    """Return whether each face has the same vertices as an earlier one, in any order, (F,)."""
    if not len(faces):
        return torch.zeros(0, dtype=torch.bool)
    _, kind = torch.unique(faces.sort(1).values, dim=0, return_inverse=True)
    first = torch.full((int(kind.max()) + 1,), len(faces)).scatter_reduce(
        0, kind, torch.arange(len(faces)), "amin"
    )
    return first[kind] != torch.arange(len(faces))


# -- edges ---------------------------------------------------------------------------------------


def mesh_edges(faces: Tensor) -> Tensor:
    """Return each edge of a mesh once, the smaller vertex index first, (E, 2)."""
    return edges_with_face_counts(faces)[0]


def edges_with_face_counts(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edges of a mesh, (E, 2), and the number of faces of each edge, (E,)."""
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(1).values
    return torch.unique(sides, dim=0, return_counts=True)


def edge_lengths(vertices: Tensor, edges: Tensor) -> Tensor:
    """Compute the lengths of edges, (..., V, 3) and (E, 2) → (..., E)."""
    # the gradient of index_select is accumulated in a fixed order, that of indexing is not
    start, end = (vertices.index_select(-2, column) for column in edges.unbind(1))
    return (start - end).norm(dim=-1)


def edge_length_distortion(path: Tensor, first: Tensor, last: Tensor, edges: Tensor) -> float:
    """Compute the relative error of edge lengths along a path of shapes.

    Σ |ℓₑ(t) − ℓ̄ₑ(t)| / Σ ℓ̄ₑ(t), over edges e and steps t, relative to the linear interpolation
    ℓ̄ₑ(t) = (1−t) ℓₑ(first) + t ℓₑ(last) between the end points.

    Args:
        path: shapes at S equidistant times t from 0 to 1, (S, V, 3).
        first: shape at the start of the path, (V, 3).
        last: shape at the end of the path, (V, 3).
        edges: edges of the mesh, (E, 2).
    """
    t = torch.linspace(0, 1, len(path), dtype=path.dtype, device=path.device)[:, None]
    expected = torch.lerp(edge_lengths(first, edges), edge_lengths(last, edges), t)
    return float((edge_lengths(path, edges) - expected).abs().sum() / expected.sum())


# -- topology ------------------------------------------------------------------------------------


def connected_components(faces: Tensor, num_vertices: int) -> Tensor:
    """Return the index of the connected component of each vertex, from 0, (V,)."""
    edges = mesh_edges(faces)
    return _graph_components(edges[:, 0], edges[:, 1], num_vertices)


def check_manifold(vertices: Tensor, faces: Tensor) -> None:
    """Check that a mesh is a 2-manifold, with or without boundary, that uses all vertices.

    Raises:
        ValueError: the mesh is not such a manifold; the message names the first vertex, edge or
            face at fault.
    """
    count = len(vertices)
    if not count or not len(faces):
        raise ValueError(f"the mesh has no faces ({count} vertices)")
    outside = ((faces < 0) | (faces >= count)).any(1).nonzero()[:, 0]
    if len(outside):
        face = int(outside[0])
        raise ValueError(
            f"face {face} is {faces[face].tolist()}, but the mesh has {count} vertices"
        )
    repeated = (faces == faces[:, [1, 2, 0]]).any(1).nonzero()[:, 0]
    if len(repeated):
        face = int(repeated[0])
        raise ValueError(f"face {face} is {faces[face].tolist()}, which repeats a vertex")
    unused = (faces.flatten().bincount(minlength=count) == 0).nonzero()[:, 0]
    if len(unused):
        raise ValueError(
            f"vertex {int(unused[0])} belongs to no face ({len(unused)} such vertices)"
        )
    if not float(face_areas(vertices, faces).sum()) > 0:
        raise ValueError("the surface has no area")
    edges, face_counts = edges_with_face_counts(faces)
    non_manifold = (face_counts > 2).nonzero()[:, 0]
    if len(non_manifold):
        edge = int(non_manifold[0])
        raise ValueError(
            f"non-manifold: the edge {edges[edge].tolist()} belongs to {int(face_counts[edge])} "
            f"faces ({len(non_manifold)} such edges)"
        )
    _check_vertex_fans(faces, count)


def orient_faces(faces: Tensor) -> Tensor:
    """Flip faces until all neighboring faces have a consistent orientation.

    They then traverse their common edge in opposite directions. The first face of each connected
    component keeps its orientation.

    Raises:
        ValueError: the surface is not orientable, such as a Möbius strip.
    """
    count = len(faces)
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    side_face = torch.arange(count).repeat_interleave(3)
    is_ascending = sides[:, 0] < sides[:, 1]
    keys = sides.min(1).values * (int(faces.max()) + 1) + sides.max(1).values
    one, other = _equal_pairs(keys)
    # A graph with two nodes per face: f, the face as given, and f + count, the face flipped. Its
    # edges connect the orientations of two neighboring faces that are consistent.
    flip = count * (is_ascending[one] == is_ascending[other])
    f, g = side_face[one], side_face[other]
    components = _graph_components(
        torch.cat([f, f + count]), torch.cat([g + flip, g + count - flip]), 2 * count
    )
    kept, flipped = components.view(2, count)
    if (kept == flipped).any():
        raise ValueError("the surface has only one side and cannot be oriented")
    # components are numbered in order of their first node, which is the first face as given
    return torch.where((flipped < kept)[:, None], faces.flip(1), faces)


def _check_vertex_fans(faces: Tensor, num_vertices: int) -> None:
    """Check that the faces around each vertex are connected through their common edges."""
    corner_vertex = faces.flatten()
    corner = torch.arange(len(corner_vertex)).repeat(2)
    ends = torch.stack([faces[:, [1, 2, 0]].flatten(), faces[:, [2, 0, 1]].flatten()])
    # two corners at the same vertex are connected if their faces have an edge in common
    keys = (corner_vertex * num_vertices + ends).flatten()
    one, other = _equal_pairs(keys)
    components = _graph_components(corner[one], corner[other], len(corner_vertex))
    fans = torch.unique(torch.stack([corner_vertex, components]), dim=1)[0]
    fan_counts = fans.bincount(minlength=num_vertices)
    if (fan_counts > 1).any():
        vertex = int((fan_counts > 1).nonzero()[0, 0])
        raise ValueError(
            f"non-manifold: {int(fan_counts[vertex])} parts of the surface meet only at vertex "
            f"{vertex}"
        )


def _equal_pairs(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of consecutive equal keys in sorted order, two (P,)."""
    order = keys.argsort()
    is_equal = keys[order][1:] == keys[order][:-1]
    return order[:-1][is_equal], order[1:][is_equal]


def _graph_components(source: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """Return the connected component of each node of an undirected graph, from 0, (num_nodes,)."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse import csgraph

    data = np.ones(len(source), dtype=bool)
    graph = sparse.coo_matrix((data, (source.numpy(), target.numpy())), (num_nodes, num_nodes))
    return torch.from_numpy(csgraph.connected_components(graph, directed=False)[1]).long()
