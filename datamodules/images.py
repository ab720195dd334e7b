"""Image classification data sets: scikit-learn's digits, MNIST, Fashion-MNIST, CIFAR-10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from datamodules.augment import Augmentation
from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from datamodules.locks import preparing
from zoo.errors import DataError

DIGITS = [str(digit) for digit in range(10)]
FASHION_MNIST_CLASSES = [
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
]  # fmt: skip
CIFAR10_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip


class ImageDataModule(TensorDataModule):
    """Images and labels, with augmentation of the training images.

    A subclass implements ``load(train)``, which returns x uint8 (N, C, H, W) and y int64 (N,).
    Batches are (x, y) with x float32 in [0, 1], (B, C, H, W), and y int64, (B,).

    Properties for models: ``input_shape``, ``num_classes``, ``levels``.

    Args:
        batch_size: training images per batch and process, default 128.
        augment: random transformations of the training images, default none.
        **data: see :class:`~datamodules.base.TensorDataModule`.
    """

    #: stored value of a white pixel
    max_pixel_value = 255

    def __init__(
        self, batch_size: int = 128, augment: Augmentation | None = None, **data: Any
    ) -> None:
        super().__init__(batch_size=batch_size, **data)
        self.augment = augment

    @property
    def levels(self) -> int:
        """Number of intensity levels of a pixel."""
        return self.max_pixel_value + 1

    @property
    def is_training_random(self) -> bool:
        return self.augment is not None

    def prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, *rest = self.prepare_evaluation(batch, generator)
        return (self.augment(x, generator) if self.augment else x, *rest)

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        x, *rest = batch
        return (x.float().div_(self.max_pixel_value), *rest)


class Digits(ImageDataModule):
    """Handwritten digits: 1,797 images of 8×8 pixels with 17 gray levels, 10 classes.

    Part of scikit-learn, so nothing is downloaded. The first 1,437 images are for training; the
    last 360, which other people wrote, are for testing.

    Source: Alpaydin and Kaynak, UCI Machine Learning Repository, 1998.
    """

    input_shape = (1, 8, 8)
    num_classes = 10
    class_names = DIGITS
    max_pixel_value = 16

    def load(self, train: bool) -> Batch:
        from sklearn.datasets import load_digits

        digits = load_digits()
        rows = slice(None, 1437) if train else slice(1437, None)
        x = torch.from_numpy(digits.images[rows]).to(torch.uint8)[:, None]
        return x, torch.from_numpy(digits.target[rows]).long()


class _TorchvisionImages(ImageDataModule):
    """A data set that torchvision downloads to ``root`` and checks."""

    #: name of the class in ``torchvision.datasets``
    torchvision_name: str

    def _open(self, train: bool, download: bool) -> Any:
        import torchvision

        return getattr(torchvision.datasets, self.torchvision_name)(
            str(self.root), train=train, download=download
        )

    def _folder(self) -> Path:
        """Return the folder of the downloaded archives."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _folder()")

    def _checksums(self) -> list[tuple[str, str]]:
        """Return the name and MD5 checksum of each archive."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _checksums()")

    def _tensors(self, dataset: Any) -> Batch:
        """Return x uint8 (N, C, H, W) and y int64 (N,) of torchvision's data set."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _tensors(dataset)")

    def download(self) -> None:
        checksums = self._checksums()
        try:
            with preparing(self.root):
                for name, md5 in checksums:
                    check_md5(self._folder() / name, md5)
                self._open(train=True, download=True)
        except PermissionError as error:
            raise DataError(
                f"{self.torchvision_name} cannot be unpacked in {self._folder()}, which is not "
                "writable: copy the folder and give the copy with --data.root or ZOO_DATA"
            ) from error
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self.torchvision_name} is not in {self._folder()} and cannot be downloaded "
                f"({_reason(error)}): put {', '.join(name for name, _ in checksums)} there, or "
                "give the data folder with --data.root or ZOO_DATA"
            ) from error

    def load(self, train: bool) -> Batch:
        try:
            return self._tensors(self._open(train, download=False))
        except (ValueError, AssertionError, EOFError, RuntimeError) as error:
            raise DataError(
                f"{self.torchvision_name} in {self._folder()} is damaged ({_reason(error)}): "
                "delete the unpacked files there and run again"
            ) from error


class MNIST(_TorchvisionImages):
    """Handwritten digits: 60,000 + 10,000 grayscale images of 28×28 pixels, 10 classes.

    Read from ``root/MNIST/raw``. Source: LeCun, Cortes and Burges, 1998.
    """

    input_shape: tuple[int, ...] = (1, 28, 28)
    num_classes = 10
    class_names = DIGITS
    torchvision_name = "MNIST"

    def _folder(self) -> Path:
        return self.root / self.torchvision_name / "raw"

    def _checksums(self) -> list[tuple[str, str]]:
        import torchvision

        return getattr(torchvision.datasets, self.torchvision_name).resources

    def _tensors(self, dataset: Any) -> Batch:
        x, y = dataset.data, dataset.targets
        if len(x) != len(y):
            raise ValueError(f"{len(x)} images but {len(y)} labels")
        return x[:, None], y


class FashionMNIST(MNIST):
    """Articles of clothing: 60,000 + 10,000 grayscale images of 28×28 pixels, 10 classes.

    Read from ``root/FashionMNIST/raw``. Source: Xiao, Rasul and Vollgraf, 2017.
    """

    class_names = FASHION_MNIST_CLASSES
    torchvision_name = "FashionMNIST"


class CIFAR10(_TorchvisionImages):
    """Animals and vehicles: 50,000 + 10,000 color images of 32×32 pixels, 10 classes.

    Read from ``root/cifar-10-batches-py``, or unpacked from ``root/cifar-10-python.tar.gz``.
    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """

    input_shape = (3, 32, 32)
    num_classes = 10
    class_names = CIFAR10_CLASSES
    torchvision_name = "CIFAR10"

    def _folder(self) -> Path:
        return self.root

    def _checksums(self) -> list[tuple[str, str]]:
        import torchvision

        cifar10 = torchvision.datasets.CIFAR10
        return [(cifar10.filename, cifar10.tgz_md5)]

    def _tensors(self, dataset: Any) -> Batch:
        x = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        return x, torch.tensor(dataset.targets)


def check_md5(path: Path, md5: str) -> None:
    """Check the MD5 checksum of a file, if there is one.

    Raises:
        DataError: the checksum does not match.
    """
    from torchvision.datasets.utils import calculate_md5

    if not path.is_file():
        return
    found = calculate_md5(path)
    if found != md5:
        raise DataError(
            f"{path} is corrupt: its MD5 checksum is {found} instead of {md5}; delete it and run "
            "again to download it, or replace it with an intact copy"
        )


def _reason(error: BaseException) -> str:
    """Return the first line of an error's message, without its period."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")
