"""Point clouds from files: formats, folder layouts, splits, faults; ModelNet's official files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import ModelNet, PointFolder
from zoo.errors import DataError, InputError

VERTICES = [(0, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1)]
TETRAHEDRON = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]


def lines(rows: Any, prefix: str = "") -> str:
    """Return the rows of a table as text, one row a line."""
    return "".join(f"{prefix}{' '.join(map(str, row))}\n" for row in rows)


def off(size: float = 1.0) -> str:
    """Return the text of an OFF file with a tetrahedron."""
    vertices = [tuple(size * v for v in vertex) for vertex in VERTICES]
    return f"OFF\n4 4 0\n{lines(vertices)}{lines(TETRAHEDRON, '3 ')}"


def folder(path: Path, splits: bool = False, count: int = 12) -> Path:
    """Write a folder with a class of tetrahedra and a class of point sets."""
    for part in ("train", "test") if splits else (".",):
        for kind in ("large", "small"):
            place = path / part / kind
            place.mkdir(parents=True)
            for i in range(count):
                text = off(1 + i) if kind == "large" else lines(VERTICES)
                (place / f"{i}.{'off' if kind == 'large' else 'xyz'}").write_text(text)
    return path


def test_meshes_and_point_sets_become_point_clouds(tmp_path: Path) -> None:
    data = PointFolder(str(folder(tmp_path)), num_points=64, stored_points=100, val_size=4)
    x, y = next(iter(data.train_dataloader()))
    assert x.shape[1:] == (64, 3)
    assert (data.class_names, data.num_classes) == (["large", "small"], 2)
    sizes = [len(data.split(name)[0]) for name in ("train", "val", "test")]
    assert sizes == [18, 4, 2]
    stored = data.split("train")[0]
    # a set of four points is sampled with repetition
    small = stored[data.split("train")[1] == 1]
    assert all(len(cloud.unique(dim=0)) == 4 for cloud in small)
    assert set(y.tolist()) == {0, 1}


def test_given_and_sampled_splits(tmp_path: Path) -> None:
    given = PointFolder(str(folder(tmp_path / "a", splits=True)), num_points=8, val_size=0)
    given.setup()
    assert [len(given.split(name)[0]) for name in ("train", "test")] == [24, 24]
    sampled = PointFolder(
        str(folder(tmp_path / "b")), train_per_class=5, num_points=8, val_size=0, seed=3
    )
    sampled.setup()
    assert sampled.split("train")[1].bincount().tolist() == [5, 5]
    assert sampled.split("test")[1].bincount().tolist() == [7, 7]
    files = [set(sampled.folders.split_files(train, sampled.seed, 5)) for train in (True, False)]
    assert not files[0] & files[1]
    too_many = PointFolder(str(tmp_path / "b"), train_per_class=12, num_points=8)
    with pytest.raises(DataError, match=r"large has 12 shapes: train_per_class=12 leaves none"):
        too_many.setup()


def test_up_axis(tmp_path: Path) -> None:
    path = folder(tmp_path)
    modules = {up: PointFolder(str(path), up=up, num_points=8) for up in ("x", "y", "z")}
    clouds = {up: data.point_clouds(True)[0] for up, data in modules.items()}
    assert torch.equal(clouds["x"][..., 2], clouds["z"][..., 0])
    assert torch.equal(clouds["y"][..., 2], clouds["z"][..., 1])
    for up in ("x", "y"):  # a rotation, not a reflection
        matrix = torch.linalg.lstsq(clouds["z"].flatten(0, 1), clouds[up].flatten(0, 1)).solution
        assert float(torch.linalg.det(matrix)) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x\.off is empty"),
        ("OFF\n4 4 0\n0 0 nan\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n",
         "vertex 0 has a coordinate that is not finite"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", r"x\.off: the surface has no area"),
    ],
)  # fmt: skip
def test_faulty_files(tmp_path: Path, text: str, message: str) -> None:
    path = folder(tmp_path, splits=True)
    (path / "train" / "large" / "x.off").write_text(text)
    with pytest.raises(DataError, match=message):
        PointFolder(str(path), num_points=8).setup()


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        PointFolder(str(tmp_path / "no")).setup()
    with pytest.raises(DataError, match=r"has 0 shapes \(\.glb, \.obj"):
        PointFolder(str(tmp_path)).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"up": "w"}, "unknown up axis 'w'; choose from x, y, z"),
        ({"task": "parts"}, "PointFolder has no part labels; set task=shapes"),
        ({"stored_points": 9}, "stored_points must be at least num_points=512, got 9"),
    ],
)
def test_bad_arguments(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PointFolder(str(tmp_path), **options)


def test_modelnet_from_official_files(tmp_path: Path) -> None:
    names = [
        "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table",
        "toilet",
    ]  # fmt: skip
    for name in names:
        for part, count in (("train", 3), ("test", 1)):
            place = tmp_path / "ModelNet10" / "raw" / name / part
            place.mkdir(parents=True)
            for i in range(count):
                (place / f"{name}_{i}.off").write_text(off())
    data = ModelNet(root=str(tmp_path), num_points=32, val_size=10)
    data.setup()
    sizes = [len(data.split(name)[0]) for name in ("train", "val", "test")]
    assert sizes == [20, 10, 10]
    assert data.num_classes == 10
    assert data.class_names == names
    forty = ModelNet("40").class_names
    assert (len(forty), len(set(forty))) == (40, 40)
    assert forty == sorted(forty)  # PyG numbers the class folders in alphabetical order
    assert set(names) < set(forty)
    assert data.split("test")[1].tolist() == list(range(10))


def test_missing_modelnet_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch_geometric.datasets.ModelNet.download", download)
    with pytest.raises(DataError, match=r"put its class folders into .*ModelNet10.raw"):
        ModelNet(root=str(tmp_path)).setup()
    with pytest.raises(InputError, match="unknown name '11'"):
        ModelNet("11")


def test_an_unreadable_file_stops_or_is_skipped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.off").write_text(off(1.0 + i))
    (tmp_path / "b" / "1.off").write_text("OFF\nthree")
    options: dict[str, Any] = {"num_points": 8, "stored_points": 8, "val_size": 0}
    with pytest.raises(
        DataError, match=r"1\.off, line 2: expected an integer.*--data.on_error skip"
    ):
        PointFolder(str(tmp_path), train_per_class=3, **options).setup()
    data = PointFolder(str(tmp_path), train_per_class=3, on_error="skip", **options)
    with pytest.warns(UserWarning, match=r"left out: .*1\.off"):
        data.setup()
    assert len(data.split("train")[0]) + len(data.split("test")[0]) == 7
    with pytest.raises(ValueError, match=r"unknown on_error 'ask'; .*choose from stop, skip"):
        PointFolder(str(tmp_path), on_error="ask")


def test_a_validation_folder_is_the_validation_split(tmp_path: Path) -> None:
    for split, count in (("Train", 5), ("Valid", 2), ("Test", 1)):
        for name in ("a", "b"):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for i in range(count):
                (place / f"{i}.off").write_text(off())
    data = PointFolder(str(tmp_path), num_points=8, stored_points=8, val_size=0.9)
    labels = {name: data.split(name)[1].tolist() for name in ("train", "val", "test")}
    assert labels == {"train": [0] * 5 + [1] * 5, "val": [0, 0, 1, 1], "test": [0, 1]}


def test_other_folders_are_read_as_the_checkpoint_tells(tmp_path: Path) -> None:
    options: dict[str, Any] = {"num_points": 8, "stored_points": 8}
    trained = PointFolder(str(folder(tmp_path / "a")), **options)
    state = trained.state_dict()
    again = PointFolder(str(tmp_path / "a"), **options)
    again.load_state_dict(state)
    assert all(map(torch.equal, again.split("test"), trained.split("test")))
    for name, size in (("small", 2.5), ("unknown", 3.5)):
        (tmp_path / "b" / name).mkdir(parents=True)
        (tmp_path / "b" / name / "0.off").write_text(off(size))
    other = PointFolder(str(tmp_path / "b"), **options)
    other.load_state_dict(state)
    with pytest.raises(DataError, match=r"the model was not trained on .*: unknown"):
        other.split("test")
    assert other.prediction_ids() == {"file": ["small/0.off", "unknown/0.off"]}
    assert len(other.split("predict")[0]) == 2
    (tmp_path / "b" / "unknown" / "0.off").unlink()
    other = PointFolder(str(tmp_path / "b"), **options)
    other.load_state_dict(state)
    with pytest.warns(UserWarning, match=r"b is not the training data: all its shapes are tested"):
        assert other.split("test")[1].tolist() == [1]
