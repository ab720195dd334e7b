"""A user's own pictures."""

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

from datamodules.base import TensorDataModule
from datamodules.class_folders import ClassFolders
from datamodules.loader import Batch
from zoo.errors import DataError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class ImageFolder(TensorDataModule):
    """Pictures from a folder, resized once and cached as one array.

    Three layouts are read: ``path/train/CLASS/…`` with ``path/test/CLASS/…``; ``path/CLASS/…``;
    pictures directly in ``path`` (no classes). Without a ``test`` folder, a tenth of the pictures,
    drawn by ``seed``, is the test split; ``val_size`` is cut from the rest.

    The cache, ``root/image_folder/<fingerprint>.npy``, is made anew when a file is added, removed
    or changed, and is memory-mapped, so that it may be larger than memory.

    Args:
        path: the folder.
        size: height and width of the resized picture in pixels, default 64: the shorter side is
            scaled to it and the centre cut out.
        channels: 3 for colour (default), 1 for grey.
        val_size: default 2/9, which makes 70/20/10 together with the tenth for testing.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        DataError: no such folder, no pictures in it, a file that is no picture (named).
    """

    def __init__(
        self, path: str, size: int = 64, channels: int = 3, val_size: float = 2 / 9, **data: Any
    ) -> None:
        super().__init__(val_size=val_size, **data)
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.folders = ClassFolders(Path(path), SUFFIXES, "pictures")
        self.size = size
        self.channels = channels
        self.input_shape = (channels, size, size)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        if len(self.class_names) < 2:
            raise AttributeError(f"{self.folders.path} has no class folders")
        return len(self.class_names)

    @property
    def class_names(self) -> list[str]:
        """Names of the class folders, sorted; empty when pictures lie directly in ``path``."""
        return self.folders.class_names

    def download(self) -> None:
        for train in (True, False) if self.folders.has_splits else (True,):
            self._cache(self.folders.files(train))

    def load(self, train: bool) -> Batch:
        files = self.folders.files(train)
        labels = torch.tensor([self.folders.label(file) for file in files])
        # copy on write: torch wants a writable array, the file stays as it is
        pixels = torch.from_numpy(np.load(self._cache(files), mmap_mode="c"))
        return pixels, labels

    def rows(self, train: bool, samples: int) -> torch.Tensor:
        return self.folders.rows(train, samples, self.seed)

    def _cache(self, files: Sequence[Path]) -> Path:
        """The array of all ``files``, made when it is not there yet."""
        stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        text = json.dumps([self.size, self.channels, stats])
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        cache = self.root / "image_folder" / f"{fingerprint}.npy"
        if cache.is_file():
            return cache
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot cache pictures in {cache.parent}: {error.strerror}") from error
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
        """One picture as uint8 (C, size, size)."""
        from PIL import Image, ImageOps

        try:
            with Image.open(file) as opened:
                upright = ImageOps.exif_transpose(opened)
                picture = upright.convert("L" if self.channels == 1 else "RGB")
                fitted = ImageOps.fit(picture, (self.size, self.size), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError) as error:
            raise DataError(f"{file} is not a readable picture: {error}") from error
        pixels = np.asarray(fitted)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)
