"""Templates: text and back, coarser meshes, spirals."""

from __future__ import annotations

import pytest
import torch

from datamodules.bodies import body
from datamodules.isometric import CUTS, sheet
from zoo.functional.meshes import edges_with_face_counts, mesh_edges
from zoo.functional.templates import coarsen, pack_template, spirals, unpack_template

REST = body()


def test_a_template_as_text() -> None:
    vertices, faces = unpack_template(pack_template(REST.vertices, REST.faces))
    assert torch.equal(vertices, REST.vertices.float())
    assert torch.equal(faces, REST.faces)
    for text in ("", "not base64!", "AAAA"):
        with pytest.raises(ValueError, match="not a template made by pack_template"):
            unpack_template(text)


def test_a_coarser_mesh_is_a_closed_surface_and_carries_linear_functions() -> None:
    coarse = coarsen(REST.vertices, REST.faces, 260)
    assert len(coarse.kept.unique()) == 260
    counts = edges_with_face_counts(coarse.faces)[1]
    assert float((counts == 2).double().mean()) > 0.99  # nearly all edges have two faces
    torch.testing.assert_close(coarse.weights.sum(1), torch.ones(len(REST.vertices)).double())
    assert bool((coarse.weights >= 0).all())
    # kept vertices lie on themselves, the others near the coarse surface
    there = (REST.vertices[coarse.kept][coarse.corners] * coarse.weights[..., None]).sum(1)
    distance = (there - REST.vertices).norm(dim=1)
    assert float(distance[coarse.kept].max()) < 1e-12
    assert float(distance.mean()) < 0.01  # of a body 1.8 high


def test_a_flat_sheet_is_met_exactly() -> None:
    flat, faces = sheet(CUTS["square"], 2)
    coarse = coarsen(flat, faces, len(flat) // 4)
    there = (flat[coarse.kept][coarse.corners] * coarse.weights[..., None]).sum(1)
    inside = ((flat[:, :2] > 1.5) & (flat[:, :2] < 10.5)).all(1)
    assert float((there - flat)[inside].norm(dim=1).max()) < 1e-9
    with pytest.raises(ValueError, match="3 vertices of a mesh of 169"):
        coarsen(flat, faces, 3)


def test_pieces_that_no_kept_vertex_is_part_of() -> None:
    """A small piece beside a large one: its vertices go to the nearest through space."""
    flat, faces = sheet(CUTS["strip"], 1)
    corner = torch.tensor([(0.0, 0.0, 0.4), (0.3, 0.0, 0.4), (0.0, 0.3, 0.4)]).double()
    vertices = torch.cat([flat, corner])
    both = torch.cat([faces, len(flat) + torch.tensor([(0, 1, 2)])])
    coarse = coarsen(vertices, both, 6)
    assert bool(torch.isfinite(coarse.weights).all())
    assert int(coarse.corners.max()) < 6


def test_spirals_go_around_ring_after_ring() -> None:
    flat, faces = sheet(CUTS["square"], 1)  # 7 × 7 vertices
    found = spirals(flat, faces, 9)
    assert found.shape == (49, 9)
    assert torch.equal(found[:, 0], torch.arange(49))
    middle = int(((flat - torch.tensor([3.0, 3.0, 0.0])).norm(dim=1)).argmin())
    row = found[middle]
    assert len(row.unique()) == 9
    neighbors = {b for e in mesh_edges(faces).tolist() for a, b in (e, e[::-1]) if a == middle}
    assert set(row[1:7].tolist()) == neighbors
    # the ring is walked one way: the angle grows at each step, or falls at each
    around = flat[row[1:7]] - flat[middle]
    turns = torch.linalg.cross(around, around.roll(-1, 0))[:, 2]
    assert bool((turns > 0).all())
    # a mesh with fewer vertices than the spiral is long
    tiny = spirals(flat[:3], torch.tensor([(0, 1, 2)]), 5)
    assert all(len(set(line)) == 3 for line in tiny.tolist())


def test_other_numbers_give_the_same_levels() -> None:
    order = torch.randperm(len(REST.vertices), generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    shuffled = place[REST.faces][torch.randperm(len(REST.faces))].roll(1, 1)
    one, other = (
        coarsen(REST.vertices, REST.faces, 100),
        coarsen(REST.vertices[order], shuffled, 100),
    )
    assert torch.equal(order[other.kept], one.kept)
    assert torch.equal(other.corners.sort(1).values, one.corners[order].sort(1).values)
    walk, same = spirals(REST.vertices, REST.faces, 9), spirals(REST.vertices[order], shuffled, 9)
    assert torch.equal(order[same], walk[order])
