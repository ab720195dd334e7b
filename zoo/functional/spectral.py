"""Calculus on triangle meshes: Laplacian, eigenbasis and gradient, from edge lengths alone.

Everything here is intrinsic. A surface that is bent without being stretched has the same operators,
and so has its mirror image; what moves is only where the vertices are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import eigsh
from torch import Tensor

from zoo.functional.meshes import check_manifold, corner_angles, face_areas, orient_faces


class MeshOperators(NamedTuple):
    """What a mesh of V vertices has for a network to compute with.

    Attributes:
        mass: area around each vertex, a third of that of its faces, (V,).
        eigenvalues: the k lowest of the Laplacian, from 0 upwards, (k,).
        eigenvectors: their functions φ with ∫φᵢφⱼ = 1 for i = j, else 0, (V, k).
        grad_index: pairs (vertex, vertex or neighbour) of the gradient's coefficients, (2, E).
        grad: those coefficients along the two axes of the vertex's tangent plane, (2, E).
    """

    mass: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    grad_index: Tensor
    grad: Tensor

    def as_batch(self) -> dict[str, Tensor]:
        """The same in float32, as PyG puts meshes together: eigenvalues (1, k), grad (E, 2)."""
        return {
            "mass": self.mass.float(),
            "eigenvalues": self.eigenvalues[None].float(),
            "eigenvectors": self.eigenvectors.float(),
            "grad_index": self.grad_index,
            "grad": self.grad.T.float().contiguous(),
        }


def spectral_operators(vertices: Tensor, faces: Tensor, k: int = 64) -> MeshOperators:
    """All operators of one mesh, scaled to a total area of 1; float64, on the CPU.

    Args:
        vertices, faces: (V, 3) and (F, 3).
        k: eigenfunctions, default 64.

    Raises:
        ValueError: a mesh that is no surface (see :func:`~zoo.functional.meshes.check_manifold`) or
            has one side only, or k eigenfunctions of fewer than k + 2 vertices.
    """
    check_manifold(vertices, faces)
    faces = orient_faces(faces)
    vertices = vertices.double()
    vertices = vertices / face_areas(vertices, faces).sum().sqrt()
    mass = vertex_masses(vertices, faces)
    values, vectors = eigenbasis(cotangent_laplacian(vertices, faces), mass, k)
    return MeshOperators(mass, values, vectors, *tangent_gradient(vertices, faces))


# -- Laplacian -------------------------------------------------------------------------------------


def cotangent_laplacian(vertices: Tensor, faces: Tensor) -> Tensor:
    """The positive semi-definite cotangent Laplacian, sparse (V, V).

    (L f)ᵢ = Σⱼ wᵢⱼ (fᵢ − fⱼ),  wᵢⱼ = ½ (cot α + cot β), α and β the angles that face the edge ij.

    Source: Pinkall and Polthier, Computing discrete minimal surfaces and their conjugates, 1993.
    """
    count = len(vertices)
    half = 0.5 / corner_angles(vertices, faces).tan()  # (F, 3), of the edge across each corner
    i, j = faces[:, [1, 2, 0]].flatten(), faces[:, [2, 0, 1]].flatten()
    w = half.flatten()
    rows, columns = torch.cat([i, j, i, j]), torch.cat([j, i, i, j])
    values = torch.cat([-w, -w, w, w])
    return torch.sparse_coo_tensor(
        torch.stack([rows, columns]), values, (count, count), check_invariants=False
    ).coalesce()


def vertex_masses(vertices: Tensor, faces: Tensor) -> Tensor:
    """A third of the area of each vertex's faces, (V,)."""
    thirds = (face_areas(vertices, faces) / 3).repeat_interleave(3)
    return vertices.new_zeros(len(vertices)).index_add(0, faces.flatten(), thirds)


def eigenbasis(laplacian: Tensor, mass: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k lowest solutions of L φ = λ M φ: λ (k,) in rising order and φ (V, k), φᵀ M φ = I.

    Signs of φ, and rotations among those of equal λ, are arbitrary.

    Raises:
        ValueError: fewer than k + 2 vertices.
    """
    count = len(mass)
    if not 1 <= k <= count - 2:
        raise ValueError(f"{k} eigenfunctions need a mesh of {k + 2} vertices, it has {count}")
    row, column = laplacian.indices().numpy()
    matrix = sparse.csc_matrix((laplacian.values().double().numpy(), (row, column)))
    area = mass.double().numpy()
    # a shift below 0 makes the matrix that is factorised positive definite
    shift = -1e-2 / area.sum()
    start = np.random.RandomState(0).uniform(-1, 1, count)  # the same every time
    values, vectors = eigsh(matrix, k, sparse.diags(area, format="csc"), shift, v0=start)
    order = np.argsort(values)
    values, vectors = values[order].clip(min=0), vectors[:, order]
    return torch.from_numpy(values), torch.from_numpy(np.ascontiguousarray(vectors))


def mesh_eigenvalues(vertices: Tensor, faces: Tensor, k: int) -> Tensor:
    """The k lowest eigenvalues of a surface as functions of where its vertices are, (k,).

    λ_j = ½ Σ_corners cot α (φ_j(p) − φ_j(q))² / Σ m φ_j², pq the side across the corner α: the
    Rayleigh quotient of the eigenfunction φ_j. Its gradient with φ_j held is that of λ_j,
    φ_jᵀ (dL − λ_j dM) φ_j, as the quotient is stationary in φ_j; of a multiple eigenvalue it is
    that of one of its functions.

    Args:
        vertices: (V, 3), with gradients or without.
        faces: (F, 3).
        k: how many, 0 included.

    Raises:
        ValueError: fewer than k + 2 vertices.
    """
    with torch.no_grad():
        shape, corners = vertices.detach().double().cpu(), faces.cpu()
        mass = vertex_masses(shape, corners)
        functions = eigenbasis(cotangent_laplacian(shape, corners), mass, k)[1].to(vertices)
    half = 0.5 / corner_angles(vertices, faces).tan()  # (F, 3)
    across = functions[faces[:, [1, 2, 0]]] - functions[faces[:, [2, 0, 1]]]  # (F, 3, k)
    energy = (half[..., None] * across.square()).sum((0, 1))
    return energy / (vertex_masses(vertices, faces) @ functions.square())


def heat_kernel_signature(eigenvalues: Tensor, eigenvectors: Tensor, times: Tensor) -> Tensor:
    """How much heat stays at each vertex, on the scale of that which stays anywhere, (V, T).

    hks(x, t) = Σᵢ e^(−λᵢ t) φᵢ(x)² / Σᵢ e^(−λᵢ t)

    Args:
        eigenvalues: (k,).
        eigenvectors: (V, k).
        times: (T,), in units of the surface's area.

    Source: Sun, Ovsjanikov and Guibas, A concise and provably informative multi-scale signature
    based on heat diffusion, 2009, equation 3 and section 5.
    """
    kept = torch.exp(-eigenvalues[:, None] * times)  # (k, T)
    return eigenvectors.square() @ (kept / kept.sum(0))


# -- gradient --------------------------------------------------------------------------------------


def tangent_gradient(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of a function on the vertices, along two axes at each vertex.

    A vertex's neighbours are laid out in the plane, by the lengths of the edges and the angles
    between them, which inside of the surface are stretched or squeezed to 2π in all; the gradient
    is the linear function that fits the differences to the neighbours best (least squares). The
    first axis points at one of the neighbours: another choice turns the gradient at that vertex.

    Args:
        vertices, faces: (V, 3) and (F, 3), oriented alike.

    Returns:
        Pairs (vertex, vertex or neighbour), (2, E), and coefficients along both axes, (2, E).

    Source: Sharp et al., DiffusionNet, 2022, section 3.4, with the intrinsic tangent planes of
    Sharp, Soliman and Crane, The vector heat method, 2019, section 5.2.
    """
    tail, tip, angle, length = outgoing_edges(vertices, faces)
    x = torch.stack([length * angle.cos(), length * angle.sin()], 1)  # (E, 2)
    count = len(vertices)
    squares = (x[:, :, None] * x[:, None, :]).flatten(1)
    normal = x.new_zeros(count, 4).index_add(0, tail, squares).view(-1, 2, 2)
    # along an edge that has no neighbour to its side the gradient is 0 across it
    scale = normal.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    normal = normal + 1e-9 * scale * torch.eye(2, dtype=x.dtype)
    toward = torch.linalg.solve(normal[tail], x)  # (E, 2)
    at_vertex = x.new_zeros(count, 2).index_add(0, tail, -toward)
    own = torch.arange(count)
    index = torch.stack([torch.cat([tail, own]), torch.cat([tip, own])])
    return index, torch.cat([toward, at_vertex]).T.contiguous()


def outgoing_edges(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The edges around every vertex: tail, tip, direction in the tail's tangent plane, length.

    All are (2E,), each edge of the mesh once in either direction; directions in radians.
    """
    count = len(vertices)
    corners = corner_angles(vertices, faces).flatten()
    tail = faces.flatten()
    tip, last = faces[:, [1, 2, 0]].flatten(), faces[:, [2, 0, 1]].flatten()
    # at the corner of a face the edge to ``tip`` is followed by that to ``last``
    keys, order = (tail * count + tip).sort()

    def find(first: Tensor, second: Tensor) -> Tensor:
        """Numbers of the corners that begin with an edge, −1 for an edge at the boundary."""
        wanted = first * count + second
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return torch.where(keys[place] == wanted, order[place], -1)

    after = find(tail, last)
    has_before = torch.zeros(len(tail), dtype=torch.bool)
    has_before[after[after >= 0]] = True
    # where a walk around a vertex begins: at the boundary, else at its first corner
    begin = torch.full((count,), len(tail)).scatter_reduce(0, tail, torch.arange(len(tail)), "amin")
    open_corners = (~has_before).nonzero()[:, 0]
    begin[tail[open_corners]] = open_corners
    closed = torch.ones(count, dtype=torch.bool)
    closed[tail[open_corners]] = False

    found: list[tuple[Tensor, Tensor, Tensor]] = []  # tails, tips, angles so far
    at, angle = begin, corners.new_zeros(count)
    while len(at):
        found.append((tail[at], tip[at], angle))
        angle = angle + corners[at]
        following = after[at]
        ends = following < 0
        found.append((tail[at][ends], last[at][ends], angle[ends]))
        done = ends | (following == begin[tail[at]])
        at, angle = following[~done], angle[~done]
    tails, tips, angles = (torch.cat(part) for part in zip(*found, strict=True))
    total = corners.new_zeros(count).index_add(0, tail, corners)
    stretch = torch.where(closed, 2 * math.pi / total, torch.ones_like(total))
    lengths = (vertices[tips] - vertices[tails]).norm(dim=1)
    return tails, tips, angles * stretch[tails], lengths
