"""Files in folders that are named after their classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from zoo.errors import DataError

ON_ERROR = ("stop", "skip")
T = TypeVar("T")


class ClassFolders:
    """Three layouts: ``path/train/CLASS/…`` with ``path/test/CLASS/…``; ``path/CLASS/…``; files
    directly in ``path`` (no classes).

    Args:
        path: the folder.
        suffixes: of the files that count, in lower case.
        what: what they are, for errors.
        on_error: what a file does that cannot be used: ``stop`` (default), or ``skip``, which names
            it in a warning and goes on without it.

    Raises:
        ValueError: unknown ``on_error``.
    """

    smallest = 3  # files of a split, at least

    def __init__(
        self, path: Path, suffixes: Collection[str], what: str, on_error: str = "stop"
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"unknown on_error {on_error!r}; choose from {', '.join(ON_ERROR)}")
        self.path, self.suffixes, self.what = path, suffixes, what
        self.on_error = on_error

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the class folders, sorted; empty when files lie directly in ``path``."""
        return sorted(self._folders(self.path / "train" if self.has_splits else self.path))

    @property
    def has_splits(self) -> bool:
        """Whether the folder says what is for training and what for test."""
        return (self.path / "train").is_dir() and (self.path / "test").is_dir()

    def files(self, train: bool) -> list[Path]:
        """The files of a split; all files, where the folder has none.

        Raises:
            DataError: no such folder, too few files, classes that training lacks.
        """
        if not self.path.is_dir():
            raise DataError(f"there is no folder {self.path} (--data.path)")
        top = self.path / ("train" if train else "test") if self.has_splits else self.path
        unknown = sorted(set(self._folders(top)) - set(self.class_names))
        if unknown:
            raise DataError(f"{top} has class folders that {self.path / 'train'} lacks: {unknown}")
        folders = [top / name for name in self.class_names] if self.class_names else [top]
        files = [f for folder in folders if folder.is_dir() for f in sorted(folder.iterdir())]
        files = [f for f in files if f.suffix.lower() in self.suffixes]
        if len(files) < self.smallest:
            raise DataError(
                f"{top} holds {len(files)} {self.what} ({', '.join(sorted(self.suffixes))}), "
                f"directly or in class folders; at least {self.smallest} are needed"
            )
        return files

    def label(self, file: Path) -> int:
        """Number of a file's class, 0 where there are none."""
        return self.class_names.index(file.parent.name) if self.class_names else 0

    def rows(self, train: bool, samples: int, seed: int) -> Tensor:
        """Which of the files of a split belong to it: all, or, where the folder has no splits, a
        tenth drawn by the seed for test and the others for training."""
        if self.has_splits:
            return torch.arange(samples)
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
        held_out = max(1, samples // 10)
        return (order[held_out:] if train else order[:held_out]).sort().values

    def chosen(self, train: bool, seed: int, train_per_class: int | None = None) -> list[Path]:
        """The files of a split, after ``rows``, or after so many of each class for training.

        Args:
            train: which split.
            seed: of the draw.
            train_per_class: counts only where the folder has no splits of its own.

        Raises:
            DataError: see ``files`` and :func:`per_class`.
        """
        files = self.files(train)
        if train_per_class is None or self.has_splits:
            rows = self.rows(train, len(files), seed)
        else:
            labels = torch.tensor([self.label(file) for file in files])
            rows = per_class(labels, train_per_class, seed)[0 if train else 1]
        return [files[row] for row in rows.tolist()]

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What ``read()`` returns; None, and a warning, for a file that is to be skipped.

        Raises:
            DataError: that of a file that stops all.
        """
        try:
            return read()
        except DataError as error:
            if self.on_error == "stop":
                raise DataError(f"{error} (--data.on_error skip goes on without it)") from None
            warnings.warn(f"left out: {error}", stacklevel=2)
            return None

    def _folders(self, path: Path) -> list[str]:
        """Folders in ``path`` that hold at least one such file."""
        if not path.is_dir():
            return []
        folders = [f for f in path.iterdir() if f.is_dir()]
        return [
            f.name for f in folders if any(p.suffix.lower() in self.suffixes for p in f.iterdir())
        ]


def per_class(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """``count`` samples of each class, drawn by the seed, and all others; both sorted.

    Raises:
        DataError: a class has no more than ``count``.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = []
    for k in range(int(labels.max()) + 1):
        members = order[labels[order] == k]
        if len(members) <= count:
            raise DataError(
                f"class {k} has {len(members)} samples: {count} for training leave none for test"
            )
        chosen.append(members[:count])
    train = torch.cat(chosen).sort().values
    everything = torch.arange(len(labels))
    return train, everything[~torch.isin(everything, train)]
