"""ImageFolder: the user's own images."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.class_folders import ClassFolders
from datamodules.images import ImageDataModule
from datamodules.loader import Batch
from zoo.errors import DataError, InputError, check_at_least

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class ImageFolder(ImageDataModule):
    """Images from a folder, resized once and cached: ``--data image_folder --data.path FOLDER``.

    Three layouts are supported: ``path/train/CLASS/…`` with ``path/test/CLASS/…``;
    ``path/CLASS/…``; or images directly in ``path``, which have no classes. Without split folders,
    a tenth of the images, chosen by ``seed``, is the test split; ``val_size`` is held out from the
    remaining images.

    The cache ``root/image_folder/<fingerprint>.npy`` is rebuilt when a file is added, removed or
    changed. It is memory-mapped and may be larger than memory.

    Properties for models: ``input_shape``, ``num_classes``, ``levels``.

    Args:
        path: folder of the images.
        size: height and width of the resized images in pixels, default 64. The shorter side is
            scaled to this size, and the longer side is cropped at both ends.
        channels: 3 for color (default) or 1 for grayscale.
        val_size: validation images, a count (≥ 1) or a fraction (< 1) of the training split;
            default 2/9, which gives 70/20/10 together with the tenth for testing.
        **data: see :class:`~datamodules.images.ImageDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: the folder does not exist or has no images, or a file is not a readable
            image of 8 bits per channel.
    """

    def __init__(
        self, path: str, size: int = 64, channels: int = 3, val_size: float = 2 / 9, **data: Any
    ) -> None:
        super().__init__(val_size=val_size, **data)
        if channels not in (1, 3):
            raise InputError(f"channels must be 1 (grayscale) or 3 (color), got {channels}")
        check_at_least(1, size=size)
        self.folders = ClassFolders(Path(path), SUFFIXES, "images")
        self.size = size
        self.channels = channels
        self.input_shape = (channels, size, size)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of class folders."""
        return self.folders.num_classes

    @property
    def class_names(self) -> list[str]:
        """Names of the class folders, sorted; empty if the images are directly in ``path``."""
        return self.folders.class_names

    def download(self) -> None:
        for train in (True, False) if self.folders.has_splits else (True,):
            self._cache(self.folders.list_files(train))

    def load(self, train: bool) -> Batch:
        files = self.folders.list_files(train)
        labels = torch.tensor([self.folders.label(file) for file in files])
        # torch requires a writable array; copy-on-write leaves the file unchanged
        pixels = torch.from_numpy(np.load(self._cache(files), mmap_mode="c"))
        return pixels, labels

    def split_indices(self, train: bool, num_samples: int) -> torch.Tensor:
        return self.folders.split_indices(train, num_samples, self.seed)

    def _cache(self, files: Sequence[Path]) -> Path:
        """Return the cached array of all ``files``, after building it if necessary."""
        stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        text = json.dumps([self.size, self.channels, stats])
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        cache = self.root / "image_folder" / f"{fingerprint}.npy"
        if cache.is_file():
            return cache
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"images cannot be cached in {cache.parent} ({error.strerror}): choose a writable "
                "folder with --data.root or ZOO_DATA"
            ) from error
        partial = cache.with_suffix(f".{os.getpid()}.partial")
        try:
            shape = (len(files), *self.input_shape)
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            with ThreadPoolExecutor() as pool:
                for row, pixels in enumerate(pool.map(self._read, files)):
                    array[row] = pixels
            array.flush()
            partial.replace(cache)
        finally:
            partial.unlink(missing_ok=True)
        return cache

    def _read(self, file: Path) -> np.ndarray[Any, Any]:
        """Return an image as uint8 (C, size, size)."""
        from PIL import Image, ImageOps

        try:
            with Image.open(file) as opened:
                mode = opened.mode
                upright = ImageOps.exif_transpose(opened)
                image = upright.convert("L" if self.channels == 1 else "RGB")
                fitted = ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR)
        except Exception as error:  # the decoders of the formats raise all kinds of exceptions
            raise DataError(
                f"{file} is not a readable image ({error}): replace or remove it"
            ) from error
        if mode.startswith(("I", "F")):  # Pillow would clip the pixels to [0, 255]
            raise DataError(
                f"{file} has more than 8 bits per channel (mode {mode}): convert it to 8 bits"
            )
        pixels = np.asarray(fitted)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)
