"""ImageFolder: splits, resizing, the cache, faulty folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolder
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
    original = ImageFolder._read

    def counting(self: ImageFolder, file: Path) -> np.ndarray:
        reads.append(file)
        return original(self, file)

    monkeypatch.setattr(ImageFolder, "_read", counting)
    make(folder).split("train")
    assert len(reads) == 40
    make(folder).split("test")
    assert len(reads) == 40
    write_image(folder / "cats" / "00.png", (1, 2, 3))
    make(folder).split("train")
    assert len(reads) == 80


def test_a_broken_image_is_named_and_leaves_no_cache(folder: Path) -> None:
    (folder / "cats" / "07.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"cats/07\.png is not a readable image"):
        make(folder).split("train")
    assert list((folder.parent / "root" / "image_folder").iterdir()) == []


def test_images_of_more_than_8_bits_are_refused(folder: Path) -> None:
    pixels = np.arange(400).reshape(20, 20)
    for dtype, mode in ((np.uint16, "I;16"), (np.float32, "F")):
        Image.fromarray(pixels.astype(dtype)).save(folder / "cats" / "07.tif")
        with pytest.raises(DataError, match=f"more than 8 bits per channel .mode {mode}."):
            make(folder).split("train")


def test_an_image_with_too_many_pixels_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow refuses decompression bombs with an exception of its own."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"cats/00\.png is not a readable image \(Image size"):
        make(folder).split("train")


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
    with pytest.raises(DataError, match=r"class folders that .*train lacks: b"):
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
