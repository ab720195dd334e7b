"""Tables with the labels of images: formats, matching of files, faults, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import ImageFolder
from datamodules.image_labels import ImageLabels, read_image_labels
from tests.datamodules.test_image_folder import write_image
from zoo.errors import DataError, InputError

FILES = ("a.png", "b.png", "sub/c.png")


def read(folder: Path, text: str, **options: Any) -> ImageLabels:
    """Read a table of labels of three files."""
    (folder / "labels.csv").write_text(text)
    return read_image_labels(
        folder / "labels.csv", folder, [folder / name for name in FILES], **options
    )


def labels(folder: Path, text: str, **options: Any) -> list[tuple[str, ...]]:
    table = read(folder, text, **options)
    return [table.labels.get(folder / name, ()) for name in FILES]


@pytest.mark.parametrize(
    "text",
    [
        "file,labels\na.png,cat|dog\nb.png,\nsub/c.png,dog\n",
        "image;tags\na.png;cat,dog\nc.png;dog\nb.png;\n",
        'photo,what\na,"dog;cat"\nb,\nc,dog\n',
        "Filename\tcat\tdog\na.png\t1\t1\nb.png\t0\t0\nsub\\c.png\t0\t1\n",
        "id,cat,dog\na,true,True\nb,false,False\nc,False,TRUE\n",
        "file,label\na.png,cat\na.png,dog\nc.png,dog\nb.png,\n",
    ],
)
def test_formats(tmp_path: Path, text: str) -> None:
    assert labels(tmp_path, text) == [("cat", "dog"), (), ("dog",)]
    assert read(tmp_path, text).names == ["cat", "dog"]


def test_labels_that_contain_spaces(tmp_path: Path) -> None:
    text = "file,labels\na.png,hot dog\nb.png,cat\nc.png,cat\n"
    with pytest.warns(UserWarning, match="spaces in the column 'labels' are part of the labels"):
        assert labels(tmp_path, text) == [("hot dog",), ("cat",), ("cat",)]
    assert labels(tmp_path, text, separator=" ")[0] == ("dog", "hot")


def test_other_columns_are_named(tmp_path: Path) -> None:
    text = "file,width,cat,dog\na.png,640,1,0\nb.png,320,0,1\nc.png,320,1,1\n"
    with pytest.warns(UserWarning, match="columns that are not labels are left out: width"):
        assert labels(tmp_path, text) == [("cat",), ("dog",), ("cat", "dog")]
    with pytest.raises(
        DataError, match=r"has no column of labels \(columns: file, x, y\): name it"
    ):
        read(tmp_path, "file,x,y\na.png,5,cat\n")


def test_files_that_do_not_exist_are_named(tmp_path: Path) -> None:
    text = "file,labels\na.png,cat\nx.png,dog\ny.png,emu\n"
    with pytest.raises(
        DataError,
        match=r"labels\.csv, line 3, column 'file': there is no image "
        r"'x\.png' in .* \(and 1 more\) \(--data\.on_error skip leaves out such",
    ):
        read(tmp_path, text)
    with pytest.warns(UserWarning, match=r"rows whose image is not in .* are left out \(2\), such"):
        assert labels(tmp_path, text, skip_missing=True) == [("cat",), (), ()]


def test_ambiguous_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,labels\n1.png,cat\n")
    files = [tmp_path / "a/1.png", tmp_path / "b/1.png"]
    with pytest.raises(DataError, match=r"'1\.png' can be a/1\.png or b/1\.png: write the path"):
        read_image_labels(tmp_path / "labels.csv", tmp_path, files)


# -- ImageFolder -----------------------------------------------------------------------------------


def pictures(folder: Path, count: int = 40, first: int = 0) -> Path:
    """Write images whose red and green channels are their labels, and the table of the labels."""
    rows = []
    for number in range(first, first + count):
        red, green = number % 2, number // 2 % 2
        write_image(folder / f"{number:02d}.png", (200 * red, 200 * green, number))
        names = [name for name, present in (("red", red), ("green", green)) if present]
        rows.append(f"{number:02d}.png,{'|'.join(names)}\n")
    (folder / "labels.csv").write_text("file,labels\n" + "".join(rows))
    return folder


def make(folder: Path, **options: Any) -> ImageFolder:
    options = {"labels": str(folder / "labels.csv"), "size": 8, **options}
    return ImageFolder(str(folder), root=str(folder.parent / "root"), **options)


def test_several_labels(tmp_path: Path) -> None:
    data = make(pictures(tmp_path / "x"))
    assert (data.num_classes, data.class_names) == (2, ["green", "red"])
    for name, count in (("train", 28), ("val", 8), ("test", 4)):
        x, y = data.split(name)
        assert y.dtype == torch.float32
        assert y.shape == (count, 2)
        assert torch.equal(y, (x[:, [1, 0], 0, 0] > 100).float())


def test_one_label_for_each_image_is_its_class(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "x")
    rows = [f"{n:02d},{'cat' if n < 30 else 'dog'}\n" for n in range(40)]
    (folder / "labels.csv").write_text("id,label\n" + "".join(rows))
    data = make(folder)
    sizes = [data.split(name)[1].bincount().tolist() for name in ("train", "val", "test")]
    assert sizes == [[21, 7], [6, 2], [3, 1]]
    assert data.class_names == ["cat", "dog"]
    many = make(folder, multi_label=True)
    assert torch.equal(many.split("test")[1].sum(1), torch.ones(4))
    with pytest.raises(DataError, match=r"line 2: 00\.png must have one label, found none"):
        _ = make(pictures(tmp_path / "y"), multi_label=False).num_classes
    with pytest.raises(InputError, match="multi_label needs a table with the labels"):
        ImageFolder(str(folder), multi_label=True)


def test_images_without_a_row_and_labels_without_images_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "x")
    write_image(folder / "new.png", (0, 0, 0))
    with (folder / "labels.csv").open("a") as table:
        table.write("39.png,rare\n")
    data = make(folder)
    with pytest.warns(UserWarning, match="images") as caught:
        sizes = [len(data.split(name)[0]) for name in ("train", "val", "test")]
    assert sizes == [28, 8, 4]
    messages = [str(warning.message) for warning in caught]
    assert f"images without a row in {folder / 'labels.csv'} are left out (1): new.png" in messages
    assert sum("split has no images of" in m and "rare" in m for m in messages) == 2
    assert len(data.split("predict")[0]) == 41


def test_balanced_weights_of_labels(tmp_path: Path) -> None:
    data = make(pictures(tmp_path / "x"), class_weights="balanced")
    present = data.split("train")[1].double().sum(0)
    assert data.class_weights == pytest.approx(((28 - present) / present).tolist())


def test_checkpoints_keep_the_labels(tmp_path: Path) -> None:
    state = make(pictures(tmp_path / "x")).state_dict()
    other = make(pictures(tmp_path / "y", 6, first=50))
    (tmp_path / "y" / "labels.csv").write_text(
        "file,labels\n" + "".join(f"{n},red\n" for n in range(50, 56))
    )
    other.load_state_dict(state)
    with pytest.warns(UserWarning, match="all its images are tested|no images of green"):
        _, y = other.split("test")
    assert y.tolist() == [[0.0, 1.0]] * 6
    with (tmp_path / "y" / "labels.csv").open("a") as table:
        table.write("50,blue\n")
    other = make(tmp_path / "y")
    other.load_state_dict(state)
    with pytest.raises(
        DataError,
        match=r"line 2: the model was not trained on the label 'blue' "
        r"\(it knows green, red\)",
    ):
        other.split("test")
    unlabeled = make(tmp_path / "y", labels=None)
    unlabeled.load_state_dict(state)
    assert [tuple(t.shape) for t in unlabeled.split("predict")] == [(6, 3, 8, 8), (6, 2)]
    assert unlabeled.num_classes == 2
    with pytest.raises(DataError, match=r"give a table with those of the images \(--data.labels\)"):
        unlabeled.split("test")


@pytest.mark.parametrize("names", [("red", "green|red"), ("red", "green")])
def test_new_images_are_predicted_without_the_table_of_the_training_images(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    folder = pictures(tmp_path / "x")
    rows = "".join(f"{n:02d}.png,{names[n % 2]}\n" for n in range(40))
    (folder / "labels.csv").write_text("file,labels\n" + rows)
    state = make(folder).state_dict()
    other = make(pictures(tmp_path / "y", 3, first=50), labels=str(folder / "labels.csv"))
    other.load_state_dict(state)
    _, y = other.split("predict")
    assert y.tolist() == ([[0.0, 0.0]] * 3 if "|" in names[1] else [0] * 3)
    assert other.prediction_ids() == {"file": ["50.png", "51.png", "52.png"]}
    assert other.class_names == ["green", "red"]
