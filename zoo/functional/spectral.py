"""Spectral operators of triangle meshes: Laplacian, eigenbasis, gradient, heat kernel signature.

All operators are intrinsic: they depend only on the edge lengths. They are therefore invariant to
rigid motions, reflections and bending without stretching.
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
    """Operators of a mesh with V vertices.

    Attributes:
        mass: area of each vertex, a third of the area of its faces, (V,).
        eigenvalues: the k smallest eigenvalues of the Laplacian, from 0 upward, (k,).
        eigenvectors: the eigenfunctions φ, with ∫φᵢφⱼ = 1 for i = j, else 0, (V, k).
        grad_index: indices (vertex, vertex or neighbor) of the gradient's coefficients, (2, E).
        grad: coefficients of the gradient along the two axes of the vertex's tangent plane, (2, E).
    """

    mass: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    grad_index: Tensor
    grad: Tensor

    def data_attributes(self) -> dict[str, Tensor]:
        """Return the operators as float32 attributes of a PyG ``Data``.

        Their shapes let PyG batch them by concatenation: eigenvalues (1, k), grad (E, 2).
        """
        return {
            "mass": self.mass.float(),
            "eigenvalues": self.eigenvalues[None].float(),
            "eigenvectors": self.eigenvectors.float(),
            "grad_index": self.grad_index,
            "grad": self.grad.T.float().contiguous(),
        }


def spectral_operators(vertices: Tensor, faces: Tensor, k: int = 64) -> MeshOperators:
    """Scale a mesh to a total area of 1 and compute all operators, in float64 on the CPU.

    Args:
        vertices: vertices of the mesh, (V, 3).
        faces: faces of the mesh, (F, 3).
        k: number of eigenpairs, default 64.

    Raises:
        ValueError: the mesh is not an orientable manifold (see
            :func:`~zoo.functional.meshes.check_manifold`) or has fewer than k + 2 vertices.
    """
    check_manifold(vertices, faces)
    faces = orient_faces(faces)
    vertices = vertices.double()
    vertices = vertices / face_areas(vertices, faces).sum().sqrt()
    mass = vertex_masses(vertices, faces)
    basis = laplacian_eigenbasis(cotangent_laplacian(vertices, faces), mass, k)
    return MeshOperators(mass, *basis, *gradient_operator(vertices, faces))


# -- Laplacian -------------------------------------------------------------------------------------


def cotangent_laplacian(vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute the positive semi-definite cotangent Laplacian, sparse (V, V).

    (L f)ᵢ = Σⱼ wᵢⱼ (fᵢ − fⱼ),  wᵢⱼ = ½ (cot α + cot β), where α and β are opposite to the edge ij.

    Source: Pinkall and Polthier, Computing discrete minimal surfaces and their conjugates, 1993.
    """
    count = len(vertices)
    w = _half_cotangents(vertices, faces).flatten()
    i, j = faces[:, [1, 2, 0]].flatten(), faces[:, [2, 0, 1]].flatten()
    rows, columns = torch.cat([i, j, i, j]), torch.cat([j, i, i, j])
    values = torch.cat([-w, -w, w, w])
    return torch.sparse_coo_tensor(
        torch.stack([rows, columns]), values, (count, count), check_invariants=False
    ).coalesce()


def _half_cotangents(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return ½ cot of each corner's angle, a term of the weight of the opposite edge, (F, 3)."""
    return 0.5 / corner_angles(vertices, faces).tan()


def vertex_masses(vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute a third of the area of the faces around each vertex, (V,)."""
    thirds = (face_areas(vertices, faces) / 3).repeat_interleave(3)
    return vertices.new_zeros(len(vertices)).index_add(0, faces.flatten(), thirds)


def laplacian_eigenbasis(laplacian: Tensor, mass: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Compute the k smallest eigenpairs of L φ = λ M φ with φᵀ M φ = I.

    The signs of φ are arbitrary, and so are rotations within an eigenspace.

    Args:
        laplacian: L, sparse (V, V).
        mass: diagonal of M, (V,).
        k: number of eigenpairs, 1 to V − 2.

    Returns:
        λ in ascending order, (k,), and φ, (V, k).

    Raises:
        ValueError: k is not between 1 and V − 2.
    """
    count = len(mass)
    if not 1 <= k <= count - 2:
        raise ValueError(f"{k} eigenpairs need at least {k + 2} vertices, the mesh has {count}")
    row, column = laplacian.indices().numpy()
    matrix = sparse.csc_matrix((laplacian.values().double().numpy(), (row, column)))
    area = mass.double().numpy()
    # a negative shift makes the matrix L − σM, which eigsh factorizes, positive definite
    shift = -1e-2 / area.sum()
    start = np.random.RandomState(0).uniform(-1, 1, count)  # a fixed start: reproducible results
    values, vectors = eigsh(matrix, k, sparse.diags(area, format="csc"), shift, v0=start)
    order = np.argsort(values)
    values, vectors = values[order].clip(min=0), vectors[:, order]
    return torch.from_numpy(values), torch.from_numpy(np.ascontiguousarray(vectors))


def mesh_eigenvalues(vertices: Tensor, faces: Tensor, k: int) -> Tensor:
    """Compute the k smallest Laplacian eigenvalues, differentiable in the vertices, (k,).

    λ_j = ½ Σ_corners cot α (φ_j(p) − φ_j(q))² / Σ m φ_j², where the edge pq is opposite to the
    corner with angle α: the Rayleigh quotient of the eigenfunction φ_j. The gradient for a fixed
    φ_j is that of λ_j, φ_jᵀ (dL − λ_j dM) φ_j, because the quotient is stationary in φ_j. The
    gradient of a multiple eigenvalue is that of one of its eigenfunctions.

    Args:
        vertices: vertices of the mesh, (V, 3).
        faces: faces of the mesh, (F, 3).
        k: number of eigenvalues, including 0.

    Raises:
        ValueError: the mesh has fewer than k + 2 vertices.
    """
    with torch.no_grad():
        fixed_vertices, fixed_faces = vertices.detach().double().cpu(), faces.cpu()
        laplacian = cotangent_laplacian(fixed_vertices, fixed_faces)
        mass = vertex_masses(fixed_vertices, fixed_faces)
        functions = laplacian_eigenbasis(laplacian, mass, k)[1].to(vertices)
    differences = functions[faces[:, [1, 2, 0]]] - functions[faces[:, [2, 0, 1]]]  # (F, 3, k)
    weights = _half_cotangents(vertices, faces)[..., None]
    energy = (weights * differences.square()).sum((0, 1))
    return energy / (vertex_masses(vertices, faces) @ functions.square())


def heat_kernel_signature(eigenvalues: Tensor, eigenvectors: Tensor, times: Tensor) -> Tensor:
    """Compute the scaled heat kernel signature of each vertex, (V, T).

    hks(x, t) = Σᵢ e^(−λᵢ t) φᵢ(x)² / Σᵢ e^(−λᵢ t): the heat that remains at x after the time t,
    relative to the heat trace.

    Args:
        eigenvalues: eigenvalues λ of the Laplacian, (k,).
        eigenvectors: eigenfunctions φ of the Laplacian, (V, k).
        times: diffusion times t, in units of the surface area, (T,).

    Source: Sun, Ovsjanikov and Guibas, A concise and provably informative multi-scale signature
    based on heat diffusion, 2009, equation 3 and section 5.
    """
    decay = torch.exp(-eigenvalues[:, None] * times)  # (k, T)
    return eigenvectors.square() @ (decay / decay.sum(0))


# -- gradient --------------------------------------------------------------------------------------


def gradient_operator(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the operator that takes a function on the vertices to its gradient at each vertex.

    The neighbors of a vertex are mapped to its tangent plane by their edge lengths and by the
    angles between the edges, which at interior vertices are rescaled to a sum of 2π. The gradient
    is that of the linear function that best fits the differences to the neighbors (least squares).
    The first axis points to one of the neighbors; another choice would rotate the gradient at that
    vertex.

    Args:
        vertices: vertices of the mesh, (V, 3).
        faces: consistently oriented faces, (F, 3).

    Returns:
        indices (vertex, vertex or neighbor), (2, E), and coefficients along both axes, (2, E).

    Source: Sharp et al., DiffusionNet, 2022, section 3.4, with the intrinsic tangent planes of
    Sharp, Soliman and Crane, The vector heat method, 2019, section 5.2.
    """
    tail, tip, angle, length = outgoing_edges(vertices, faces)
    x = torch.stack([length * angle.cos(), length * angle.sin()], 1)  # (E, 2)
    count = len(vertices)
    squares = (x[:, :, None] * x[:, None, :]).flatten(1)
    normal = x.new_zeros(count, 4).index_add(0, tail, squares).view(-1, 2, 2)
    # the regularization sets the gradient to 0 in directions without a neighbor
    scale = normal.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    normal = normal + 1e-9 * scale * torch.eye(2, dtype=x.dtype)
    at_neighbor = torch.linalg.solve(normal[tail], x)  # (E, 2)
    at_vertex = x.new_zeros(count, 2).index_add(0, tail, -at_neighbor)
    own = torch.arange(count)
    index = torch.stack([torch.cat([tail, own]), torch.cat([tip, own])])
    return index, torch.cat([at_neighbor, at_vertex]).T.contiguous()


def outgoing_edges(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the directed edges: tail, tip, direction in the tail's tangent plane, length.

    All are (2E,): each edge of the mesh appears once in each direction. Directions are angles in
    radians.
    """
    count = len(vertices)
    corners = corner_angles(vertices, faces).flatten()
    tail = faces.flatten()
    tip, last = faces[:, [1, 2, 0]].flatten(), faces[:, [2, 0, 1]].flatten()
    # around the tail, the edge to ``tip`` is followed by the edge to ``last`` of the same face
    keys, order = (tail * count + tip).sort()

    def find_corner(first: Tensor, second: Tensor) -> Tensor:
        """Return the corners that start with these edges, −1 for edges at the boundary."""
        wanted = first * count + second
        position = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return torch.where(keys[position] == wanted, order[position], -1)

    following = find_corner(tail, last)
    has_previous = torch.zeros(len(tail), dtype=torch.bool)
    has_previous[following[following >= 0]] = True
    # the walk around a vertex starts at the boundary, or at the first corner of an interior vertex
    start = torch.full((count,), len(tail)).scatter_reduce(0, tail, torch.arange(len(tail)), "amin")
    open_corners = (~has_previous).nonzero()[:, 0]
    start[tail[open_corners]] = open_corners
    is_interior = torch.ones(count, dtype=torch.bool)
    is_interior[tail[open_corners]] = False

    found: list[tuple[Tensor, Tensor, Tensor]] = []  # tails, tips, cumulative angles
    corner, angle = start, corners.new_zeros(count)
    while len(corner):  # one corner of every vertex per step
        found.append((tail[corner], tip[corner], angle))
        angle = angle + corners[corner]
        next_corner = following[corner]
        at_boundary = next_corner < 0
        found.append((tail[corner][at_boundary], last[corner][at_boundary], angle[at_boundary]))
        done = at_boundary | (next_corner == start[tail[corner]])
        corner, angle = next_corner[~done], angle[~done]
    tails, tips, angles = (torch.cat(part) for part in zip(*found, strict=True))
    total = corners.new_zeros(count).index_add(0, tail, corners)
    scale = torch.where(is_interior, 2 * math.pi / total, torch.ones_like(total))
    lengths = (vertices[tips] - vertices[tails]).norm(dim=1)
    return tails, tips, angles * scale[tails], lengths
