"""ImageFolder: the user's own images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import stage_splits
from datamodules.class_folders import SPLITS, ClassFolders
from datamodules.folder_tree import NAMED, name_files
from datamodules.image_cache import ImageCache, ImageFormat, cached_images
from datamodules.image_files import SUFFIXES, parse_color
from datamodules.image_labels import ImageLabels, read_image_labels
from datamodules.images import ImageDataModule
from datamodules.loader import Batch
from zoo.errors import DataError, InputError, check_at_least


class ImageFolder(ImageDataModule):
    """Images from a folder, resized once and cached: ``--data image_folder --data.path FOLDER``.

    Three layouts are supported: ``path/train/CLASS/…`` with ``path/val/CLASS/…`` and
    ``path/test/CLASS/…``, or one of the two; ``path/CLASS/…``; or images without class folders.
    Class folders may have subfolders; hidden files and folders are left out. A split without a
    folder is held out from the training images by ``seed``, with the same fraction of each class:
    a tenth for testing, then ``val_size`` for validation.

    Images are turned as their EXIF orientation says. Those with 16 bits per channel are scaled by
    their depth, and those of floating-point numbers are taken to be in [0, 1].

    The cache ``root/image_folder/<fingerprint>.npy`` is rebuilt when a file is added, removed or
    changed. It is memory-mapped and may be larger than memory.

    Instead of class folders, a table can contain the ``labels`` of each image.

    A checkpoint contains the class names, the format of the images and which of them were used in
    training. Other folders are read in the same way: their classes are matched by name, and
    ``test`` uses all images that were not used in training. ``predict`` uses all images of a
    folder.

    Properties for models: ``input_shape``, ``num_classes``, ``levels``.

    Args:
        path: folder of the images.
        size: height and width of the resized images in pixels, default 64. The shorter side is
            scaled to this size, and the longer side is cropped at both ends.
        channels: 3 for color (default) or 1 for grayscale.
        val_size: validation images, a count (≥ 1) or a fraction (< 1) of the training split, if
            they have no folder; default 2/9, which gives 70/20/10 together with the tenth
            for testing.
        background: color behind transparent pixels, a name such as ``white`` (default) or
            ``#rrggbb``.
        labels: table with the labels of each image, in place of class folders, such as CSV: a
            column ``file`` and either a column ``labels``, such as ``cat|dog``, or one column of
            zeros and ones for each label; see
            :func:`~datamodules.image_labels.read_image_labels`. Default none.
        label_separator: string between the labels in a cell, default: the first of ``|``, ``;``
            and ``,`` that occurs in the column.
        multi_label: whether y contains zeros and ones, float32 (B, K), for a model that predicts
            any number of labels, instead of class indices; default: whether an image has several
            labels or none.
        on_error: handling of files that cannot be read: ``stop`` (default), or ``skip``: leave them
            out with a warning that counts them.
        **data: see :class:`~datamodules.images.ImageDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: the folder does not exist or has too few images, a file is not a readable image,
            or a class is unknown.
    """

    learned_settings = ("seed", "val_size", "size", "channels", "background")

    def __init__(
        self,
        path: str,
        size: int = 64,
        channels: int = 3,
        val_size: float = 2 / 9,
        background: str = "white",
        labels: str | None = None,
        label_separator: str | None = None,
        multi_label: bool | None = None,
        on_error: str = "stop",
        **data: Any,
    ) -> None:
        super().__init__(val_size=val_size, **data)
        if channels not in (1, 3):
            raise InputError(f"channels must be 1 (grayscale) or 3 (color), got {channels}")
        check_at_least(1, size=size)
        parse_color(background)
        self.folders = ClassFolders(Path(path), SUFFIXES, "images", on_error)
        self.size, self.channels, self.background = size, channels, background
        self.labels, self.label_separator = labels, label_separator
        self.multi_label = multi_label
        if multi_label and labels is None:
            raise InputError("multi_label needs a table with the labels (--data.labels)")
        if labels is not None:
            self.folders.use_labels(self._class_of, Path(labels))

    # -- properties for models ------------------------------------------------------------------

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of an image, (C, size, size)."""
        return self.channels, self.size, self.size

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of classes or labels."""
        if not self.is_multi_label:
            return self.folders.num_classes
        if len(self.class_names) < 2:
            raise AttributeError(f"{self.labels} has 1 label; at least 2 are needed")
        return len(self.class_names)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes or labels, sorted; empty without class folders and labels."""
        if not self.is_multi_label:
            return self.folders.class_names
        return self.learned["class_names"] if self.has_loaded_state else self._table.names

    @property
    def is_multi_label(self) -> bool:
        """True if a sample has any number of labels, y float32 (B, K), instead of one class."""
        if self.has_loaded_state:
            return bool(self.learned["is_multi_label"])
        if self.labels is None:
            return False
        return not self._table.are_single if self.multi_label is None else self.multi_label

    # -- state ----------------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        rows = {name: self._stored(name)[1] for name in SPLITS}
        used = torch.tensor(self._cache.keys)[torch.cat([rows["train"], rows["val"]])]
        return {
            "class_names": self.class_names,
            "is_multi_label": self.is_multi_label,
            "used_images": used,
            "num_test_images": len(rows["test"]),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.folders.use_classes([] if self.is_multi_label else self.learned["class_names"])

    # -- splits ---------------------------------------------------------------------------------

    def download(self) -> None:
        _ = self._cache

    def setup(self, stage: str | None = None) -> None:
        wanted = ("predict",) if stage == "predict" else stage_splits(stage)
        if all(name in self._splits for name in wanted):
            return
        files = self.folders.files
        unreadable = {files[row] for row in self._cache.unreadable}
        if stage == "predict":
            readable = [file for file in files if file not in unreadable]
            self._splits["predict"] = self._tensors_to_predict, self._rows(readable)
            return
        unlabeled = self._unlabeled_images() if self.is_multi_label else set()
        self.folders.excluded = unreadable | unlabeled
        if stage != "test" or not self.has_loaded_state:
            splits = self.folders.splits(self.seed, self.val_size)
            self._splits |= {name: self._select(files) for name, files in splits.items()}
            self._warn_missing_labels(list(splits))
        if stage in ("test", None) and self.has_loaded_state:
            self._splits["test"] = self._select(self._unused_images())
            self._warn_missing_labels(["test"])

    def predict_dataloader(self) -> Any:
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        files, rows = self.folders.files, self._stored("predict")[1].tolist()
        return {"file": [files[row].relative_to(self.folders.path).as_posix() for row in rows]}

    def _unused_images(self) -> list[Path]:
        keys = dict(zip(self.folders.files, self._cache.keys, strict=True))
        used, count = self.learned["used_images"].tolist(), self.learned["num_test_images"]
        return self.folders.unused_files(used, count, keys)

    # -- labels ---------------------------------------------------------------------------------

    @cached_property
    def _table(self) -> ImageLabels:
        """The labels in the table.

        Raises:
            DataError: no table is given, or it has a fault.
        """
        if self.labels is None:
            raise DataError(
                "the model predicts any number of labels: give a table with those of the images "
                "(--data.labels)"
            )
        folder, files = self.folders.path, self.folders.files
        is_lenient = self.folders.on_error == "skip"
        separator = self.label_separator
        table = read_image_labels(Path(self.labels), folder, files, separator, is_lenient)
        if self.multi_label is False:
            table.check_single()
        return table

    def _class_of(self, file: Path) -> str | None:
        """Return the label of a file that has one class."""
        if self.is_multi_label:
            return None
        names = self._table.labels.get(file, ())
        return names[0] if names else None

    def _unlabeled_images(self) -> set[Path]:
        """Return the images that are not in the table, after a warning that counts them."""
        unlabeled = [file for file in self.folders.files if file not in self._table.labels]
        if unlabeled:
            warnings.warn(
                f"images without a row in {self.labels} are left out ({len(unlabeled)}): "
                f"{name_files(unlabeled, self.folders.path)}",
                stacklevel=3,
            )
        return set(unlabeled)

    def _warn_missing_labels(self, splits: Sequence[str]) -> None:
        """Name the labels that no image of a split has."""
        for split in splits if self.is_multi_label else []:
            _, rows = self._splits[split]
            counts = self._tensors[1][rows].sum(0).tolist()
            missing = [n for n, count in zip(self.class_names, counts, strict=True) if not count]
            if missing and len(rows):
                warnings.warn(
                    f"the {split} split has no images of {', '.join(missing)}", stacklevel=3
                )

    # -- images ---------------------------------------------------------------------------------

    @cached_property
    def _cache(self) -> ImageCache:
        """The resized images of all files, in their order."""
        files = self.folders.files
        form = ImageFormat(self.size, self.channels, self.background)
        is_strict = self.folders.on_error == "stop"
        cache = cached_images(self.root / "image_folder", files, form, is_strict)
        self._warn_changes(cache, len(files))
        return cache

    @cached_property
    def _tensors(self) -> Batch:
        """Pixels, uint8 (N, C, size, size), and labels of all files: class indices, int64 (N,), or
        zeros and ones, float32 (N, K)."""
        # torch requires a writable array; copy-on-write leaves the file unchanged
        pixels = torch.from_numpy(self._cache.open())
        files = self.folders.files
        if not self.is_multi_label:
            return pixels, torch.tensor([self.folders.label(file) for file in files])
        return pixels, self._table.to_matrix(files, self.class_names)

    @property
    def _tensors_to_predict(self) -> Batch:
        """Pixels and labels of all files. A trained model needs no table with the labels of new
        images: all their labels are 0."""
        if not self.has_loaded_state or (self.labels is None and not self.is_multi_label):
            return self._tensors
        pixels = torch.from_numpy(self._cache.open())
        if not self.is_multi_label:
            return pixels, torch.zeros(len(pixels), dtype=torch.int64)
        return pixels, torch.zeros(len(pixels), len(self.class_names))

    @cached_property
    def _row_of(self) -> dict[Path, int]:
        return {file: row for row, file in enumerate(self.folders.files)}

    def _select(self, files: Sequence[Path]) -> tuple[Batch, Tensor]:
        """Return the tensors of all files, and the rows of some files in them."""
        return self._tensors, self._rows(files)

    def _rows(self, files: Sequence[Path]) -> Tensor:
        return torch.tensor([self._row_of[file] for file in files], dtype=torch.int64)

    def _warn_changes(self, cache: ImageCache, num_files: int) -> None:
        """Warn of images that were left out or changed."""
        unreadable = list(cache.unreadable.values())
        if len(unreadable) == num_files:
            raise DataError(f"none of the {num_files} images can be read: {unreadable[0]}")
        if unreadable:
            shown = "; ".join(unreadable[:NAMED])
            more = len(unreadable) - NAMED
            shown += f"; and {more} more" if more > 0 else ""
            warnings.warn(f"left out {len(unreadable)} of {num_files} images: {shown}",
                          stacklevel=2)  # fmt: skip
        if cache.transparent:
            warnings.warn(
                f"transparent pixels are now {self.background} (--data.background); images with "
                f"such pixels: {cache.transparent}",
                stacklevel=2,
            )
        if cache.frames:
            warnings.warn(
                f"of images with several frames or pages the first is used; such images: "
                f"{cache.frames}",
                stacklevel=2,
            )
