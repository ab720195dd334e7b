"""Images resized once: an array on disk, with findings about the files."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.folder_tree import file_key, read_bytes
from datamodules.image_files import ReadImage, parse_color, read_image
from datamodules.locks import preparing
from zoo.errors import DataError

VERSION = 2  # increased when files are read differently, which invalidates older caches


@dataclass(frozen=True)
class ImageFormat:
    """Format of the resized images; see :class:`~datamodules.image_folder.ImageFolder`."""

    size: int
    channels: int
    background: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image, (C, size, size)."""
        return self.channels, self.size, self.size


@dataclass
class ImageCache:
    """Resized images and findings about their files.

    Attributes:
        pixels: path of the array, uint8 (N, C, size, size); rows of unreadable files are 0.
        keys: number of each file, which depends on its name and its contents.
        unreadable: position of each file that cannot be read → reason.
        transparent: number of images with transparent pixels.
        frames: number of images with further frames or pages.
    """

    pixels: Path
    keys: list[int]
    unreadable: dict[int, str]
    transparent: int = 0
    frames: int = 0

    def open(self) -> np.ndarray[Any, Any]:
        """Return the array, memory-mapped; changes to it stay in memory.

        Raises:
            DataError: the file is damaged.
        """
        try:
            return np.load(self.pixels, mmap_mode="c")
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"the cached images {self.pixels} are damaged: delete this file and run again"
            ) from error


def cached_images(
    folder: Path, files: Sequence[Path], format: ImageFormat, stop: bool
) -> ImageCache:
    """Return the cache of the files' images, which is built if it does not exist.

    Processes that need the same cache at the same time wait for the first one to build it.

    Args:
        folder: folder of the caches. A cache's name is a hash of the files' paths, sizes and times
            of change, so it is built again if a file is added, removed or changed.
        files: image files.
        format: format of the images.
        stop: whether a file that cannot be read is an error.

    Raises:
        DataError: a file cannot be read and ``stop`` is true, or the cache cannot be written.
    """
    pixels = folder / f"{_fingerprint(files, format)}.npy"
    found = pixels.with_suffix(".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not found.is_file() or not pixels.is_file():
            with preparing(folder):
                if not found.is_file() or not pixels.is_file():
                    _build(pixels, found, files, format, stop)
    except OSError as error:
        raise DataError(
            f"images cannot be cached in {folder} ({error.strerror}): choose another folder with "
            "--data.root or ZOO_DATA"
        ) from error
    cache = _read_findings(pixels, found)
    if stop and cache.unreadable:
        raise DataError(_with_hint(next(iter(cache.unreadable.values()))))
    return cache


def _build(
    pixels: Path, found: Path, files: Sequence[Path], format: ImageFormat, stop: bool
) -> None:
    """Write the array and the findings; nothing is left behind after an error."""
    from PIL import Image

    partial = pixels.with_suffix(f".{os.getpid()}.partial")
    cache = ImageCache(pixels, [], {})
    background = parse_color(format.background)

    def read(file: Path) -> tuple[int, ReadImage] | DataError:
        try:
            content = read_bytes(file)
            image = read_image(file, content, format.size, format.channels, background)
            return file_key(file, content), image
        except DataError as error:
            return error

    try:
        array = _create(partial, (len(files), *format.shape))
        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # read_image refuses
            for row, result in enumerate(pool.map(read, files)):
                if isinstance(result, DataError):
                    if stop:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise DataError(_with_hint(str(result))) from result.__cause__
                    cache.unreadable[row] = str(result)
                    cache.keys.append(0)
                    continue
                key, image = result
                array[row] = image.pixels
                cache.keys.append(key)
                cache.transparent += image.is_transparent
                cache.frames += image.has_frames
        array.flush()
        partial.replace(pixels)
        partial.write_text(json.dumps(asdict(cache) | {"pixels": pixels.name}))
        partial.replace(found)
    finally:
        partial.unlink(missing_ok=True)


def _create(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create an array on disk and reserve its space, since writing to a full disk would crash."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _read_findings(pixels: Path, found: Path) -> ImageCache:
    try:
        content = json.loads(found.read_text())
        content["unreadable"] = {int(row): why for row, why in content["unreadable"].items()}
        return ImageCache(**content | {"pixels": pixels})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the cached images {found} are damaged: delete this file and run again"
        ) from error


def _fingerprint(files: Sequence[Path], format: ImageFormat) -> str:
    stats = [(str(file), *_stat(file)) for file in files]
    text = json.dumps([VERSION, asdict(format), stats])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stat(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError:  # a link to a missing file
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _with_hint(reason: str) -> str:
    return f"{reason} (--data.on_error skip leaves out such files)"
