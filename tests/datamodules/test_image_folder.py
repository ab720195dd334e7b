"""ImageFolder: splits, resizing, the cache, faulty folders."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolder, image_cache
from datamodules.image_files import ReadImage
from zoo.errors import DataError


def write_image(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (40, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(20):
        write_image(tmp_path / "pets" / "cats" / f"{number:02d}.png", (200, number, 0))
        write_image(tmp_path / "pets" / "dogs" / f"{number:02d}.png", (0, number, 200))
    return tmp_path / "pets"


def make(folder: Path, **options: object) -> ImageFolder:
    return ImageFolder(str(folder), size=16, root=str(folder.parent / "root"), **options)  # type: ignore[arg-type]


def test_classes_are_folders_and_the_split_is_70_20_10(folder: Path) -> None:
    data = make(folder)
    assert data.input_shape == (3, 16, 16)
    assert data.num_classes == 2
    assert [len(data.split(name)[0]) for name in ("train", "val", "test")] == [28, 8, 4]
    x, y = next(iter(data.train_dataloader()))
    red, blue = x[:, 0].mean((1, 2)), x[:, 2].mean((1, 2))
    assert torch.equal(red > blue, y == 0)


def test_splits_are_disjoint(folder: Path) -> None:
    data = make(folder)
    seen = [row.numpy().tobytes() for n in ("train", "val", "test") for row in data.split(n)[0]]
    assert len(set(seen)) == len(seen) == 40


def test_train_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    for number in range(6):
        for name, level in (("a", 10), ("b", 90)):
            write_image(tmp_path / "x/train" / name / f"{number}.png", (level, number, 0))
            write_image(tmp_path / "x/test" / name / f"{number}.png", (level + 100, number, 0))
    data = make(tmp_path / "x")
    assert len(data.split("test")[0]) == 12
    assert (data.split("test")[0][:, 0] >= 110).all()
    assert (data.split("train")[0][:, 0] < 110).all()


def test_images_without_classes(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / "x" / f"{number}.png", (number, 0, 0))
    data = make(tmp_path / "x", channels=1)
    assert data.split("train")[0].shape == (7, 1, 16, 16)
    with pytest.raises(AttributeError, match="has 0 class folders; at least 2 are needed"):
        _ = data.num_classes


def test_the_shorter_side_is_scaled_and_the_longer_side_is_cropped(tmp_path: Path) -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 255
    for number in range(3):
        path = tmp_path / "x" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    data = ImageFolder(str(tmp_path / "x"), size=20, root=str(tmp_path), val_size=0)
    assert (data.split("train")[0] == 255).all()


def test_images_are_resized_again_only_after_a_file_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    original = image_cache.read_image

    def counting(file: Path, *arguments: Any) -> ReadImage:
        reads.append(file)
        return original(file, *arguments)

    monkeypatch.setattr(image_cache, "read_image", counting)
    make(folder).split("train")
    assert len(reads) == 40
    make(folder).split("test")
    assert len(reads) == 40
    write_image(folder / "cats" / "00.png", (1, 2, 3))
    make(folder).split("train")
    assert len(reads) == 80


def test_a_broken_image_is_named_and_leaves_no_cache(folder: Path) -> None:
    (folder / "cats" / "07.png").write_bytes(b"not an image")
    with pytest.raises(
        DataError,
        match=r"cats/07\.png is not a readable image \(it is in no known "
        r"format\): remove it \(--data.on_error skip leaves out such files\)$",
    ):
        make(folder).split("train")
    left = (folder.parent / "root" / "image_folder").iterdir()
    assert {path.name for path in left} <= {".preparing.lock"}


def test_unreadable_images_are_left_out_and_counted(folder: Path) -> None:
    (folder / "cats" / "07.png").write_bytes(b"not an image")
    (folder / "cats" / "08.png").unlink()
    (folder / "cats" / "08.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "dogs" / "pipe.png")
    Image.new("1", (20_000, 10_000)).save(folder / "dogs" / "bomb.png")
    expected = (
        r"^left out 4 of 42 images: .*cats/07\.png is not a readable image .*; "
        r".*cats/08\.png is a link to a missing file: remove it; .*dogs/bomb\.png has more than "
        r"178 megapixels: make it smaller or remove it; and 1 more$"
    )
    for _ in range(2):  # the second time, the images are cached
        data = make(folder, on_error="skip")
        with pytest.warns(UserWarning, match=expected):
            x, y = data.split("train")
        sizes = [len(data.split(name)[0]) for name in ("train", "val", "test")]
        assert sizes == [27, 8, 3]
        assert (x.flatten(1).amax(1) > 0).all()
        assert torch.equal(x[:, 0, 0, 0] > x[:, 2, 0, 0], y == 0)
    with pytest.raises(DataError, match=r"cats/07\.png is not a readable image.*on_error skip"):
        make(folder).split("train")


def test_a_folder_of_unreadable_images_is_refused(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"")
    data = ImageFolder(str(tmp_path), root=str(tmp_path / "root"), on_error="skip")
    with pytest.raises(DataError, match=r"none of the 3 images can be read: .*a\.png is not a"):
        data.split("train")


def test_transparent_images_and_frames_are_counted(folder: Path) -> None:
    Image.new("RGBA", (9, 9), (255, 0, 0, 0)).save(folder / "cats" / "07.png")
    frames = [Image.new("L", (9, 9), level) for level in (1, 99)]
    frames[0].save(folder / "cats" / "a.gif", save_all=True, append_images=frames[1:])
    data = make(folder, background="blue")
    row = data.folders.files.index(folder / "cats" / "07.png")
    with pytest.warns(UserWarning, match="image") as caught:
        data.prepare_data()
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "transparent pixels are now blue (--data.background); images with such pixels: 1",
        "of images with several frames or pages the first is used; such images: 1",
    ]
    data.setup("predict")
    assert data.split("predict")[0][row, :, 0, 0].tolist() == [0, 0, 255]


def test_damaged_caches_are_named(folder: Path) -> None:
    make(folder).prepare_data()
    (array,) = (folder.parent / "root" / "image_folder").glob("*.npy")
    content = array.read_bytes()
    array.write_bytes(content[:500])
    with pytest.raises(DataError, match=r"cached images .*\.npy are damaged: delete this file and"):
        make(folder).split("train")
    array.write_bytes(content)
    array.with_suffix(".json").write_text("{")
    with pytest.raises(
        DataError, match=r"cached images .*\.json are damaged: delete this file and"
    ):
        make(folder).split("train")
    array.with_suffix(".json").unlink()
    assert len(make(folder).split("train")[0]) == 28


def test_a_full_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        DataError, match=r"cannot be cached in .* \(No space left on device\): choo"
    ):
        make(folder).split("train")


def test_every_class_is_in_every_split(tmp_path: Path) -> None:
    for name, count in (("a", 60), ("b", 12), ("c", 3)):
        for number in range(count):
            write_image(tmp_path / "x" / name / f"{number}.png", (number, 0, 0))
    data = make(tmp_path / "x")
    sizes = {name: data.split(name)[1].bincount().tolist() for name in ("train", "val", "test")}
    assert sizes == {"train": [43, 9, 1], "val": [12, 2, 1], "test": [5, 1, 1]}


def test_a_validation_folder_is_the_validation_split(tmp_path: Path) -> None:
    for split, count, level in (("Train", 6, 10), ("Valid", 2, 20), ("Test", 3, 30)):
        for name in ("a", "b"):
            for number in range(count):
                write_image(tmp_path / "x" / split / name / f"{number}.png", (level, number, 0))
    data = make(tmp_path / "x", val_size=0.5)
    for name, count, level in (("train", 12, 10), ("val", 4, 20), ("test", 6, 30)):
        x, _ = data.split(name)
        assert (len(x), x[:, 0].unique().tolist()) == (count, [level])


# -- checkpoints -----------------------------------------------------------------------------------


def restore(state: dict[str, Any], folder: Path, **options: Any) -> ImageFolder:
    data = ImageFolder(str(folder), root=str(folder.parent / "root"), **options)
    data.load_state_dict(state)
    return data


def colors(folder: Path, *names: str, count: int = 10, shift: int = 0) -> Path:
    """Write images whose class is their color."""
    values = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "grey": (90, 90, 90)}
    for name in names:
        for number in range(count):
            r, g, b = values[name]
            write_image(folder / name / f"{number}.png", (r + number + shift, g, b))
    return folder


def test_the_state_decides_how_images_are_read(tmp_path: Path) -> None:
    trained = make(colors(tmp_path / "a", "red", "green", "blue"), channels=1, background="black")
    with pytest.warns(UserWarning, match="of the checkpoint is used") as caught:
        data = restore(trained.state_dict(), tmp_path / "a", size=99, channels=3, val_size=0.9)
    assert {str(w.message).split(" of the")[0] for w in caught} == {
        "size=16", "channels=1", "background=black", f"val_size={2 / 9}"
    }  # fmt: skip
    assert data.input_shape == (1, 16, 16)
    assert data.class_names == ["blue", "green", "red"]
    for name in ("train", "val", "test"):
        assert all(map(torch.equal, data.split(name), trained.split(name)))


def test_the_test_split_is_the_same_after_training(tmp_path: Path, recwarn: Any) -> None:
    trained = make(colors(tmp_path / "a", "red", "green"))
    state = trained.state_dict()
    (tmp_path / "a").rename(tmp_path / "moved")
    data = restore(state, tmp_path / "moved", size=16)
    assert all(map(torch.equal, data.split("test"), trained.split("test")))
    assert [str(w.message) for w in recwarn] == []


def test_a_class_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    state = make(colors(tmp_path / "a", "red", "green", "blue")).state_dict()
    data = restore(state, colors(tmp_path / "b", "red", "green", "grey"), size=16)
    with pytest.raises(
        DataError,
        match=r"b has classes that the model was not trained on "
        r"\(it knows blue, green, red\): grey; did you mean 'green'",
    ):
        data.split("test")
    assert len(data.split("predict")[0]) == 30  # the classes are not needed


def test_classes_keep_their_places(tmp_path: Path) -> None:
    state = make(colors(tmp_path / "a", "red", "green", "blue")).state_dict()
    data = restore(state, colors(tmp_path / "b", "red", "green", count=3, shift=20), size=16)
    with pytest.warns(UserWarning, match=r"split|training") as caught:
        x, y = data.split("test")
    assert data.num_classes == 3
    assert torch.equal(y, torch.where(x[:, 0, 0, 0] > 100, 2, 1))
    assert {str(w.message) for w in caught} == {
        f"{tmp_path / 'b'} is not the training data: all its images are tested (6)",
        "the test split has no images of blue",
    }


def test_images_that_were_trained_on_are_not_tested(tmp_path: Path) -> None:
    trained = make(colors(tmp_path / "a", "red", "green"))
    state, tested = trained.state_dict(), trained.split("test")
    for number in range(5):
        write_image(tmp_path / "a" / "red" / f"new{number}.png", (255, number, 0))
    data = restore(state, tmp_path / "a", size=16)
    with pytest.warns(
        UserWarning,
        match=r"a has changed since training: the images that were not "
        r"used in training are tested \(7 of 25\)$",
    ):
        x, _ = data.split("test")
    assert (x[:, 0, 0, 0] == 255).sum() == 5
    old = {tuple(pixels) for pixels in tested[0][:, :, 0, 0].tolist()}
    assert {tuple(pixels) for pixels in x[:, :, 0, 0].tolist() if pixels[0] != 255} == old
    for number in range(5):
        (tmp_path / "a" / "red" / f"new{number}.png").unlink()
    for row in trained._splits["test"][1].tolist():
        trained.folders.files[row].unlink()
    with pytest.raises(DataError, match=r"all 18 images of .* were used in training: give others"):
        restore(state, tmp_path / "a", size=16).split("test")


@pytest.mark.parametrize("count", [1, 60])
def test_all_images_are_predicted(tmp_path: Path, count: int) -> None:
    state = make(colors(tmp_path / "a", "red", "green")).state_dict()
    for number in range(count):
        write_image(tmp_path / "b" / f"{number:02d}.png", (number, 0, 0))
    data = restore(state, tmp_path / "b", size=16)
    x = torch.cat([x for x, _ in data.predict_dataloader()])
    assert (255 * x[:, 0, 0, 0]).round().int().tolist() == list(range(count))
    assert data.prediction_ids() == {"file": [f"{number:02d}.png" for number in range(count)]}
    assert data.num_classes == 2
    with pytest.raises(DataError, match="has no images in class folders to test on; without"):
        data.split("test")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere \(--data.path\)"):
        make(tmp_path / "nowhere").prepare_data()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has 0 images"):
        make(tmp_path / "empty").prepare_data()


def test_a_class_that_training_lacks_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "x/train/a" / f"{number}.png", (1, 1, 1))
        write_image(tmp_path / "x/test/b" / f"{number}.png", (1, 1, 1))
    with pytest.raises(DataError, match=r"classes that the training folder lacks: b"):
        make(tmp_path / "x").split("test")


def test_workers_can_read_the_cached_array(folder: Path) -> None:
    data = make(folder, on_device=False, num_workers=1, batch_size=8)
    streamed = [
        batch for loader in (data.train_dataloader(), data.test_dataloader()) for batch in loader
    ]
    assert sum(len(y) for _, y in streamed) == 28 + 4
    sliced = make(folder, on_device=True, batch_size=8).train_dataloader()
    for (a, _), (b, _) in zip(streamed, sliced, strict=False):
        assert torch.equal(a, b)


def test_a_cache_that_is_not_on_the_device_stays_on_disk(folder: Path) -> None:
    data = make(folder, on_device=False)
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
    addresses = {loader.tensors[0].untyped_storage().data_ptr() for loader in loaders[:2]}
    assert len(addresses) == 1  # one mapping of the whole file, without copies of the splits
    assert all(loader.tensors[0].shape == (40, 3, 16, 16) for loader in loaders)
