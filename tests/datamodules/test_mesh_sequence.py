"""Moving meshes from folders: order, merged corners, and data read with a checkpoint's state."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import MeshSequence
from tests.datamodules.test_point_folder import lines
from zoo.errors import DataError
from zoo.functional.meshes import face_areas
from zoo.functional.templates import unpack_template

SIDE = 7  # vertices along each side of a sheet


def sheet(time: float) -> tuple[list[list[float]], list[list[int]]]:
    """Return a waving sheet: 49 vertices and 72 triangles, 216 corners."""
    vertices = [
        [100 + 3 * i, 3 * j, 5 * math.sin(0.7 * i + time)]
        for i in range(SIDE) for j in range(SIDE)
    ]  # fmt: skip
    faces = []
    for i in range(SIDE - 1):
        for j in range(SIDE - 1):
            a, b = i * SIDE + j, (i + 1) * SIDE + j
            faces += [[a, b, b + 1], [a, b + 1, a + 1]]
    return vertices, faces


def write_frame(path: Path, time: float, flip: bool = False) -> None:
    """Write a frame as OFF, OBJ with texture corners, or ASCII or binary STL."""
    vertices, faces = sheet(time)
    if flip:
        faces = faces[::-1]
    corners = [[vertices[v] for v in face] for face in faces]
    if path.suffix == ".off":
        text = f"OFF\n{len(vertices)} {len(faces)} 0\n{lines(vertices)}{lines(faces, '3 ')}"
        path.write_text(text)
    elif path.suffix == ".obj":
        rows = [[f"{v + 1}/{3 * i + j + 1}" for j, v in enumerate(f)] for i, f in enumerate(faces)]
        textures = lines([[i / 216, 0] for i in range(216)], "vt ")
        path.write_text(lines(vertices, "v ") + textures + lines(rows, "f "))
    elif path.stem.endswith("b"):
        rows_ = [struct.pack("<12fH", 0, 0, 1, *np.ravel(c), 0) for c in corners]
        path.write_bytes(bytes(80) + struct.pack("<I", len(rows_)) + b"".join(rows_))
    else:
        facets = (
            f"facet normal 0 0 1\nouter loop\n{lines(c, 'vertex ')}endloop\nendfacet\n"
            for c in corners
        )
        path.write_text(f"solid\n{''.join(facets)}endsolid\n")


def write_folder(path: Path, suffix: str = ".off", frames: int = 12, shift: float = 0.0) -> Path:
    path.mkdir()
    for i in range(frames):
        write_frame(path / f"f{i}{suffix}", i + shift)
    return path


def waves(data: MeshSequence) -> Tensor:
    """Return the height of one vertex in every frame."""
    return data.frames[:, 0, 2]


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    data = MeshSequence(str(write_folder(tmp_path / "frames")))
    expected = [5 * math.sin(i) for i in range(12)]  # f10 and f11 come last
    assert waves(data).tolist() == pytest.approx(expected)
    names = [Path(file).name for file in data.prediction_ids()["file"]]
    assert names[:3] + names[-2:] == ["f0.off", "f1.off", "f2.off", "f10.off", "f11.off"]
    (tmp_path / "frames" / "._f0.off").write_bytes(b"a resource fork")
    assert len(MeshSequence(str(tmp_path / "frames")).frames) == 12
    write_frame(tmp_path / "frames" / "f3.obj", 3)
    with pytest.raises(DataError, match=r"two files of one frame, f3\.obj and f3\.off: keep one"):
        MeshSequence(str(tmp_path / "frames")).setup()


@pytest.mark.parametrize("suffix", [".stl", "b.stl", ".obj"])
def test_loose_corners_are_merged(tmp_path: Path, suffix: str) -> None:
    folder = write_folder(tmp_path / "frames", suffix)
    data = MeshSequence(str(folder), val_size=2)
    if suffix == ".obj":  # texture corners are no vertices
        data.setup()
    else:
        with pytest.warns(UserWarning, match="216 vertices merged to 49, as the others are at"):
            data.setup()
    assert data.input_shape == (49, 3)
    assert data.faces.shape == (72, 3)
    vertices, faces = sheet(0.0)
    expected = face_areas(torch.tensor(vertices).double(), torch.tensor(faces)).sum()
    torch.testing.assert_close(
        face_areas(data.frames[0], data.faces).sum(), expected, rtol=1e-6, atol=0
    )


def trained_state(path: Path, **options: Any) -> dict[str, Any]:
    data = MeshSequence(str(path), val_size=2, **options)
    data.setup("fit")
    return data.state_dict()


def restored(path: Path, state: dict[str, Any], **options: Any) -> MeshSequence:
    data = MeshSequence(str(path), **options)
    data.load_state_dict(state)
    return data


def test_other_frames_are_scaled_and_split_by_the_state(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "train")
    trained = MeshSequence(str(folder), val_size=2)
    state = trained.state_dict()
    # the training data keep their split, and a changed option is said
    with pytest.warns(UserWarning, match="test_every=4 of the checkpoint is used instead of 3"):
        again = restored(folder, state, test_every=3)
    assert again.split("test")[1].tolist() == [3, 7, 11]
    assert again.has_training_meshes
    # other frames are tested whole, with the scaling and the template of the training
    other = restored(write_folder(tmp_path / "other", frames=5, shift=0.5), state)
    with pytest.warns(UserWarning, match="is not the training data: all 5 frames are tested"):
        vertices, indices = other.split("test")
    assert indices.tolist() == list(range(5))
    assert not other.has_training_meshes
    torch.testing.assert_close(vertices, trained.normalize(other.frames))
    assert other.template == trained.template
    torch.testing.assert_close(
        other.to_original_units(vertices), other.frames, rtol=1e-6, atol=1e-5
    )


def test_predict_takes_any_number_of_frames(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "train")
    state = trained_state(folder)
    data = restored(folder, state)
    served = torch.cat([x for x, _ in data.predict_dataloader()])
    torch.testing.assert_close(data.to_original_units(served), data.frames, rtol=1e-6, atol=1e-5)
    one = restored(folder / "f10.off", state)
    x, _ = next(iter(one.predict_dataloader()))
    torch.testing.assert_close(x[0], served[10])
    assert one.prediction_ids() == {"file": [str(folder / "f10.off")]}
    arrays = {"verts": data.frames[:1].numpy(), "faces": data.faces.numpy()}
    np.savez(tmp_path / "one.npz", **arrays)
    file = restored(tmp_path / "one.npz", state)
    assert next(iter(file.predict_dataloader()))[0].shape == (1, 49, 3)
    assert list(file.prediction_ids()["frame"]) == [0]


@pytest.mark.filterwarnings("ignore:.*merged to 49")
def test_another_topology_is_refused(tmp_path: Path) -> None:
    state = trained_state(write_folder(tmp_path / "train", ".stl"))
    (tmp_path / "f.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    message = (
        r"f\.off has 3 vertices and 1 faces, but the model was trained on meshes of 216 vertices "
        "and 72 faces"
    )
    with pytest.raises(DataError, match=message):
        restored(tmp_path / "f.off", state).setup("predict")
    # a mesh that is merged already is read, such as one that predict has written
    write_frame(tmp_path / "merged.obj", 2.0)
    with pytest.raises(DataError, match="has 49 vertices and 72 faces, but"):
        restored(tmp_path / "merged.obj", state).setup("predict")  # in another order
    vertices, faces = unpack_template(state["learned"]["template"])
    text = f"OFF\n49 72 0\n{lines(vertices.tolist())}{lines(faces.tolist(), '3 ')}"
    (tmp_path / "merged.off").write_text(text)
    assert restored(tmp_path / "merged.off", state).frames.shape == (1, 49, 3)
    # corners that were one vertex in training
    torn = (tmp_path / "train" / "f0.stl").read_text().replace("vertex 100 0", "vertex 99 0", 1)
    (tmp_path / "torn.stl").write_text(torn)
    with pytest.raises(DataError, match=r"torn\.stl: vertices 0 and 3 are at different positions"):
        restored(tmp_path / "torn.stl", state).setup("predict")
    other_order = trained_state(write_folder(tmp_path / "off"))
    write_frame(tmp_path / "flipped.off", 0.0, flip=True)
    with pytest.raises(DataError, match="72 faces, as the training meshes, but other faces or in"):
        restored(tmp_path / "flipped.off", other_order).setup("predict")


def test_axes_are_restored(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "train")
    state = trained_state(folder, up="x")
    with pytest.warns(UserWarning, match="up=x of the checkpoint is used instead of z"):
        data = restored(folder, state)
    raw = MeshSequence(str(folder)).frames
    assert torch.equal(data.frames[..., 2], raw[..., 0])
    units = data.to_original_units(data.normalize(data.frames))
    torch.testing.assert_close(units, raw, rtol=1e-5, atol=1e-5)


def test_the_state_can_be_stored_without_code(tmp_path: Path) -> None:
    state = trained_state(write_folder(tmp_path / "train"))
    torch.save(state, tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    assert read["settings"] == {"seed": 0, "val_size": 2, "test_every": 4, "up": "z"}
    assert read["learned"]["template"] == state["learned"]["template"]
