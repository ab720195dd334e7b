"""Meshes: sheets that are not stretched, bodies, folders with faults, the cache of operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import BodyParts, Isometric, MeshFolder
from datamodules.bodies import BONES, JOINTS, body, gesture, pose, rotation
from datamodules.isometric import CUTS, sheet
from datamodules.mesh_files import read_surface
from datamodules.meshes import cached_operators
from tests.datamodules.test_point_files import TETRAHEDRON, VERTICES, lines, off, ply
from zoo.errors import DataError
from zoo.functional.meshes import (
    check_manifold,
    connected_components,
    edge_counts,
    edge_lengths,
    face_areas,
    mesh_edges,
)
from zoo.functional.spectral import spectral_operators

# -- sheets ----------------------------------------------------------------------------------------


def test_sheets_are_bent_without_stretching() -> None:
    data = Isometric(num_samples=16)
    for train in (True, False):
        for mesh in data.load(train):
            flat, faces = sheet(list(CUTS.values())[int(mesh.y)], data.refine)
            edges = mesh_edges(faces)
            assert torch.equal(mesh.face.T, faces)
            torch.testing.assert_close(
                edge_lengths(mesh.pos, edges), edge_lengths(flat, edges), rtol=0, atol=1e-10
            )
            assert float(mesh.pos[:, 2].std()) > 0.1  # and do leave the plane


def test_training_rolls_and_test_folds() -> None:
    data = Isometric(num_samples=16)

    def creases(mesh: Any) -> torch.Tensor:
        """Largest angle between a face and the next, radians."""
        from zoo.functional.meshes import face_vectors

        normals = face_vectors(mesh.pos, mesh.face.T)
        normals = normals / normals.norm(dim=1, keepdim=True)
        sides = mesh.face.T[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(1).values
        _, number = sides.unique(dim=0, return_inverse=True)
        order = number.argsort()
        same = number[order][1:] == number[order][:-1]
        one, other = order[:-1][same] // 3, order[1:][same] // 3
        return (normals[one] * normals[other]).sum(1).clamp(-1, 1).acos().max()

    assert all(float(creases(mesh)) < 0.6 for mesh in data.load(True))
    assert all(float(creases(mesh)) > 0.75 for mesh in data.load(False))
    same = Isometric(num_samples=16, poses="rolled").load(False)
    assert all(float(creases(mesh)) < 0.6 for mesh in same)


def test_batches_of_meshes() -> None:
    data = Isometric(num_samples=32, batch_size=4, val_size=8)
    batch = next(iter(data.train_dataloader()))
    assert batch.num_graphs == 4
    total = batch.num_nodes
    assert batch.pos.shape == (total, 3)
    assert batch.mass.shape == (total,)
    assert batch.eigenvalues.shape == (4, 32)
    assert batch.eigenvectors.shape == (total, 32)
    assert batch.grad.shape == (batch.grad_index.shape[1], 2)
    torch.testing.assert_close(batch.mass.sum(), torch.tensor(4.0))  # each of area 1
    for i in range(4):
        rows = batch.batch == i
        ends = batch.batch[batch.grad_index]
        assert bool((ends[0] == ends[1]).all())  # no gradient from one mesh to another
        area = face_areas(batch.pos, batch.face.T)[batch.batch[batch.face[0]] == i].sum()
        assert float(area) == pytest.approx(1, abs=1e-4)
        assert float(batch.pos[rows].norm(dim=1).max()) < 3


def test_training_turns_anew_and_evaluation_as_before() -> None:
    data = Isometric(num_samples=16, batch_size=8, val_size=8)
    loader = data.train_dataloader()
    first, again = next(iter(loader)), next(iter(data.train_dataloader()))
    torch.testing.assert_close(first.pos, again.pos)  # by the seed
    list(loader)
    later = next(iter(loader))
    assert not torch.allclose(first.turn, later.turn)
    held = [next(iter(data.val_dataloader())).pos for _ in range(2)]
    assert torch.equal(*held)
    still = Isometric(num_samples=16, rotate="none")
    one = still.split("test")[0]
    shown = next(iter(still.test_dataloader())).get_example(0)
    torch.testing.assert_close(shown.pos, one.pos)


# -- bodies ----------------------------------------------------------------------------------------


def test_the_body_is_one_closed_surface() -> None:
    rest = body()
    check_manifold(rest.vertices, rest.faces)
    assert int(connected_components(rest.faces, len(rest.vertices)).max()) == 0
    assert bool((edge_counts(rest.faces)[1] == 2).all())
    a, b, c = rest.vertices[rest.faces].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    assert 0.1 < float(volume) < 0.15  # positive: faces point outwards
    torch.testing.assert_close(rest.weights.sum(1), torch.ones(len(rest.vertices)).double())


def test_joints_turn_what_hangs_from_them() -> None:
    rest = body()
    still = pose(torch.zeros(1, 8))[0]
    torch.testing.assert_close(still, rest.vertices)
    bent = torch.zeros(1, 8)
    bent[0, 0] = 0.5  # the left shoulder
    moved = (pose(bent)[0] - rest.vertices).norm(dim=1)
    arm = rest.weights[:, [2, 3]].sum(1)
    assert float(moved[arm < 1e-6].max()) < 1e-5
    hand = int((rest.vertices[:, 0]).argmax())
    # the hand moves rigidly about the shoulder
    pivot = torch.tensor(BONES[JOINTS[0]].first, dtype=torch.float64)
    axis = BONES[JOINTS[0]].axis
    assert axis is not None
    turned = rotation(axis, torch.tensor([0.5], dtype=torch.float64))[0]
    expected = pivot + turned @ (rest.vertices[hand] - pivot)
    torch.testing.assert_close(pose(bent)[0][hand], expected, rtol=0, atol=1e-4)
    assert float(pose(bent)[0][hand, 2]) > float(rest.vertices[hand, 2])  # the arm is raised


def test_gestures_are_different_and_periodic() -> None:
    phase, size = torch.linspace(0, 2 * torch.pi, 9), torch.ones(9)
    every = [gesture(k, phase, size) for k in range(4)]
    assert all(angles.shape == (9, 8) for angles in every)
    for angles in every:
        torch.testing.assert_close(angles[0], angles[-1], rtol=0, atol=1e-5)
        assert float(angles.std(0).max()) > 0.2
    assert min(float((a - b).abs().max()) for a in every for b in every if a is not b) > 0.5


def test_parts_of_bodies() -> None:
    data = BodyParts(num_samples=4, val_size=0, eigenpairs=8, batch_size=2)
    batch = next(iter(data.train_dataloader()))
    assert batch.y.shape == (2 * len(body().vertices),)
    assert batch.y.unique().tolist() == list(range(data.num_classes))
    assert data.classes[0] == "torso"


# -- files -----------------------------------------------------------------------------------------


def cube(quads: bool = True, shift: float = 0.0) -> str:
    """An OFF file of a cube, of squares or of triangles."""
    corners = [(x + shift, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    squares = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = "".join(f"4 {' '.join(map(str, s))}\n" for s in squares)
    if not quads:
        triangles = [t for a, b, c, d in squares for t in ((a, b, c), (a, c, d))]
        faces = lines(triangles, "3 ")
    return f"OFF\n8 {faces.count(chr(10))} 0\n{lines(corners)}{faces}"


def test_surfaces_are_mended_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "cube.off").write_text(cube())
    vertices, faces, mended = read_surface(tmp_path / "cube.off")
    assert (len(vertices), len(faces)) == (8, 12)
    assert mended == ["6 faces of three and more corners cut into 12 triangles"]
    # every triangle with corners of its own, as STL has it, and a vertex that nothing uses
    corners = [VERTICES[v] for face in TETRAHEDRON for v in face]
    faces_ = [(3 * i, 3 * i + 1, 3 * i + 2) for i in range(4)]
    text = f"OFF\n13 4 0\n{lines([*corners, (9, 9, 9)])}{lines(faces_, '3 ')}"
    (tmp_path / "soup.off").write_text(text)
    vertices, faces, mended = read_surface(tmp_path / "soup.off")
    assert mended == [
        "8 vertices joined with others in their place",
        "1 vertices without a face left out",
    ]
    check_manifold(vertices, faces)
    assert sorted(vertices.tolist()) == sorted([float(c) for c in v] for v in VERTICES)
    first, second, _ = read_surface(tmp_path / "soup.off")
    assert torch.equal(first, vertices)
    assert torch.equal(second, faces)
    (tmp_path / "fine.ply").write_text(ply())
    assert read_surface(tmp_path / "fine.ply")[2] == []
    (tmp_path / "beyond.ply").write_text(ply().replace("3 1 2 3", "3 1 2 7"))
    with pytest.raises(DataError, match=r"beyond\.ply: faces name vertices 0 to 7, there are 4"):
        read_surface(tmp_path / "beyond.ply")


def write_folder(path: Path) -> Path:
    for name, size in (("cube", 1.0), ("tetra", 2.0)):
        (path / name).mkdir(parents=True)
        for i in range(4):
            text = cube(False, float(i)) if name == "cube" else off(size + i)
            (path / name / f"{i}.off").write_text(text)
    return path


def test_a_folder_of_meshes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes")
    options: dict[str, Any] = {"eigenpairs": 2, "val_size": 0, "root": str(tmp_path / "root")}
    data = MeshFolder(str(folder), train_per_class=3, **options)
    assert data.num_classes == 2
    assert data.classes == ["cube", "tetra"]
    train, test = data.split("train"), data.split("test")
    assert [int(m.y) for m in train] == [0, 0, 0, 1, 1, 1]
    assert [int(m.y) for m in test] == [0, 1]
    # cubes differ by where they are, which does not count; the operators are kept by content
    torch.testing.assert_close(train[0].pos, train[1].pos)
    assert len(list((tmp_path / "root" / "operators").iterdir())) == 8
    assert not list((tmp_path / "root" / "operators").glob("*.partial"))


def test_operators_are_computed_once_for_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat, faces = sheet(CUTS["strip"], 1)
    one = cached_operators(tmp_path / "operators", flat, faces, 5)

    def never(*_: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr("datamodules.meshes.spectral_operators", never)
    again = cached_operators(tmp_path / "operators", flat, faces, 5)
    torch.testing.assert_close(again.eigenvectors.double(), one.eigenvectors, rtol=1e-6, atol=1e-6)
    for change in ((flat + 0.1, faces, 5), (flat, faces.roll(1, 0), 5), (flat, faces, 6)):
        with pytest.raises(AssertionError, match="computed again"):
            cached_operators(tmp_path / "operators", *change)
    monkeypatch.setattr("datamodules.meshes.spectral_operators", spectral_operators)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot keep operators in .*file"):
        cached_operators(tmp_path / "file", flat, faces, 5)


FAULTS = {
    "broken": ("OFF\nthree", "not a readable mesh"),
    "empty": ("OFF\n4 0 0\n" + lines(VERTICES), "has no faces"),
    "beyond": (off().replace("3 1 2 3", "3 1 2 7"), "not a readable mesh: .* outside the range"),
    "crowded": (
        f"OFF\n5 5 0\n{lines([*VERTICES, (5, 5, 5)])}{lines([*TETRAHEDRON, (0, 1, 4)], '3 ')}",
        r"non-manifold: the edge \[0, 1\] belongs to 3 faces",
    ),
    "small": (off(), "3 eigenfunctions need a mesh of 5 vertices, it has 4"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore:left out")
def test_a_file_that_is_no_surface_stops_or_is_skipped(tmp_path: Path, fault: str) -> None:
    text, message = FAULTS[fault]
    folder = tmp_path / "shapes"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            (folder / name / f"{i}.off").write_text(cube(False, float(i)))
    (folder / "a" / "2.off").write_text(text)
    options: dict[str, Any] = {
        "eigenpairs": 3, "train_per_class": 3, "val_size": 0, "root": str(tmp_path / "root"),
    }  # fmt: skip

    def load(on_error: str) -> int:
        data = MeshFolder(str(folder), on_error=on_error, **options)
        return len(data.split("train")) + len(data.split("test"))

    with pytest.raises(DataError, match=message) as caught:
        load("stop")
    assert "2.off" in str(caught.value)
    assert "--data.on_error skip leaves out such files" in str(caught.value)
    with pytest.warns(UserWarning, match=r"left out: .*2\.off"):
        assert load("skip") == 7


def test_pieces_are_said(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes")
    corners = [*VERTICES, *[tuple(c + 9 for c in v) for v in VERTICES]]
    faces = [*TETRAHEDRON, *[tuple(c + 4 for c in f) for f in TETRAHEDRON]]
    text = f"OFF\n8 8 0\n{lines(corners)}{lines(faces, '3 ')}"
    for i in range(4):
        (folder / "tetra" / f"{i}.off").write_text(text)
    data = MeshFolder(str(folder), eigenpairs=2, root=str(tmp_path / "root"), train_per_class=2)
    with pytest.warns(UserWarning, match="it is in 2 pieces, between which nothing flows"):
        data.setup()


def test_bad_options(tmp_path: Path) -> None:
    for options, message in (
        ({"up": "w"}, "unknown axis 'w'; choose from x, y, z"),
        ({"on_error": "ask"}, "unknown on_error 'ask'; .*choose from stop, skip"),
        ({"rotate": "twice"}, "unknown rotation 'twice'; choose from none, upright, any"),
        ({"eigenpairs": 0}, "eigenpairs must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            MeshFolder(str(tmp_path), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown poses 'torn'; choose from rolled, folded"):
        Isometric(poses="torn")
    with pytest.raises(DataError, match="val_size=9 leaves nothing of 8 training meshes"):
        Isometric(num_samples=8, val_size=9).setup("fit")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere \(--data.path\)"):
        MeshFolder(str(tmp_path / "nowhere")).setup("fit")
