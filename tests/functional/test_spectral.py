"""Spectral operators: known spectra, invariance to bending, gradients, invalid meshes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from datamodules.articulated_body import build_body
from datamodules.isometric import OUTLINES, bend, make_sheet
from zoo.functional.meshes import (
    check_manifold,
    edge_length_distortion,
    edge_lengths,
    edges_with_face_counts,
    mesh_edges,
    orient_faces,
)
from zoo.functional.points import random_rotations
from zoo.functional.spectral import (
    cotangent_laplacian,
    gradient_operator,
    heat_kernel_signature,
    laplacian_eigenbasis,
    mesh_eigenvalues,
    outgoing_edges,
    spectral_operators,
    vertex_masses,
)


def icosphere(rounds: int) -> tuple[Tensor, Tensor]:
    """Return a sphere of 10 · 4^rounds + 2 vertices, faces counterclockwise from outside."""
    g = (1 + 5**0.5) / 2
    corners = [(s * 1.0, t * g, 0.0) for s in (-1, 1) for t in (-1, 1)]
    vertices = torch.tensor([c[i:] + c[:i] for c in corners for i in range(3)], dtype=torch.float64)
    near = torch.cdist(vertices, vertices) < 2.1
    triples = torch.combinations(torch.arange(12), 3)
    faces = triples[[bool(near[a, b] & near[b, c] & near[a, c]) for a, b, c in triples.tolist()]]
    a, b, c = vertices[faces].unbind(1)
    inward = (torch.linalg.cross(b - a, c - a) * a).sum(1) < 0
    faces = torch.where(inward[:, None], faces.flip(1), faces)
    for _ in range(rounds):
        edges = mesh_edges(faces)
        number = {tuple(e): len(vertices) + i for i, e in enumerate(edges.tolist())}
        vertices = torch.cat([vertices, vertices[edges].mean(1)])
        finer = []
        for p, q, r in faces.tolist():
            pq, qr, rp = (number[min(e), max(e)] for e in ((p, q), (q, r), (r, p)))
            finer += [(p, pq, rp), (pq, q, qr), (rp, qr, r), (pq, qr, rp)]
        faces = torch.tensor(finer)
    return vertices / vertices.norm(dim=1, keepdim=True), faces


def spectrum(vertices: Tensor, faces: Tensor, k: int = 20) -> Tensor:
    laplacian = cotangent_laplacian(vertices, faces)
    return laplacian_eigenbasis(laplacian, vertex_masses(vertices, faces), k)[0]


def test_the_spectrum_of_a_sphere_is_l_times_l_plus_1() -> None:
    """The eigenvalue l(l+1) has multiplicity 2l + 1; errors are quadratic in the edge length."""
    errors = []
    for rounds, second in ((3, 5.966), (4, 5.991)):
        values = spectrum(*icosphere(rounds))
        assert float(values[0].abs()) < 1e-10
        torch.testing.assert_close(values[1:4], torch.full((3,), 2.0).double(), rtol=3e-3, atol=0)
        assert float(values[4:9].mean()) == pytest.approx(second, abs=1e-3)  # exact: 6
        errors.append(6 - float(values[4:9].mean()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_the_laplacian_gives_the_dirichlet_energy_of_linear_functions() -> None:
    """fᵀ L f = ∫ |∇f|²: for a linear function in the plane, its squared slope times the area."""
    flat, faces = make_sheet(OUTLINES["ring"], 2)
    f = flat @ torch.tensor([0.3, -1.1, 0.0], dtype=torch.float64)
    laplacian = cotangent_laplacian(flat, faces)
    area = vertex_masses(flat, faces).sum()
    energy = f @ (laplacian @ f)
    assert float(energy) == pytest.approx((0.3**2 + 1.1**2) * float(area), rel=1e-12)
    dense = laplacian.to_dense()
    torch.testing.assert_close(dense, dense.T)
    torch.testing.assert_close(dense.sum(1), torch.zeros(len(flat)).double())
    assert float(torch.linalg.eigvalsh(dense)[0]) > -1e-10  # PyG's Laplacian has the opposite sign


def test_invariance_to_rigid_motions_reflections_and_folds() -> None:
    flat, faces = make_sheet(OUTLINES["L"], 2)
    rotation = random_rotations(1, torch.Generator().manual_seed(0), torch.float64)[0]
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    folded = bend(flat, 0, {6: math.pi / 2})
    twisted = bend(flat, 2, {1: math.pi / 2, 4: -1.0})
    assert float((folded - flat).norm(dim=1).max()) > 3  # vertices have moved
    base = spectral_operators(flat, faces, 20)
    times = torch.logspace(-2.5, -0.5, 6, dtype=torch.float64)
    signature = heat_kernel_signature(base.eigenvalues, base.eigenvectors, times)
    for moved in (flat @ rotation.T + 3, flat @ mirror, folded, twisted):
        edges = mesh_edges(faces)
        torch.testing.assert_close(
            edge_lengths(moved, edges), edge_lengths(flat, edges), rtol=0, atol=1e-12
        )
        torch.testing.assert_close(
            spectrum(moved, faces), spectrum(flat, faces), rtol=0, atol=1e-10
        )
        found = spectral_operators(moved, faces, 20)
        torch.testing.assert_close(found.mass, base.mass, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.grad, base.grad, rtol=0, atol=1e-9)
        again = heat_kernel_signature(found.eigenvalues, found.eigenvectors, times)
        torch.testing.assert_close(again, signature, rtol=0, atol=1e-9)


def test_smooth_bending_converges_with_resolution() -> None:
    """Bending a sheet to a cylinder stretches its triangles, less so the finer they are."""

    def error(refine: int) -> float:
        flat, faces = make_sheet(("####", "####"), refine)
        flat = flat / refine
        radius = 2.0
        angle = flat[:, 0] / radius
        bent = torch.stack([radius * angle.sin(), flat[:, 1], radius * angle.cos()], 1)
        one, other = spectrum(flat, faces, 6), spectrum(bent, faces, 6)
        return float(((one - other).abs() / one.clamp(min=1e-9))[1:].max())

    coarse, middle, fine = error(3), error(6), error(12)
    assert fine < 2e-3
    assert coarse / middle == pytest.approx(4, rel=0.15)
    assert middle / fine == pytest.approx(4, rel=0.15)


def test_the_basis_is_orthonormal_and_solves_its_equation() -> None:
    vertices, faces = icosphere(2)
    laplacian, mass = cotangent_laplacian(vertices, faces), vertex_masses(vertices, faces)
    values, vectors = laplacian_eigenbasis(laplacian, mass, 12)
    unit = torch.eye(12, dtype=torch.float64)
    torch.testing.assert_close(vectors.T @ (mass[:, None] * vectors), unit, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        laplacian @ vectors, mass[:, None] * vectors * values, rtol=0, atol=1e-9
    )
    assert float(mass.sum()) == pytest.approx(4 * math.pi, rel=0.05)


def test_heat_on_a_sphere_is_the_same_everywhere() -> None:
    operators = spectral_operators(*icosphere(4), k=36)  # complete eigenspaces: 1 + 3 + … + 11
    times = torch.tensor([0.005, 0.02, 0.1], dtype=torch.float64)
    signature = heat_kernel_signature(operators.eigenvalues, operators.eigenvectors, times)
    # the mean over a surface of area 1 is 1
    mean = operators.mass @ signature
    torch.testing.assert_close(mean, torch.ones(3).double(), rtol=0, atol=1e-9)
    assert float((signature - 1).abs().max()) < 0.01


def surface_gradient(f: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    index, values = gradient_operator(vertices, faces)
    size = (len(vertices), len(vertices))
    axes = [torch.sparse_coo_tensor(index, axis, size, check_invariants=True) for axis in values]
    return torch.stack([axis @ f for axis in axes])


def test_the_gradient_of_a_linear_function_is_its_slope() -> None:
    """On a flat and a folded sheet, including the boundary and the crease."""
    flat, faces = make_sheet(OUTLINES["plus"], 2)
    slope = torch.tensor([0.7, -0.2, 0.0], dtype=torch.float64)
    f = flat @ slope
    for vertices in (flat, bend(flat, 1, {5: math.pi / 2})):
        norm = surface_gradient(f, vertices, faces).norm(dim=0)
        torch.testing.assert_close(norm, slope.norm().expand(len(f)), rtol=0, atol=1e-7)
    # inner products of two gradients do not depend on the axes of the tangent planes
    other = torch.tensor([0.1, 0.9, 0.0], dtype=torch.float64)
    product = (surface_gradient(f, flat, faces) * surface_gradient(flat @ other, flat, faces)).sum(
        0
    )
    torch.testing.assert_close(product, (slope @ other).expand(len(f)), rtol=0, atol=1e-7)


def test_gradients_on_a_sphere() -> None:
    """The gradient of the height z on the unit sphere has the norm √(1 − z²)."""
    vertices, faces = icosphere(4)
    norm = surface_gradient(vertices[:, 2], vertices, faces).norm(dim=0)
    expected = (1 - vertices[:, 2].square()).clamp(min=0).sqrt()
    assert float((norm - expected).abs().mean()) < 2e-3


def test_outgoing_edges_contain_both_directions_of_every_edge() -> None:
    for vertices, faces in (icosphere(1), make_sheet(OUTLINES["ring"], 1)):
        tails, tips, angles, _ = outgoing_edges(vertices, faces)
        edges = mesh_edges(faces)
        both = torch.cat([edges, edges.flip(1)])
        found = torch.stack([tails, tips], 1)
        assert sorted(found.tolist()) == sorted(both.tolist())
        assert float(angles.max()) < 2 * math.pi


def test_renumbering_vertices_permutes_the_operators() -> None:
    rest = build_body()
    order = torch.randperm(len(rest.vertices), generator=torch.Generator().manual_seed(0))
    new_index = order.argsort()
    shuffled = new_index[rest.faces][torch.randperm(len(rest.faces))].roll(1, 1)
    one = spectral_operators(rest.vertices, rest.faces, 12)
    other = spectral_operators(rest.vertices[order], shuffled, 12)
    torch.testing.assert_close(other.mass, one.mass[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(other.eigenvalues, one.eigenvalues, rtol=0, atol=1e-8)


# -- meshes that are not oriented manifolds -------------------------------------------------------

TETRAHEDRON = torch.tensor([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
CORNERS = torch.tensor([(0, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1)], dtype=torch.float64)


def test_meshes_that_are_not_manifolds() -> None:
    check_manifold(CORNERS, TETRAHEDRON)
    more = torch.cat([CORNERS, torch.rand(3, 3).double()])
    cases = [
        (CORNERS, TETRAHEDRON[:0], r"the mesh has no faces \(4 vertices\)"),
        (CORNERS, torch.tensor([(0, 1, 4)]), r"face 0 is \[0, 1, 4\], but the mesh has 4 vertices"),
        (
            CORNERS,
            torch.tensor([(0, 1, 2), (1, 1, 3)]),
            r"face 1 is \[1, 1, 3\], which repeats a vertex",
        ),
        (more, TETRAHEDRON, r"vertex 4 belongs to no face \(3 such vertices\)"),
        (0 * CORNERS, TETRAHEDRON, "no area"),
        (
            more[:5],
            torch.cat([TETRAHEDRON, torch.tensor([(0, 1, 4)])]),
            r"non-manifold: the edge \[0, 1\] belongs to 3 faces",
        ),
        (
            more,
            torch.cat([TETRAHEDRON, torch.tensor([(0, 4, 5), (0, 5, 6), (0, 6, 4), (4, 6, 5)])]),
            "non-manifold: 2 parts of the surface meet only at vertex 0",
        ),
    ]
    for vertices, faces, message in cases:
        with pytest.raises(ValueError, match=message):
            check_manifold(vertices, faces)
    with pytest.raises(ValueError, match="12 eigenpairs need at least 14 vertices, the mesh has 4"):
        spectral_operators(CORNERS, TETRAHEDRON, 12)


def test_faces_are_oriented_consistently() -> None:
    vertices, faces = icosphere(1)
    mixed = faces.clone()
    mixed[5:40:3] = mixed[5:40:3].flip(1)
    assert torch.equal(orient_faces(mixed).sort(1).values, faces.sort(1).values)
    directed = orient_faces(mixed)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(directed.unique(dim=0)) == len(directed)
    one, other = spectral_operators(vertices, mixed, 9), spectral_operators(vertices, faces, 9)
    torch.testing.assert_close(one.eigenvalues, other.eigenvalues, rtol=0, atol=1e-9)
    moebius = torch.tensor([(0, 1, 2), (1, 3, 2), (2, 3, 4), (3, 5, 4), (4, 5, 1), (5, 0, 1)])
    assert int(edges_with_face_counts(moebius)[1].max()) == 2
    with pytest.raises(ValueError, match="only one side and cannot be oriented"):
        orient_faces(moebius)


def test_edge_length_distortion_of_a_path() -> None:
    first, edges = CORNERS, mesh_edges(TETRAHEDRON)
    last = 2 * first
    straight = torch.stack([first, 1.5 * first, last])
    assert edge_length_distortion(straight, first, last, edges) == pytest.approx(0, abs=1e-12)
    late = torch.stack([first, 1.2 * first, last])
    assert edge_length_distortion(late, first, last, edges) == pytest.approx(0.3 / 4.5)


def test_gradients_of_eigenvalues_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    vertices, faces = icosphere(2)
    # an ellipsoid with different axes has no multiple eigenvalues
    vertices = vertices * torch.tensor([1.0, 1.3, 1.7]) + 0.01 * torch.randn(len(vertices), 3)
    values = mesh_eigenvalues(vertices, faces, 8)
    solved = laplacian_eigenbasis(
        cotangent_laplacian(vertices, faces), vertex_masses(vertices, faces), 8
    )[0]
    torch.testing.assert_close(values, solved, rtol=1e-9, atol=1e-9)
    direction = torch.randn_like(vertices)
    point = vertices.clone().requires_grad_()
    step = 1e-5
    ahead = mesh_eigenvalues(vertices + step * direction, faces, 8)
    behind = mesh_eigenvalues(vertices - step * direction, faces, 8)
    for j in range(1, 8):
        gradient = torch.autograd.grad(mesh_eigenvalues(point, faces, 8)[j], point)[0]
        expected = (ahead[j] - behind[j]) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-6)
    # eigenvalues are inversely proportional to the area
    torch.testing.assert_close(mesh_eigenvalues(2 * vertices, faces, 8), values / 4)
