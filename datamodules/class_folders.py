"""Files in folders that are named after their classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from zoo.errors import DataError, check_choice

ON_ERROR = ("stop", "skip")
T = TypeVar("T")


class PlacedFile(NamedTuple):
    """A file and the split of its folder, ``train``, ``test`` or None."""

    path: Path
    split: str | None


class ClassFolders:
    """A folder of the user's files, with or without class folders and official splits.

    Layouts: ``path/train/CLASS/…`` with ``path/test/CLASS/…``; ``path/CLASS/…``; or files directly
    in ``path``, which have no classes.

    Args:
        path: the folder.
        suffixes: file name suffixes to use, in lower case; other files are ignored.
        noun: plural noun for the files in error messages, such as ``images``.
        on_error: handling of a file that cannot be used: ``stop`` (default) with an error, or
            ``skip`` it with a warning.

    Raises:
        InputError: unknown ``on_error``.
    """

    min_files = 3  # per split

    def __init__(
        self, path: Path, suffixes: Collection[str], noun: str, on_error: str = "stop"
    ) -> None:
        check_choice("on_error", on_error, ON_ERROR)
        self.path, self.suffixes, self.noun = path, suffixes, noun
        self.on_error = on_error

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the class folders, sorted; empty if the files are directly in ``path``."""
        return sorted(self._class_folders(self.path / "train" if self.has_splits else self.path))

    def use_classes(self, class_names: list[str]) -> None:
        """Use the classes that a model was trained on; files of other classes are refused."""
        self.__dict__["class_names"] = class_names

    @property
    def files(self) -> list[Path]:
        """All files that are not hidden, sorted, whatever their folders."""
        if not self.path.is_dir():
            raise DataError(f"there is no folder {self.path} (--data.path)")
        return sorted(
            file
            for file in self.path.rglob("*")
            if self._is_used(file)
            and not any(part.startswith(".") for part in file.relative_to(self.path).parts)
        )

    def usable_files(self) -> list[PlacedFile]:
        """Return the files for training and evaluation.

        Raises:
            DataError: see ``list_files``.
        """
        if not self.has_splits:
            return [PlacedFile(file, None) for file in self.list_files(True)]
        return [
            PlacedFile(file, split)
            for split in ("train", "test")
            for file in self.list_files(split == "train")
        ]

    @property
    def num_classes(self) -> int:
        """Number of class folders.

        Raises:
            AttributeError: there are fewer than 2.
        """
        if len(self.class_names) < 2:
            raise AttributeError(
                f"{self.path} has {len(self.class_names)} class folders; at least 2 are needed"
            )
        return len(self.class_names)

    @property
    def has_splits(self) -> bool:
        """True if the folder has subfolders ``train`` and ``test``."""
        return (self.path / "train").is_dir() and (self.path / "test").is_dir()

    def list_files(self, train: bool) -> list[Path]:
        """Return the files in a split's folder, or all files without split folders.

        Raises:
            DataError: the folder does not exist or has too few files, or the test folder has
                classes that the training folder lacks.
        """
        if not self.path.is_dir():
            raise DataError(f"there is no folder {self.path} (--data.path)")
        top = self.path / ("train" if train else "test") if self.has_splits else self.path
        extra = sorted(set(self._class_folders(top)) - set(self.class_names))
        if extra:
            raise DataError(
                f"{top} has class folders that {self.path / 'train'} lacks: {', '.join(extra)}"
            )
        folders = [top / name for name in self.class_names] if self.class_names else [top]
        files = [f for folder in folders if folder.is_dir() for f in sorted(folder.iterdir())]
        files = [f for f in files if self._is_used(f)]
        if len(files) < self.min_files:
            raise DataError(
                f"{top} has {len(files)} {self.noun} ({', '.join(sorted(self.suffixes))}), "
                f"counting those in class folders; at least {self.min_files} are needed"
            )
        return files

    def label(self, file: Path) -> int:
        """Return the class index of a file, 0 if there are no classes."""
        return self.class_names.index(file.parent.name) if self.class_names else 0

    def split_indices(self, train: bool, num_files: int, seed: int) -> Tensor:
        """Return the indices of a split's files among those of ``list_files``, sorted.

        With split folders, these are all files; otherwise a tenth of the files, chosen by the
        seed, is for testing and the remainder for training.
        """
        if self.has_splits:
            return torch.arange(num_files)
        order = torch.randperm(num_files, generator=torch.Generator().manual_seed(seed))
        test = max(1, num_files // 10)
        return (order[test:] if train else order[:test]).sort().values

    def split_files(self, train: bool, seed: int, train_per_class: int | None = None) -> list[Path]:
        """Return the files of the training or test split.

        Args:
            train: True for the training split, False for the test split.
            seed: random seed of the split, if the folder has no split folders.
            train_per_class: number of training files per class, if the folder has no split
                folders; default None: nine tenths of all files.

        Raises:
            DataError: see ``list_files``; or a class has no more than ``train_per_class`` files.
        """
        files = self.list_files(train)
        if train_per_class is None or self.has_splits:
            indices = self.split_indices(train, len(files), seed)
        else:
            indices = self._split_per_class(files, train_per_class, seed)[0 if train else 1]
        return [files[i] for i in indices.tolist()]

    def read_or_skip(self, read: Callable[[], T]) -> T | None:
        """Return the result of ``read()``, or None after a warning for a file that is skipped.

        Raises:
            DataError: the file cannot be used, and ``on_error`` is ``stop``.
        """
        try:
            return read()
        except DataError as error:
            if self.on_error == "stop":
                raise DataError(f"{error} (--data.on_error skip leaves out such files)") from None
            warnings.warn(f"left out: {error}", stacklevel=2)
            return None

    def _split_per_class(
        self, files: Sequence[Path], count: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of ``count`` random files per class, and of all others; sorted."""
        labels = torch.tensor([self.label(file) for file in files])
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        chosen = []
        for k in range(int(labels.max()) + 1):
            members = order[labels[order] == k]
            if len(members) <= count:
                folder = self.path / self.class_names[k] if self.class_names else self.path
                raise DataError(
                    f"{folder} has {len(members)} {self.noun}: train_per_class={count} leaves none "
                    "for testing"
                )
            chosen.append(members[:count])
        train = torch.cat(chosen).sort().values
        indices = torch.arange(len(labels))
        return train, indices[~torch.isin(indices, train)]

    def _class_folders(self, path: Path) -> list[str]:
        """Return the names of the folders in ``path`` that contain at least one file to use."""
        if not path.is_dir():
            return []
        folders = [f for f in path.iterdir() if f.is_dir()]
        return [f.name for f in folders if any(map(self._is_used, f.iterdir()))]

    def _is_used(self, file: Path) -> bool:
        return file.suffix.lower() in self.suffixes
