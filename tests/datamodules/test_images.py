"""Image data sets: official and validation splits, damaged and missing files."""

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from datamodules import CIFAR10, MNIST, Augmentation, Digits, FashionMNIST, ImageDataModule
from tests.conftest import zoo_data
from zoo.errors import DataError


def test_digits_are_float_images_with_the_official_split() -> None:
    data = Digits(batch_size=100, val_size=0.1)
    assert len(data.split("train")[0]) + len(data.split("val")[0]) == 1437
    assert len(data.split("test")[0]) == 360
    x, y = next(iter(data.train_dataloader()))
    assert x.dtype == torch.float32
    assert x.shape == (100, *data.input_shape)
    assert x.min() == 0
    assert x.max() == 1
    assert y.dtype == torch.int64
    assert set(data.split("test")[1].tolist()) == set(range(data.num_classes))


def test_the_validation_split_is_disjoint_and_depends_on_the_seed() -> None:
    def rows(data: Digits, name: str) -> list[bytes]:
        return [r.numpy().tobytes() for r in data.split(name)[0]]

    data = Digits(val_size=200)
    assert len(rows(data, "val")) == 200
    whole = [r.numpy().tobytes() for r in Digits(val_size=0).split("train")[0]]
    assert sorted(rows(data, "train") + rows(data, "val")) == sorted(whole)
    assert rows(data, "val") == rows(Digits(val_size=200), "val")
    assert rows(data, "val") != rows(Digits(val_size=200, seed=1), "val")


@pytest.mark.parametrize("cls", [Digits, MNIST, FashionMNIST, CIFAR10])
def test_every_class_has_a_name(cls: type[ImageDataModule]) -> None:
    names = cls().class_names
    assert isinstance(names, list)
    assert len(set(names)) == cls.num_classes
    assert all(isinstance(name, str) for name in names)


def test_only_training_images_are_augmented() -> None:
    data = Digits(augment=Augmentation(noise=0.3))
    assert (next(iter(data.train_dataloader()))[0] * 16 % 1 != 0).any()
    assert (next(iter(data.val_dataloader()))[0] * 16 % 1 == 0).all()
    assert (next(iter(data.test_dataloader()))[0] * 16 % 1 == 0).all()


def test_evaluation_uses_every_sample_for_any_batch_size() -> None:
    for batch_size in (7, 600):
        data = Digits(batch_size=batch_size, drop_last=batch_size == 7)
        assert sum(len(y) for _, y in data.test_dataloader()) == 360


def test_a_validation_split_of_all_samples_is_refused() -> None:
    with pytest.raises(DataError, match=r"val_size=1437 leaves none of 1437 samples .*; lower it"):
        Digits(val_size=1437).setup("fit")


# -- data sets that torchvision stores on disk ---------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """Return an array in the IDX format of the MNIST files."""
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MNIST with the official layout and checksums of its own files."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    resources = []
    for name, samples in (("train", 60), ("t10k", 20)):
        images = random.integers(0, 256, (samples, 28, 28))
        labels = np.arange(samples) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            file = raw / f"{name}-{kind}-ubyte.gz"
            file.write_bytes(gzip.compress(idx(array)))
            resources.append((file.name, hashlib.md5(file.read_bytes()).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["file:///nowhere/"])
    return tmp_path


def test_mnist_reads_the_official_layout(mnist_root: Path) -> None:
    data = MNIST(root=str(mnist_root), val_size=10, batch_size=8)
    x, y = next(iter(data.test_dataloader()))
    assert x.shape == (20, 1, 28, 28)
    assert y.tolist() == [i % 10 for i in range(20)]
    assert len(data.split("train")[0]) == 50


def test_the_root_can_come_from_the_environment(
    mnist_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATA", str(mnist_root))
    assert len(MNIST().split("test")[0]) == 20


def test_a_corrupt_archive_is_named_with_its_checksum(mnist_root: Path) -> None:
    file = mnist_root / "MNIST/raw/train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz is corrupt: its MD5 checksum is"
    ):
        MNIST(root=str(mnist_root)).prepare_data()


def test_a_truncated_unpacked_file_says_what_to_do(mnist_root: Path) -> None:
    MNIST(root=str(mnist_root)).prepare_data()
    file = mnist_root / "MNIST/raw/t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"is damaged .*delete the unpacked files"):
        MNIST(root=str(mnist_root)).split("test")


def test_images_and_labels_must_have_the_same_count(mnist_root: Path) -> None:
    MNIST(root=str(mnist_root)).prepare_data()
    labels = mnist_root / "MNIST/raw/t10k-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(19)))
    with pytest.raises(DataError, match="20 images but 19 labels"):
        MNIST(root=str(mnist_root)).split("test")


def test_the_error_for_missing_data_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["file:///nowhere/"])
    with pytest.raises(DataError, match=r"not in .*FashionMNIST/raw.*put train-images.*ZOO_DATA"):
        FashionMNIST(root=str(tmp_path)).prepare_data()


def test_cifar10_reads_the_official_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    batches = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        images = random.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
        batches[name] = images
        content = {"data": images.reshape(6, -1), "labels": [0, 1, 2, 3, 4, 9]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    official = torchvision.datasets.CIFAR10

    def sums(*names: str) -> list[list[str]]:
        return [[n, hashlib.md5((folder / n).read_bytes()).hexdigest()] for n in names]

    monkeypatch.setattr(official, "train_list", sums(*(f"data_batch_{i}" for i in range(1, 6))))
    monkeypatch.setattr(official, "test_list", sums("test_batch"))
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums("batches.meta")[0][1]}
    monkeypatch.setattr(official, "meta", meta)

    data = CIFAR10(root=str(tmp_path), val_size=0)
    x, y = next(iter(data.test_dataloader()))
    expected = torch.from_numpy(batches["test_batch"]).float() / 255
    torch.testing.assert_close(x, expected)
    assert y.tolist() == [0, 1, 2, 3, 4, 9]
    assert len(data.split("train")[0]) == 30

    (folder / "data_batch_3").write_bytes(b"broken")
    with pytest.raises(DataError, match="CIFAR10"):
        CIFAR10(root=str(tmp_path)).prepare_data()


@pytest.mark.slow
def test_the_real_mnist_has_its_published_statistics() -> None:
    data = MNIST(root=zoo_data("MNIST/raw"), val_size=0)
    x, y = data.split("train")
    assert x.shape == (60000, 1, 28, 28)
    assert (x.float() / 255).mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert (x.float() / 255).std().item() == pytest.approx(0.3081, abs=1e-4)
    assert y.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
