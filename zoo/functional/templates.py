"""Template meshes: serialization, coarsening and spiral neighborhoods.

A template mesh defines the connectivity of all shapes of a data set.
"""

from __future__ import annotations

import base64
import zlib
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from zoo.errors import InputError
from zoo.functional.meshes import edge_lengths, mesh_edges
from zoo.functional.points import farthest_point_sampling

# -- serialization -------------------------------------------------------------------------------


def pack_template(vertices: Tensor, faces: Tensor) -> str:
    """Serialize a mesh to a string, for a model's hyperparameters; vertices become float32."""
    head = np.array([len(vertices), len(faces)], dtype="<i4")
    parts = [head, vertices.numpy().astype("<f4"), faces.numpy().astype("<i4")]
    return base64.b64encode(zlib.compress(b"".join(part.tobytes() for part in parts))).decode()


def unpack_template(text: str) -> tuple[Tensor, Tensor]:
    """Return the vertices, float32 (V, 3), and faces, int64 (F, 3), of a serialized mesh.

    Args:
        text: string from :func:`pack_template`.

    Raises:
        InputError: the string is not a serialized mesh.
    """
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        num_vertices, num_faces = np.frombuffer(data, "<i4", 2)
        vertices = np.frombuffer(data, "<f4", 3 * num_vertices, 8).reshape(-1, 3)
        faces = np.frombuffer(data, "<i4", 3 * num_faces, 8 + vertices.nbytes).reshape(-1, 3)
    except (ValueError, zlib.error) as error:
        raise InputError(f"not a template made by pack_template: {error}") from None
    return torch.from_numpy(vertices.copy()), torch.from_numpy(faces.astype(np.int64))


# -- coarsening ----------------------------------------------------------------------------------


class CoarseLevel(NamedTuple):
    """A coarse mesh, and the barycentric interpolation from it to the fine mesh.

    Attributes:
        kept: indices of the fine mesh's M vertices that form the coarse mesh, (M,).
        faces: faces of the coarse mesh, (G, 3).
        corners: corners of the coarse face nearest to each vertex of the fine mesh, as indices of
            coarse vertices, (V, 3).
        weights: barycentric coordinates of each vertex of the fine mesh in that face, (V, 3).
    """

    kept: Tensor
    faces: Tensor
    corners: Tensor
    weights: Tensor


def coarsen_mesh(vertices: Tensor, faces: Tensor, count: int) -> CoarseLevel:
    """Coarsen a mesh to ``count`` vertices, selected by farthest point sampling.

    Each vertex belongs to the cell of the kept vertex that is nearest along the edges. Where the
    cells of three kept vertices meet in a face, these three form a coarse face. Each vertex is
    interpolated from the nearest coarse face at the center of its cell.

    Args:
        vertices: vertices of the fine mesh, (V, 3).
        faces: faces of the fine mesh, (F, 3).
        count: number of vertices of the coarse mesh, M, 4 to V.

    Raises:
        ValueError: ``count`` is not between 4 and V.

    Source: the pooling of Ranjan et al., Generating 3D faces using convolutional mesh autoencoders,
    2018, section 3.2, with farthest points instead of edge contractions, and their Delaunay mesh
    on the surface (Peyré and Cohen, Geodesic remeshing using front propagation, 2006).
    """
    if not 4 <= count <= len(vertices):
        raise ValueError(
            f"count must be between 4 and the number of vertices {len(vertices)}, got {count}"
        )
    kept = farthest_point_sampling(vertices[None], count)[0]
    cell = _geodesic_cells(vertices, faces, kept)
    face_cells = cell[faces]
    a, b, c = face_cells.unbind(1)
    coarse_faces = _unique_faces(face_cells[(a != b) & (b != c) & (c != a)], count)
    corners, weights = _nearest_coarse_faces(vertices, vertices[kept], coarse_faces, cell)
    return CoarseLevel(kept, coarse_faces, corners, weights)


def _geodesic_cells(vertices: Tensor, faces: Tensor, kept: Tensor) -> Tensor:
    """Return the index into ``kept`` of the vertex that is nearest along the edges, (V,)."""
    edges = mesh_edges(faces)
    lengths = edge_lengths(vertices, edges).clamp(min=1e-12).double().numpy()
    i, j = edges.T.numpy()
    count = len(vertices)
    graph = sparse.coo_matrix((lengths, (i, j)), (count, count)).tocsr()
    sources = dijkstra(
        graph, directed=False, indices=kept.numpy(), return_predecessors=True, min_only=True
    )[2]
    position = torch.full((count,), -1)
    position[kept] = torch.arange(len(kept))
    cell = position[torch.from_numpy(sources).long().clamp(min=0)]
    # in components of the mesh without a kept vertex: the nearest by Euclidean distance
    unreached = torch.from_numpy(sources < 0)
    if unreached.any():
        cell[unreached] = torch.cdist(vertices[unreached], vertices[kept]).argmin(1)
    return cell


def _unique_faces(faces: Tensor, num_vertices: int) -> Tensor:
    """Return each set of three vertices once, sorted, in its most frequent orientation."""
    low = faces.argmin(1, keepdim=True)
    faces = faces.gather(1, (low + torch.arange(3)) % 3)
    ends = faces[:, 1:].sort(1).values
    keys = (faces[:, 0] * num_vertices + ends[:, 0]) * num_vertices + ends[:, 1]
    # an odd number encodes the flipped orientation; the lower number wins ties
    oriented, votes = (keys * 2 + (faces[:, 1] > faces[:, 2])).unique(return_counts=True)
    oriented = oriented[torch.argsort(votes, descending=True, stable=True)]
    oriented = oriented[torch.argsort(oriented // 2, stable=True)]
    is_first = torch.ones(len(oriented), dtype=torch.bool)
    is_first[1:] = oriented[1:] // 2 != oriented[:-1] // 2
    key, is_flipped = oriented[is_first] // 2, oriented[is_first] % 2 == 1
    a, b, c = key // num_vertices**2, key // num_vertices % num_vertices, key % num_vertices
    return torch.stack([a, torch.where(is_flipped, c, b), torch.where(is_flipped, b, c)], 1)


def _nearest_coarse_faces(
    vertices: Tensor, coarse: Tensor, faces: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the corners of the coarse face nearest to each vertex, and the weights in it.

    Args:
        vertices: vertices of the fine mesh, (V, 3).
        coarse: vertices of the coarse mesh, (M, 3).
        faces: faces of the coarse mesh, (G, 3).
        cell: cell of each vertex, an index of a coarse vertex, (V,).

    Returns:
        corners (V, 3) and barycentric coordinates (V, 3).
    """
    faces_of_cells = faces.flatten().argsort(stable=True) // 3
    sizes = faces.flatten().bincount(minlength=len(coarse))
    starts = sizes.cumsum(0) - sizes
    # candidates: each vertex with each coarse face at the center of its cell
    repeats = sizes[cell]
    vertex = torch.arange(len(vertices)).repeat_interleave(repeats)
    rank = torch.arange(len(vertex)) - (repeats.cumsum(0) - repeats)[vertex]
    face = faces_of_cells[starts[cell[vertex]] + rank]
    weights = _barycentric_coordinates(vertices[vertex], coarse[faces[face]])
    projected = (weights[:, :, None] * coarse[faces[face]]).sum(1)
    distance = (vertices[vertex] - projected).norm(dim=1)
    nearest = distance.new_full((len(vertices),), torch.inf)
    nearest = nearest.scatter_reduce(0, vertex, distance, "amin")
    chosen = torch.full((len(vertices),), -1)
    winners = (distance == nearest[vertex]).nonzero()[:, 0].flip(0)  # the first wins ties
    chosen[vertex[winners]] = winners
    # a vertex whose cell has no face is interpolated from the center of the cell
    all_corners = cell[:, None].repeat(1, 3)
    all_weights = torch.tensor([1.0, 0.0, 0.0], dtype=vertices.dtype).repeat(len(vertices), 1)
    has_face = chosen >= 0
    all_corners[has_face] = faces[face[chosen[has_face]]]
    all_weights[has_face] = weights[chosen[has_face]]
    return all_corners, all_weights


def _barycentric_coordinates(points: Tensor, triangles: Tensor) -> Tensor:
    """Return barycentric coordinates of points (N, 3) in triangles (N, 3, 3), (N, 3).

    Negative coordinates are set to 0, which moves the point into the triangle.
    """
    a, b, c = triangles.unbind(1)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    determinant = (uu * vv - uv * uv).clamp(min=torch.finfo(points.dtype).tiny)
    second = (vv * wu - uv * wv) / determinant
    third = (uu * wv - uv * wu) / determinant
    weights = torch.stack([1 - second - third, second, third], 1).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


# -- spirals -------------------------------------------------------------------------------------


def spiral_indices(vertices: Tensor, faces: Tensor, length: int) -> Tensor:
    """Return a spiral of neighbors around each vertex, starting at the vertex, (V, length).

    The spiral visits the rings around the vertex one after another, each in the orientation of the
    faces; its first step is along the shortest edge. If fewer than ``length`` vertices can be
    reached, the last index is repeated.

    Args:
        vertices: vertices of the mesh, (V, 3).
        faces: consistently oriented faces, (F, 3).
        length: number of vertices in a spiral, the center included.

    Source: Gong et al., SpiralNet++, 2019, section 3.1; the first step follows Bouritsas et
    al., Neural 3D morphable models, 2019, section 4.
    """
    rings = _neighbor_rings(vertices, faces)
    spirals = []
    for vertex in range(len(vertices)):
        spiral, seen = [vertex], {vertex}
        position = 0
        previous = -1
        while len(spiral) < length and position < len(spiral):
            ring = rings[spiral[position]]
            # continue where the previous vertex of the spiral is in this ring
            shift = ring.index(previous) if previous in ring else 0
            for neighbor in ring[shift:] + ring[:shift]:
                if neighbor not in seen:
                    seen.add(neighbor)
                    spiral.append(neighbor)
            previous = spiral[position]
            position += 1
        spiral += [spiral[-1]] * (length - len(spiral))
        spirals.append(spiral[:length])
    return torch.tensor(spirals)


def _neighbor_rings(vertices: Tensor, faces: Tensor) -> list[list[int]]:
    """Return the neighbors of each vertex in the order of its faces, the nearest first."""
    following: list[dict[int, int]] = [{} for _ in range(len(vertices))]
    for a, b, c in faces.tolist():
        following[a][b], following[b][c], following[c][a] = c, a, b
    edges = mesh_edges(faces)
    lengths = edge_lengths(vertices, edges).tolist()
    distances: list[dict[int, float]] = [{} for _ in range(len(vertices))]
    for (i, j), length in zip(edges.tolist(), lengths, strict=True):
        distances[i][j] = distances[j][i] = length
    return [_ring(*pair) for pair in zip(following, distances, strict=True)]


def _ring(following: dict[int, int], distances: dict[int, float]) -> list[int]:
    """Return the neighbors of one vertex in order, one fan of faces after another.

    A fan at the boundary starts at its first edge, a closed fan at its shortest edge.

    Args:
        following: next neighbor after each neighbor, in the orientation of the faces.
        distances: distance to each neighbor.
    """
    by_distance = sorted(distances, key=distances.__getitem__)
    tips = set(following.values())
    starts = [n for n in by_distance if n in following and n not in tips] + by_distance
    ring: list[int] = []
    seen: set[int] = set()
    for start in starts:
        neighbor: int | None = start
        while neighbor is not None and neighbor not in seen:
            seen.add(neighbor)
            ring.append(neighbor)
            neighbor = following.get(neighbor)
    first = ring.index(by_distance[0]) if by_distance else 0
    return ring[first:] + ring[:first]
