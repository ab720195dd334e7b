"""Data modules of meshes: isometric sheets, body parts, folders, faulty files, cached operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import BodyParts, Isometric, MeshFolder
from datamodules.articulated_body import (
    BONES,
    JOINTS,
    MOVEMENTS,
    axis_rotation,
    build_body,
    movement_angles,
    pose_body,
)
from datamodules.isometric import OUTLINES, make_sheet
from datamodules.mesh_files import read_surface
from datamodules.meshes import cached_operators
from tests.datamodules.test_point_folder import TETRAHEDRON, VERTICES, lines, off
from zoo.errors import DataError, InputError
from zoo.functional.meshes import (
    area_weighted_face_normals,
    check_manifold,
    connected_components,
    edge_lengths,
    edges_with_face_counts,
    face_areas,
    mesh_edges,
)
from zoo.functional.spectral import spectral_operators

# -- sheets ----------------------------------------------------------------------------------------


def test_sheets_are_bent_without_stretching() -> None:
    data = Isometric(num_samples=16)
    for train in (True, False):
        for mesh in data.load(train):
            flat, faces = make_sheet(list(OUTLINES.values())[int(mesh.y)], data.subdivisions)
            edges = mesh_edges(faces)
            assert torch.equal(mesh.face.T, faces)
            torch.testing.assert_close(
                edge_lengths(mesh.pos, edges), edge_lengths(flat, edges), rtol=0, atol=1e-10
            )
            assert float(mesh.pos[:, 2].std()) > 0.1  # it leaves the plane


def test_training_sheets_are_rolled_and_test_sheets_folded() -> None:
    data = Isometric(num_samples=16)

    def largest_crease(mesh: Any) -> float:
        """Return the largest angle between adjacent faces, in radians."""
        normals = area_weighted_face_normals(mesh.pos, mesh.face.T)
        normals = normals / normals.norm(dim=1, keepdim=True)
        sides = mesh.face.T[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(1).values
        _, edge = sides.unique(dim=0, return_inverse=True)
        order = edge.argsort()
        shared = edge[order][1:] == edge[order][:-1]
        first, second = order[:-1][shared] // 3, order[1:][shared] // 3
        return float((normals[first] * normals[second]).sum(1).clamp(-1, 1).acos().max())

    assert all(largest_crease(mesh) < 0.6 for mesh in data.load(True))
    assert all(largest_crease(mesh) > 0.75 for mesh in data.load(False))
    rolled = Isometric(num_samples=16, test_poses="rolled").load(False)
    assert all(largest_crease(mesh) < 0.6 for mesh in rolled)


def test_batches_of_meshes() -> None:
    data = Isometric(num_samples=32, batch_size=4, val_size=8)
    assert data.class_names == list(OUTLINES)
    assert data.num_classes == 8
    batch = next(iter(data.train_dataloader()))
    assert batch.num_graphs == 4
    total = batch.num_nodes
    assert batch.pos.shape == (total, 3)
    assert batch.mass.shape == (total,)
    assert batch.eigenvalues.shape == (4, 32)
    assert batch.eigenvectors.shape == (total, 32)
    assert batch.grad.shape == (batch.grad_index.shape[1], 2)
    torch.testing.assert_close(batch.mass.sum(), torch.tensor(4.0))  # each has area 1
    for i in range(4):
        rows = batch.batch == i
        ends = batch.batch[batch.grad_index]
        assert bool((ends[0] == ends[1]).all())  # no gradient from one mesh to another
        area = face_areas(batch.pos, batch.face.T)[batch.batch[batch.face[0]] == i].sum()
        assert float(area) == pytest.approx(1, abs=1e-4)
        assert float(batch.pos[rows].norm(dim=1).max()) < 3


def test_training_rotations_vary_and_evaluation_rotations_are_fixed() -> None:
    data = Isometric(num_samples=16, batch_size=8, val_size=8)
    loader = data.train_dataloader()
    first, again = next(iter(loader)), next(iter(data.train_dataloader()))
    torch.testing.assert_close(first.pos, again.pos)  # the same seed, the same rotations
    list(loader)
    later = next(iter(loader))
    assert not torch.allclose(first.rotation, later.rotation)
    evaluated = [next(iter(data.val_dataloader())).pos for _ in range(2)]
    assert torch.equal(*evaluated)
    unrotated = Isometric(num_samples=16, rotate="none")
    stored = unrotated.split("test")[0]
    served = next(iter(unrotated.test_dataloader())).get_example(0)
    torch.testing.assert_close(served.pos, stored.pos)


# -- the body --------------------------------------------------------------------------------------


def test_the_body_is_one_closed_surface() -> None:
    rest = build_body()
    check_manifold(rest.vertices, rest.faces)
    assert int(connected_components(rest.faces, len(rest.vertices)).max()) == 0
    assert bool((edges_with_face_counts(rest.faces)[1] == 2).all())
    a, b, c = rest.vertices[rest.faces].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    assert 0.1 < float(volume) < 0.15  # positive: faces point outward
    torch.testing.assert_close(rest.weights.sum(1), torch.ones(len(rest.vertices)).double())


def test_a_joint_rotates_the_bones_below_it() -> None:
    rest = build_body()
    torch.testing.assert_close(pose_body(torch.zeros(1, 8))[0], rest.vertices)
    angles = torch.zeros(1, 8)
    angles[0, 0] = 0.5  # the left shoulder
    posed = pose_body(angles)[0]
    moved = (posed - rest.vertices).norm(dim=1)
    arm = rest.weights[:, [2, 3]].sum(1)
    assert float(moved[arm < 1e-6].max()) < 1e-5
    hand = int((rest.vertices[:, 0]).argmax())
    # the hand rotates rigidly about the shoulder
    pivot = torch.tensor(BONES[JOINTS[0]].start, dtype=torch.float64)
    axis = BONES[JOINTS[0]].axis
    assert axis is not None
    rotation = axis_rotation(axis, torch.tensor([0.5], dtype=torch.float64))[0]
    expected = pivot + rotation @ (rest.vertices[hand] - pivot)
    torch.testing.assert_close(posed[hand], expected, rtol=0, atol=1e-4)
    assert float(posed[hand, 2]) > float(rest.vertices[hand, 2])  # the arm is raised


def test_movements_are_different_and_periodic() -> None:
    phase, amplitude = torch.linspace(0, 2 * torch.pi, 9), torch.ones(9)
    movements = [movement_angles(name, phase, amplitude) for name in MOVEMENTS]
    assert len(movements) == 4
    assert all(angles.shape == (9, 8) for angles in movements)
    for angles in movements:
        torch.testing.assert_close(angles[0], angles[-1], rtol=0, atol=1e-5)
        assert float(angles.std(0).max()) > 0.2
    distances = [(a - b).abs().max() for a in movements for b in movements if a is not b]
    assert float(min(distances)) > 0.5


def test_body_parts() -> None:
    data = BodyParts(num_samples=4, val_size=0, eigenpairs=8, batch_size=2)
    batch = next(iter(data.train_dataloader()))
    assert batch.y.shape == (2 * len(build_body().vertices),)
    assert batch.y.unique().tolist() == list(range(data.num_classes))
    assert data.class_names[0] == "torso"


# -- files -----------------------------------------------------------------------------------------


def cube(quads: bool = True, shift: float = 0.0) -> str:
    """Return the text of an OFF file: a cube of squares or triangles."""
    corners = [(x + shift, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    squares = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = "".join(f"4 {' '.join(map(str, s))}\n" for s in squares)
    if not quads:
        triangles = [t for a, b, c, d in squares for t in ((a, b, c), (a, c, d))]
        faces = lines(triangles, "3 ")
    return f"OFF\n8 {faces.count(chr(10))} 0\n{lines(corners)}{faces}"


def test_repairs_of_surfaces_are_described(tmp_path: Path) -> None:
    (tmp_path / "cube.off").write_text(cube())
    vertices, faces, repairs = read_surface(tmp_path / "cube.off")
    assert (len(vertices), len(faces)) == (8, 12)
    assert repairs == {"polygons cut into triangles": 6}
    # a triangle soup, as in STL files: no shared vertices, and one without a face
    corners = [VERTICES[v] for face in TETRAHEDRON for v in face]
    separate = [(3 * i, 3 * i + 1, 3 * i + 2) for i in range(4)]
    text = f"OFF\n13 4 0\n{lines([*corners, (9, 9, 9)])}{lines(separate, '3 ')}"
    (tmp_path / "soup.off").write_text(text)
    vertices, faces, repairs = read_surface(tmp_path / "soup.off")
    assert repairs == {"duplicate vertices merged": 8, "vertices without a face removed": 1}
    check_manifold(vertices, faces)
    assert sorted(vertices.tolist()) == sorted([float(c) for c in v] for v in VERTICES)
    again = read_surface(tmp_path / "soup.off")
    assert torch.equal(again[0], vertices)
    assert torch.equal(again[1], faces)


def write_folder(path: Path) -> Path:
    """Write a folder with two classes of four meshes each."""
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
    assert data.class_names == ["cube", "tetra"]
    train, test = data.split("train"), data.split("test")
    assert [int(m.y) for m in train] == [0, 0, 0, 1, 1, 1]
    assert [int(m.y) for m in test] == [0, 1]
    # the cubes differ in position, which normalization removes; operators are cached by content
    torch.testing.assert_close(train[0].pos, train[1].pos)
    assert len(list((tmp_path / "root" / "operators").iterdir())) == 8
    assert not list((tmp_path / "root" / "operators").glob("*.partial"))


def test_operators_are_computed_once_for_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat, faces = make_sheet(OUTLINES["strip"], 1)
    computed = cached_operators(tmp_path / "operators", flat, faces, 5)

    def fail(*_: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr("datamodules.meshes.spectral_operators", fail)
    read = cached_operators(tmp_path / "operators", flat, faces, 5)
    torch.testing.assert_close(
        read.eigenvectors.double(), computed.eigenvectors, rtol=1e-6, atol=1e-6
    )
    for change in ((flat + 0.1, faces, 5), (flat, faces.roll(1, 0), 5), (flat, faces, 6)):
        with pytest.raises(AssertionError, match="computed again"):
            cached_operators(tmp_path / "operators", *change)
    monkeypatch.setattr("datamodules.meshes.spectral_operators", spectral_operators)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"cannot write .*file/.*\.pt: .*, or choose another --data\.root"
    ):
        cached_operators(tmp_path / "file", flat, faces, 5)


def test_a_damaged_cache_names_the_file_to_delete(tmp_path: Path) -> None:
    flat, faces = make_sheet(OUTLINES["strip"], 1)
    cached_operators(tmp_path, flat, faces, 5)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for contents in (b"", whole[:200], whole[:-100], b"\x80\x02.", bytes(flipped)):
        file.write_bytes(contents)
        with pytest.raises(InputError, match=rf"{file.name} are damaged \(.*delete this file and"):
            cached_operators(tmp_path, flat, faces, 5)
    file.unlink()
    cached_operators(tmp_path, flat, faces, 5)


def trained_folder(tmp_path: Path, **options: Any) -> tuple[MeshFolder, dict[str, Any]]:
    options = {"eigenpairs": 2, "val_size": 0, "root": str(tmp_path / "root")} | options
    data = MeshFolder(str(write_folder(tmp_path / "shapes")), train_per_class=3, **options)
    data.setup("fit")
    return data, data.state_dict()


def restored(path: Path, state: dict[str, Any], tmp_path: Path) -> MeshFolder:
    data = MeshFolder(str(path), eigenpairs=2, val_size=0, root=str(tmp_path / "root"))
    data.load_state_dict(state)
    return data


@pytest.mark.filterwarnings("ignore:train_per_class=3 of the checkpoint")
def test_classes_of_other_folders_are_matched_by_name(tmp_path: Path) -> None:
    data, state = trained_folder(tmp_path)
    again = restored(tmp_path / "shapes", state, tmp_path)
    names = [mesh.name for mesh in data.split("test")]
    assert [mesh.name for mesh in again.split("test")] == names  # the split of the training
    # a folder that has only the second class: its index stays 1
    (tmp_path / "other" / "tetra").mkdir(parents=True)
    for i in range(6):
        (tmp_path / "other" / "tetra" / f"{i}.off").write_text(off(20.0 + i))
    other = restored(tmp_path / "other", state, tmp_path)
    with pytest.warns(UserWarning, match="is not the training data: all its meshes are tested"):
        tested = other.split("test")
    assert [int(mesh.y) for mesh in tested] == [1] * 6
    assert other.class_names == ["cube", "tetra"]
    (tmp_path / "other" / "tetra").rename(tmp_path / "other" / "zebra")
    with pytest.raises(DataError, match="zebra"):
        restored(tmp_path / "other", state, tmp_path).split("test")
    torch.save(state, tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    assert read["learned"]["class_names"] == ["cube", "tetra"]


@pytest.mark.filterwarnings("ignore:train_per_class=3 of the checkpoint")
def test_predict_takes_any_meshes_without_classes(tmp_path: Path) -> None:
    _, state = trained_folder(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "one.off").write_text(cube())
    data = restored(tmp_path / "new", state, tmp_path)
    with pytest.warns(UserWarning, match=r"6 polygons cut into triangles \(.*one\.off\)"):
        batch = next(iter(data.predict_dataloader()))
    assert (batch.num_graphs, data.num_classes) == (1, 2)
    assert data.prediction_ids() == {"file": ["one.off"]}
    everything = restored(tmp_path / "shapes", state, tmp_path)
    assert everything.prediction_ids()["file"] == [
        f"{name}/{i}.off" for name in ("cube", "tetra") for i in range(4)
    ]


def test_an_unwritable_cache_is_not_a_fault_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "operators").write_text("a file where the folder should be")
    data = MeshFolder(
        str(write_folder(tmp_path / "shapes")), on_error="skip", eigenpairs=2, root=str(tmp_path)
    )
    with pytest.raises(InputError, match=r"cannot write .*operators/.*\.pt: File exists") as caught:
        data.setup()
    assert not isinstance(caught.value, DataError)


FAULTS = {
    "broken": ("OFF\nthree", "line 2: expected an integer, got 'three'"),
    "empty": ("OFF\n4 0 0\n" + lines(VERTICES), "has no faces"),
    "beyond": (off().replace("3 1 2 3", "3 1 2 7"), "face 3 refers to vertex 7, but the vertices"),
    "points": (
        off(0.0),
        "every face repeats a vertex, so the surface has no area",
    ),
    "crowded": (
        f"OFF\n5 5 0\n{lines([*VERTICES, (5, 5, 5)])}{lines([*TETRAHEDRON, (0, 1, 4)], '3 ')}",
        r"non-manifold: the edge \[0, 1\] belongs to 3 faces",
    ),
    "small": (off(), "3 eigenpairs need at least 5 vertices, the mesh has 4"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore:left out")
def test_a_faulty_file_stops_or_is_skipped(tmp_path: Path, fault: str) -> None:
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


def test_connected_components_are_reported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes")
    corners = [*VERTICES, *[tuple(c + 9 for c in v) for v in VERTICES]]
    faces = [*TETRAHEDRON, *[tuple(c + 4 for c in f) for f in TETRAHEDRON]]
    text = f"OFF\n8 8 0\n{lines(corners)}{lines(faces, '3 ')}"
    for i in range(4):
        (folder / "tetra" / f"{i}.off").write_text(text)
    data = MeshFolder(str(folder), eigenpairs=2, root=str(tmp_path / "root"), train_per_class=2)
    with pytest.warns(UserWarning, match=r"2 parts apart from the first, .* \(2 files, first "):
        data.setup()


def test_bad_arguments(tmp_path: Path) -> None:
    for options, message in (
        ({"up": "w"}, "unknown up axis 'w'; choose from x, y, z"),
        ({"on_error": "never"}, "unknown on_error 'never'; choose from stop, skip"),
        ({"rotate": "twice"}, "unknown rotate 'twice'; choose from none, upright, any"),
        ({"rotate_training": "twice"}, "unknown rotate_training 'twice'; choose from none, up"),
        ({"eigenpairs": 0}, "eigenpairs must be at least 1, got 0"),
        ({"val_size": -1}, "val_size must not be negative, got -1"),
        ({"train_per_class": 0}, "train_per_class must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            MeshFolder(str(tmp_path), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown test_poses 'torn'; choose from rolled, folded"):
        Isometric(test_poses="torn")
    with pytest.raises(InputError, match="subdivisions must be at least 1, got 0"):
        Isometric(subdivisions=0)
    for make in (Isometric, BodyParts):
        with pytest.raises(InputError, match="num_samples must be at least 2, got 1"):
            make(num_samples=1)
    with pytest.raises(InputError, match="noise must not be negative, got -1"):
        BodyParts(noise=-1)
    with pytest.raises(DataError, match="val_size=9 leaves none of 8 samples for training"):
        Isometric(num_samples=8, val_size=9).setup("fit")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere \(--data.path\)"):
        MeshFolder(str(tmp_path / "nowhere")).setup("fit")
