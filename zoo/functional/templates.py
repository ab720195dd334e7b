"""Shapes with shared connectivity: their template, coarser versions of it, spirals on it."""

from __future__ import annotations

import base64
import zlib
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from zoo.functional.meshes import edge_lengths, mesh_edges
from zoo.functional.points import farthest_point_sampling


class CoarseLevel(NamedTuple):
    """A mesh of fewer vertices, and the way back.

    Attributes:
        kept: numbers of the finer mesh's vertices that are left, (M,).
        faces: of the coarser mesh, (G, 3).
        corners: for each vertex of the finer mesh the corners of the coarse face below it, (V, 3).
        weights: and its barycentric coordinates there, (V, 3).
    """

    kept: Tensor
    faces: Tensor
    corners: Tensor
    weights: Tensor


def pack_template(vertices: Tensor, faces: Tensor) -> str:
    """A mesh as text, which goes into a model's hyper-parameters; vertices as float32."""
    head = np.array([len(vertices), len(faces)], dtype="<i4")
    parts = [head, vertices.numpy().astype("<f4"), faces.numpy().astype("<i4")]
    return base64.b64encode(zlib.compress(b"".join(part.tobytes() for part in parts))).decode()


def unpack_template(text: str) -> tuple[Tensor, Tensor]:
    """Vertices, float32 (V, 3), and faces, int64 (F, 3), of a packed mesh.

    Raises:
        ValueError: not a packed mesh.
    """
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        count, faces = np.frombuffer(data, "<i4", 2)
        vertices = np.frombuffer(data, "<f4", 3 * count, 8).reshape(-1, 3)
        corners = np.frombuffer(data, "<i4", 3 * faces, 8 + vertices.nbytes).reshape(-1, 3)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"not a template made by pack_template: {error}") from None
    return torch.from_numpy(vertices.copy()), torch.from_numpy(corners.astype(np.int64))


def coarsen(vertices: Tensor, faces: Tensor, count: int) -> CoarseLevel:
    """A mesh of ``count`` farthest points of another.

    Each vertex belongs to the kept one that is nearest along the edges; where the cells of three
    kept vertices meet in a face, these three make a coarse face. A vertex lies on the coarse face
    at its cell's centre that is nearest to it.

    Args:
        vertices, faces: the finer mesh, (V, 3) and (F, 3).
        count: M, 4 to V.

    Raises:
        ValueError: count is not between 4 and V.

    Source: the pooling of Ranjan et al., Generating 3D faces using convolutional mesh autoencoders,
    2018, section 3.2, with farthest points in place of edge contraction, and their Delaunay mesh
    on the surface (Peyré and Cohen, Geodesic remeshing using front propagation, 2006).
    """
    if not 4 <= count <= len(vertices):
        raise ValueError(f"{count} vertices of a mesh of {len(vertices)}")
    kept = farthest_point_sampling(vertices[None], count)[0]
    cell = _cells(vertices, faces, kept)
    met = cell[faces]
    apart = (met[:, 0] != met[:, 1]) & (met[:, 1] != met[:, 2]) & (met[:, 2] != met[:, 0])
    coarse = _once(met[apart], count)
    corners, weights = _below(vertices, vertices[kept], coarse, cell)
    return CoarseLevel(kept, coarse, corners, weights)


def _cells(vertices: Tensor, faces: Tensor, kept: Tensor) -> Tensor:
    """Which of the kept vertices is nearest to each along the edges, (V,)."""
    edges = mesh_edges(faces)
    lengths = edge_lengths(vertices, edges).clamp(min=1e-12).double().numpy()
    i, j = edges.T.numpy()
    count = len(vertices)
    graph = sparse.coo_matrix((lengths, (i, j)), (count, count)).tocsr()
    sources = dijkstra(
        graph, directed=False, indices=kept.numpy(), return_predecessors=True, min_only=True
    )[2]
    place = torch.full((count,), -1)
    place[kept] = torch.arange(len(kept))
    cell = place[torch.from_numpy(sources).long().clamp(min=0)]
    # pieces of the mesh that no kept vertex reaches: the nearest through space
    lost = torch.from_numpy(sources < 0)
    if lost.any():
        cell[lost] = torch.cdist(vertices[lost], vertices[kept]).argmin(1)
    return cell


def _once(faces: Tensor, count: int) -> Tensor:
    """Faces without repetitions of the same three vertices, in the orientation that most of them
    have, sorted."""
    low = faces.argmin(1, keepdim=True)
    faces = faces.gather(1, (low + torch.arange(3)) % 3)
    ends = faces[:, 1:].sort(1).values
    keys = (faces[:, 0] * count + ends[:, 0]) * count + ends[:, 1]
    # of the two orientations the one that more faces have; equal votes go to the lower number
    ways = keys * 2 + (faces[:, 1] > faces[:, 2])
    found, votes = ways.unique(return_counts=True)
    order = torch.argsort(votes, descending=True, stable=True)
    found = found[order]
    order = torch.argsort(found // 2, stable=True)
    found = found[order]
    first = torch.ones(len(found), dtype=torch.bool)
    first[1:] = found[1:] // 2 != found[:-1] // 2
    found = found[first]
    key, turned = found // 2, found % 2 == 1
    a, b, c = key // count**2, key // count % count, key % count
    return torch.stack([a, torch.where(turned, c, b), torch.where(turned, b, c)], 1)


def _below(vertices: Tensor, coarse: Tensor, faces: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The coarse face below each vertex, (V, 3), and barycentric coordinates on it, (V, 3)."""
    count = len(coarse)
    by_cell = faces.flatten().argsort(stable=True)
    face_of = by_cell // 3
    sizes = faces.flatten().bincount(minlength=count)
    starts = sizes.cumsum(0) - sizes
    # every vertex with every coarse face at its cell's centre
    times = sizes[cell]
    vertex = torch.arange(len(vertices)).repeat_interleave(times)
    rank = torch.arange(len(vertex)) - (times.cumsum(0) - times)[vertex]
    face = face_of[starts[cell[vertex]] + rank]
    weights = _barycentric(vertices[vertex], coarse[faces[face]])
    there = (weights[:, :, None] * coarse[faces[face]]).sum(1)
    distance = (vertices[vertex] - there).norm(dim=1)
    best = distance.new_full((len(vertices),), torch.inf)
    best = best.scatter_reduce(0, vertex, distance, "amin")
    chosen = torch.full((len(vertices),), -1)
    winners = (distance == best[vertex]).nonzero()[:, 0].flip(0)  # the first of equals is kept
    chosen[vertex[winners]] = winners
    corners = cell[:, None].repeat(1, 3)  # a cell without faces: its centre
    share = torch.tensor([1.0, 0.0, 0.0], dtype=vertices.dtype).repeat(len(vertices), 1)
    has = chosen >= 0
    corners[has], share[has] = faces[face[chosen[has]]], weights[chosen[has]]
    return corners, share


def _barycentric(points: Tensor, triangles: Tensor) -> Tensor:
    """Coordinates of points (N, 3) on triangles (N, 3, 3), those outside moved to its border,
    (N, 3)."""
    a, b, c = triangles.unbind(1)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    scale = (uu * vv - uv * uv).clamp(min=torch.finfo(points.dtype).tiny)
    second = (vv * wu - uv * wv) / scale
    third = (uu * wv - uv * wu) / scale
    weights = torch.stack([1 - second - third, second, third], 1).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def spirals(vertices: Tensor, faces: Tensor, length: int) -> Tensor:
    """Neighbours of each vertex in a spiral, itself first, (V, length).

    The rings around a vertex follow one another, each ring the way in which faces are oriented; the
    first step leads along the shortest edge. Where the mesh has fewer vertices the last one is
    repeated.

    Source: Gong et al., SpiralNet++, 2019, section 3.1; the start after Bouritsas et al., Neural 3D
    morphable models, 2019, section 4.
    """
    around = _rings(vertices, faces)
    rows = []
    for vertex in range(len(vertices)):
        spiral, seen = [vertex], {vertex}
        position = 0
        previous = -1
        while len(spiral) < length and position < len(spiral):
            ring = around[spiral[position]]
            # a ring goes on where the one inside it has been left
            shift = ring.index(previous) if previous in ring else 0
            for other in ring[shift:] + ring[:shift]:
                if other not in seen:
                    seen.add(other)
                    spiral.append(other)
            previous = spiral[position]
            position += 1
        spiral += [spiral[-1]] * (length - len(spiral))
        rows.append(spiral[:length])
    return torch.tensor(rows)


def _rings(vertices: Tensor, faces: Tensor) -> list[list[int]]:
    """The neighbours of every vertex in the order of its faces, that of the shortest edge first."""
    following: list[dict[int, int]] = [{} for _ in range(len(vertices))]
    for a, b, c in faces.tolist():
        following[a][b], following[b][c], following[c][a] = c, a, b
    edges = mesh_edges(faces)
    lengths = edge_lengths(vertices, edges).tolist()
    near: list[dict[int, float]] = [{} for _ in range(len(vertices))]
    for (i, j), distance in zip(edges.tolist(), lengths, strict=True):
        near[i][j] = near[j][i] = distance
    return [_ring(after, distances) for after, distances in zip(following, near, strict=True)]


def _ring(after: dict[int, int], near: dict[int, float]) -> list[int]:
    """Neighbours in order: one fan after another, each from its first edge at the boundary, or
    from the shortest edge where it is closed."""
    by_length = sorted(near, key=near.__getitem__)
    tips = set(after.values())
    starts = [n for n in by_length if n in after and n not in tips] + by_length
    ring: list[int] = []
    seen: set[int] = set()
    for start in starts:
        here: int | None = start
        while here is not None and here not in seen:
            seen.add(here)
            ring.append(here)
            here = after.get(here)
    first = ring.index(by_length[0]) if by_length else 0
    return ring[first:] + ring[:first]
