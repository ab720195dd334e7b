"""Meshes that share a template: the articulated body, sequences from files, faulty files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import Articulated, MeshSequence
from datamodules.articulated_body import MOVEMENTS, build_body, pose_body
from datamodules.isometric import OUTLINES, make_sheet, roll
from tests.datamodules.test_point_folder import lines
from zoo.errors import DataError, InputError
from zoo.functional.templates import unpack_template


def test_body_meshes_are_posed_by_known_angles() -> None:
    data = Articulated(num_samples=40, batch_size=8, val_size=8)
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (8, *data.input_shape) == (8, len(build_body().vertices), 3)
    assert y.dtype == torch.int64
    assert data.class_names == list(MOVEMENTS)
    assert data.num_classes == len(MOVEMENTS)
    angles, movements = data.angles(False)
    stored, labels = data.split("test")
    assert torch.equal(labels, movements)
    torch.testing.assert_close(stored, data.normalize(pose_body(angles)))
    # the mean square deviation from the mean training mesh is 1
    training, _ = data.load(True)
    assert float((training - training.mean(0)).square().mean()) == pytest.approx(1, abs=1e-4)
    vertices, faces = unpack_template(data.template)
    torch.testing.assert_close(vertices, training.mean(0), rtol=0, atol=1e-5)
    assert torch.equal(faces, build_body().faces)
    assert not torch.allclose(data.angles(True)[0][:10], angles[:10])


def write_sequence(path: Path, frames: int = 12, **changes: Any) -> Path:
    """Write an npz file of rolled sheets; ``changes`` replace its arrays, None removes one."""
    flat, faces = make_sheet(OUTLINES["strip"], 1)
    generator = torch.Generator().manual_seed(0)
    verts = torch.stack([roll(flat, generator) for _ in range(frames)])
    arrays = {"verts": verts.float().numpy(), "faces": faces.int().numpy()} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_sequence_from_file_and_from_folder(tmp_path: Path) -> None:
    path = write_sequence(tmp_path / "roll.npz")
    data = MeshSequence(str(path), test_every=4, val_size=2, batch_size=4)
    assert data.split("test")[1].tolist() == [3, 7, 11]
    assert len(data.split("train")[1]) == 7
    assert data.input_shape == (52, 3)
    folder = tmp_path / "frames"
    folder.mkdir()
    vertices, faces = data.frames, data.faces
    for i, frame in enumerate(vertices):
        text = f"OFF\n52 {len(faces)} 0\n{lines(frame.tolist())}{lines(faces.tolist(), '3 ')}"
        (folder / f"{i:02}.off").write_text(text)
    again = MeshSequence(str(folder), test_every=4, val_size=2, batch_size=4)
    torch.testing.assert_close(again.load(True)[0], data.load(True)[0], rtol=0, atol=1e-4)
    rotated = MeshSequence(str(path), up="y")
    torch.testing.assert_close(rotated.frames, vertices[:, :, (2, 0, 1)])


BAD = {
    "no verts": ({"verts": None}, "has no array 'verts'"),
    "flat": (
        {"verts": np.zeros((12, 52, 2))},
        r"'verts' must have shape \(T, V, 3\), got \(12, 52, 2\)",
    ),
    "quads": ({"faces": np.zeros((5, 4), int)}, r"'faces' must have shape \(F, 3\), got \(5, 4\)"),
    "nan": ({"verts": np.full((12, 52, 3), np.nan)}, "frame 0 has a coordinate that is not finite"),
    "beyond": (
        {"faces": np.array([[0, 1, 52]])},
        "face 0 refers to vertex 52, but the vertices are 0 to 51",
    ),
    "words": ({"faces": np.array([["a", "b", "c"]])}, "'faces' must contain numbers, got <U1"),
    "points": ({"faces": np.zeros((0, 3), int)}, "the meshes have no faces"),
    "one point": ({"verts": np.ones((12, 52, 3))}, "every face repeats a vertex in every frame"),
    "still": (
        {"verts": np.tile(np.random.default_rng(0).random((52, 3)), (12, 1, 1))},
        "all 9 training meshes are the same",
    ),
    "large": ({"verts": np.full((12, 52, 3), 1e38)}, r"frame 0 has the coordinate 1e\+38"),
}


@pytest.mark.parametrize("fault", BAD)
def test_faulty_files(tmp_path: Path, fault: str) -> None:
    changes, message = BAD[fault]
    path = write_sequence(tmp_path / "bad.npz", **changes)
    with pytest.raises(DataError, match=message):
        MeshSequence(str(path)).setup()


def test_paths_that_are_not_a_sequence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*nothing\.npz \(--data.path\)"):
        MeshSequence(str(tmp_path / "nothing.npz")).setup()
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="is not an npz file"):
        MeshSequence(str(tmp_path / "text.npz")).setup()
    np.save(tmp_path / "array.npy", np.zeros((12, 52, 3)))
    (tmp_path / "empty.npz").write_bytes(b"")
    whole = write_sequence(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-100])
    for name in ("array.npy", "empty.npz", "cut.npz"):
        with pytest.raises(DataError, match=f"{name} is not an npz file"):
            MeshSequence(str(tmp_path / name)).setup()
    short = write_sequence(tmp_path / "short.npz", frames=7)
    with pytest.raises(DataError, match=r"has 7 frames; --data.test_every 4 needs at least 8"):
        MeshSequence(str(short)).setup()
    with pytest.raises(InputError, match="test_every must be at least 2, got 1"):
        MeshSequence(str(short), test_every=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"contains no meshes \(\.glb, "):
        MeshSequence(str(tmp_path / "empty")).setup()


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="num_samples must be at least 3, got 2"):
        Articulated(num_samples=2)
    with pytest.raises(InputError, match="noise must not be negative, got -1"):
        Articulated(noise=-1)


def test_frames_with_another_connectivity_are_named(tmp_path: Path) -> None:
    square = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    faces = [(0, 1, 2), (0, 2, 3)]
    for i in range(8):
        (tmp_path / f"{i}.off").write_text(f"OFF\n4 2 0\n{lines(square)}{lines(faces, '3 ')}")
    (tmp_path / "5.off").write_text(f"OFF\n3 1 0\n{lines(square[:3])}{lines(faces[:1], '3 ')}")
    with pytest.raises(DataError, match=r"5\.off has 3 vertices, but 0\.off has 4"):
        MeshSequence(str(tmp_path)).setup()
    (tmp_path / "5.off").write_text(
        f"OFF\n4 2 0\n{lines(square)}{lines([(0, 1, 3), (1, 2, 3)], '3 ')}"
    )
    with pytest.raises(DataError, match=r"the faces of .*5\.off differ from those of 0\.off"):
        MeshSequence(str(tmp_path)).setup()
