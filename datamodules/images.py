"""Image classification sets: handwritten digits, MNIST, Fashion-MNIST, CIFAR-10."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from zoo.errors import DataError


class Digits(TensorDataModule):
    """scikit-learn's handwritten digits: 1,797 images of 8×8 pixels, 17 grey levels, 10 classes.

    Embedded in scikit-learn: nothing to download. The first 1,437 are for training, the last 360,
    which other people wrote, for testing.

    Source: Alpaydin and Kaynak, UCI Machine Learning Repository, 1998.
    """

    input_shape = (1, 8, 8)
    num_classes = 10
    white = 16

    def load(self, train: bool) -> Batch:
        from sklearn.datasets import load_digits

        digits = load_digits()
        part = slice(None, 1437) if train else slice(1437, None)
        x = torch.from_numpy(digits.images[part]).to(torch.uint8)[:, None]
        return x, torch.from_numpy(digits.target[part]).long()


class _TorchvisionSet(TensorDataModule):
    """A set that torchvision downloads and checks; kept in ``root`` as torchvision lays it out."""

    #: name of the class in ``torchvision.datasets``
    official: str

    def _open(self, train: bool, download: bool) -> Any:
        import torchvision

        return getattr(torchvision.datasets, self.official)(
            str(self.root), train=train, download=download
        )

    def _folder(self) -> Path:
        raise NotImplementedError(f"{type(self).__name__} has no _folder()")

    def _checksums(self) -> list[tuple[str, str]]:
        """(file, md5) of the archives as they are downloaded."""
        raise NotImplementedError(f"{type(self).__name__} has no _checksums()")

    def download(self) -> None:
        names = [name for name, _ in self._checksums()]
        for name, md5 in self._checksums():
            check_md5(self._folder() / name, md5)
        try:
            self._open(train=True, download=True)
        except PermissionError as error:
            raise DataError(
                f"{self.official} cannot be unpacked in {self._folder()}, which is not writable: "
                "copy the folder and name the copy in --data.root or ZOO_DATA"
            ) from error
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self.official} is not in {self._folder()} and cannot be downloaded "
                f"({_reason(error)}): put {', '.join(names)} there, or name the folder "
                "that holds it in --data.root or ZOO_DATA"
            ) from error

    def load(self, train: bool) -> Batch:
        try:
            return self._tensors(self._open(train, download=False))
        except (ValueError, AssertionError, EOFError, RuntimeError) as error:
            raise DataError(
                f"{self.official} in {self._folder()} is damaged ({_reason(error)}): delete the "
                "unpacked files there and run again"
            ) from error

    def _tensors(self, dataset: Any) -> Batch:
        """x uint8 (N, C, H, W) and y int64 (N,) of the official data set."""
        raise NotImplementedError(f"{type(self).__name__} has no _tensors(dataset)")


class MNIST(_TorchvisionSet):
    """Handwritten digits: 60,000 + 10,000 grey images of 28×28 pixels, 10 classes.

    Read from ``root/MNIST/raw``. Source: LeCun, Cortes and Burges, 1998.
    """

    input_shape: tuple[int, ...] = (1, 28, 28)
    num_classes = 10
    official = "MNIST"

    def _folder(self) -> Path:
        return self.root / self.official / "raw"

    def _checksums(self) -> list[tuple[str, str]]:
        import torchvision

        return getattr(torchvision.datasets, self.official).resources

    def _tensors(self, dataset: Any) -> Batch:
        x, y = dataset.data, dataset.targets
        if len(x) != len(y):
            raise ValueError(f"{len(x)} images but {len(y)} labels")
        return x[:, None], y


class FashionMNIST(MNIST):
    """Articles of clothing: 60,000 + 10,000 grey images of 28×28 pixels, 10 classes.

    Read from ``root/FashionMNIST/raw``. Source: Xiao, Rasul and Vollgraf, 2017.
    """

    official = "FashionMNIST"


class CIFAR10(_TorchvisionSet):
    """Objects: 50,000 + 10,000 colour images of 32×32 pixels, 10 classes.

    Read from ``root/cifar-10-batches-py`` or ``root/cifar-10-python.tar.gz``.
    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """

    input_shape = (3, 32, 32)
    num_classes = 10
    official = "CIFAR10"

    def _folder(self) -> Path:
        return self.root

    def _checksums(self) -> list[tuple[str, str]]:
        import torchvision

        official = torchvision.datasets.CIFAR10
        return [(official.filename, official.tgz_md5)]

    def _tensors(self, dataset: Any) -> Batch:
        x = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        return x, torch.tensor(dataset.targets)


def check_md5(path: Path, md5: str) -> None:
    """Raises DataError when the file is there but is not the one it should be."""
    if not path.is_file():
        return
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is corrupt: its md5 checksum is {found}, it should be {md5}; delete it and "
            "run again to download it, or copy it anew"
        )


def _reason(error: BaseException) -> str:
    """The first line of what went wrong, without its period."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")
