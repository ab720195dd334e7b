"""Template meshes: serialization, coarsening and spirals."""

from __future__ import annotations

import pytest
import torch

from datamodules.articulated_body import build_body
from datamodules.isometric import OUTLINES, make_sheet
from zoo.errors import InputError
from zoo.functional.meshes import edges_with_face_counts, mesh_edges
from zoo.functional.templates import coarsen_mesh, pack_template, spiral_indices, unpack_template

REST = build_body()


def test_serialization_round_trip() -> None:
    vertices, faces = unpack_template(pack_template(REST.vertices, REST.faces))
    assert torch.equal(vertices, REST.vertices.float())
    assert torch.equal(faces, REST.faces)
    for text in ("", "not base64!", "AAAA"):
        with pytest.raises(InputError, match="not a template made by pack_template"):
            unpack_template(text)


def test_a_coarse_mesh_is_closed_and_close_to_the_fine_one() -> None:
    coarse = coarsen_mesh(REST.vertices, REST.faces, 260)
    assert len(coarse.kept.unique()) == 260
    counts = edges_with_face_counts(coarse.faces)[1]
    assert float((counts == 2).double().mean()) > 0.99  # nearly all edges have two faces
    torch.testing.assert_close(coarse.weights.sum(1), torch.ones(len(REST.vertices)).double())
    assert bool((coarse.weights >= 0).all())
    # kept vertices are interpolated exactly, the others are near the coarse surface
    interpolated = (REST.vertices[coarse.kept][coarse.corners] * coarse.weights[..., None]).sum(1)
    distance = (interpolated - REST.vertices).norm(dim=1)
    assert float(distance[coarse.kept].max()) < 1e-12
    assert float(distance.mean()) < 0.01  # of a body with height 1.8


def test_a_flat_sheet_is_interpolated_exactly() -> None:
    flat, faces = make_sheet(OUTLINES["square"], 2)
    coarse = coarsen_mesh(flat, faces, len(flat) // 4)
    interpolated = (flat[coarse.kept][coarse.corners] * coarse.weights[..., None]).sum(1)
    inside = ((flat[:, :2] > 1.5) & (flat[:, :2] < 10.5)).all(1)
    assert float((interpolated - flat)[inside].norm(dim=1).max()) < 1e-9
    message = "count must be between 4 and the number of vertices 169, got 3"
    with pytest.raises(ValueError, match=message):
        coarsen_mesh(flat, faces, 3)


def test_components_without_a_kept_vertex() -> None:
    """The vertices of a small component go to the kept vertex nearest by Euclidean distance."""
    flat, faces = make_sheet(OUTLINES["strip"], 1)
    corner = torch.tensor([(0.0, 0.0, 0.4), (0.3, 0.0, 0.4), (0.0, 0.3, 0.4)]).double()
    vertices = torch.cat([flat, corner])
    both = torch.cat([faces, len(flat) + torch.tensor([(0, 1, 2)])])
    coarse = coarsen_mesh(vertices, both, 6)
    assert bool(torch.isfinite(coarse.weights).all())
    assert int(coarse.corners.max()) < 6


def test_spirals_visit_ring_after_ring() -> None:
    flat, faces = make_sheet(OUTLINES["square"], 1)  # 7 × 7 vertices
    found = spiral_indices(flat, faces, 9)
    assert found.shape == (49, 9)
    assert torch.equal(found[:, 0], torch.arange(49))
    middle = int(((flat - torch.tensor([3.0, 3.0, 0.0])).norm(dim=1)).argmin())
    spiral = found[middle]
    assert len(spiral.unique()) == 9
    neighbors = {b for e in mesh_edges(faces).tolist() for a, b in (e, e[::-1]) if a == middle}
    assert set(spiral[1:7].tolist()) == neighbors
    # a ring has one orientation: the angle increases at each step
    ring = flat[spiral[1:7]] - flat[middle]
    turns = torch.linalg.cross(ring, ring.roll(-1, 0))[:, 2]
    assert bool((turns > 0).all())
    # a mesh with fewer vertices than the length of the spiral
    tiny = spiral_indices(flat[:3], torch.tensor([(0, 1, 2)]), 5)
    assert all(len(set(row)) == 3 for row in tiny.tolist())


def test_renumbered_vertices_give_the_same_coarse_mesh_and_spirals() -> None:
    order = torch.randperm(len(REST.vertices), generator=torch.Generator().manual_seed(0))
    new_index = order.argsort()
    vertices = REST.vertices[order]
    faces = new_index[REST.faces][torch.randperm(len(REST.faces))].roll(1, 1)
    one, other = coarsen_mesh(REST.vertices, REST.faces, 100), coarsen_mesh(vertices, faces, 100)
    assert torch.equal(order[other.kept], one.kept)
    assert torch.equal(other.corners.sort(1).values, one.corners[order].sort(1).values)
    spirals = spiral_indices(REST.vertices, REST.faces, 9)
    assert torch.equal(order[spiral_indices(vertices, faces, 9)], spirals[order])
