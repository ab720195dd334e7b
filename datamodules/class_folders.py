"""Files in folders that are named after their classes and splits."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from datamodules.folder_tree import (
    FolderTree,
    PlacedFile,
    file_key,
    list_counts,
    list_tree,
    read_bytes,
)
from datamodules.splits import choose_per_class, hold_out_stratified, take
from zoo.errors import DataError, check_choice, suggest

ON_ERROR = ("stop", "skip")
SPLITS = ("train", "val", "test")
NAMED = 3  # files that a warning names; it counts the others
T = TypeVar("T")


class ClassFolders:
    """A folder of the user's files, with or without class folders and official splits.

    Layouts: ``path/train/CLASS/…`` with ``path/val/CLASS/…`` and ``path/test/CLASS/…``, or one of
    them; ``path/CLASS/train/…`` in the same way; ``path/CLASS/…``; each of them without class
    folders. The names of the split folders may be written ``Train``, ``valid``, ``validation`` and
    the like. A class folder may have subfolders. Hidden files and folders are left out.

    Args:
        path: the folder.
        suffixes: file name suffixes to use, in lower case; other files are ignored.
        noun: plural noun for the files in error messages, such as ``images``.
        on_error: handling of a file that cannot be used: ``stop`` (default) with an error, or
            ``skip`` it with a warning.

    Raises:
        InputError: unknown ``on_error``.
    """

    min_files = 3  # without split folders: one for each split

    def __init__(
        self, path: Path, suffixes: Collection[str], noun: str, on_error: str = "stop"
    ) -> None:
        check_choice("on_error", on_error, ON_ERROR)
        self.path, self.suffixes, self.noun = path, suffixes, noun
        self.on_error = on_error
        #: function that returns the class of a file, in place of the class folders
        self.class_of: Callable[[Path], str | None] | None = None
        self._trained_classes: list[str] | None = None
        #: files that are left out
        self.excluded: set[Path] = set()
        self._warned: set[str] = set()

    # -- files and classes ----------------------------------------------------------------------

    @cached_property
    def tree(self) -> FolderTree:
        """The files below ``path``.

        Raises:
            DataError: the folder does not exist or has no files of the suffixes.
        """
        tree = list_tree(self.path, self.suffixes)
        if not tree.files:
            other = f"; it has files {list_counts(tree.others)}" if tree.others else ""
            hidden = f"; it has {tree.hidden} hidden files" if tree.hidden else ""
            raise DataError(
                f"{self.path} has 0 {self.noun} ({', '.join(sorted(self.suffixes))}){other}{hidden}"
            )
        if tree.hidden:
            self._warn(f"{self.noun} in hidden files and folders are left out: {tree.hidden}")
        if tree.others:
            self._warn(f"files that are not {self.noun} are left out: {list_counts(tree.others)}")
        return tree

    @property
    def files(self) -> list[Path]:
        """All files that are not hidden, sorted, whatever their folders."""
        return [self.path.joinpath(*parts) for parts in self.tree.files]

    @property
    def has_splits(self) -> bool:
        """True if there are split folders."""
        return self.tree.split_level is not None

    @property
    def class_names(self) -> list[str]:
        """Names of the classes: those that a model was trained on, else the class folders, sorted;
        empty without class folders."""
        return self._own_classes if self._trained_classes is None else self._trained_classes

    @property
    def num_classes(self) -> int:
        """Number of classes.

        Raises:
            AttributeError: there are fewer than 2.
        """
        count = len(self.class_names)
        if count < 2:
            folders = "1 class folder" if count == 1 else f"{count} class folders"
            raise AttributeError(
                f"{self.path} has {folders}; at least 2 are needed{self._deeper_hint()}"
            )
        return count

    def use_classes(self, class_names: list[str]) -> None:
        """Use the classes that a model was trained on; files of other classes are refused."""
        self._trained_classes = class_names
        self.__dict__.pop("_labels", None)

    def label(self, file: Path) -> int:
        """Return the class index of a file; 0 without classes or for an unknown class."""
        return self._labels.get(file, 0)

    @cached_property
    def _placed(self) -> list[PlacedFile]:
        placed = self.tree.place()
        if self.class_of is None:
            return placed
        return [file._replace(class_name=self.class_of(file.path)) for file in placed]

    @cached_property
    def _own_classes(self) -> list[str]:
        files = [file for file in self._placed if file.class_name is not None]
        if self.has_splits:
            trained = [file for file in files if file.split == "train"]
            files = trained or [file for file in files if file.split is not None]
        return sorted({str(file.class_name) for file in files})

    @cached_property
    def _labels(self) -> dict[Path, int]:
        index = {name: k for k, name in enumerate(self.class_names)}
        return {f.path: index[f.class_name] for f in self._placed if f.class_name in index}

    def _deeper_hint(self) -> str:
        """Return a hint if the classes are one folder further down."""
        tops = {parts[0] for parts in self.tree.folders}
        inner = {parts[1] for parts in self.tree.folders if len(parts) > 1}
        if len(tops) != 1 or len(inner) < 2:
            return ""
        return f"; did you mean --data.path {self.path / tops.pop()}?"

    # -- splits ---------------------------------------------------------------------------------

    def usable_files(self) -> list[PlacedFile]:
        """Return the files for training and evaluation, which have a class if any file has one.

        What is left out is said in a warning.

        Raises:
            DataError: a class folder that training does not have.
        """
        self._check_classes()
        level = self.tree.split_level
        kept, outside, loose = [], [], []
        for file in self._placed:
            if level is not None and file.split is None:
                outside.append(file.path)
            elif self.class_names and file.class_name is None:
                loose.append(file.path)
            elif file.path not in self.excluded:
                kept.append(file)
        self._warn_left_out(outside, "outside the split folders")
        self._warn_left_out(loose, "without a label" if self.class_of else "outside class folders")
        if self.class_of is None:
            self._warn_empty_folders()
        return kept

    def splits(
        self, seed: int, val_size: float, train_per_class: int | None = None
    ) -> dict[str, list[Path]]:
        """Return the files of the splits ``train``, ``val`` and ``test``.

        A split without a folder is held out from the training files: a tenth of them for testing,
        then ``val_size`` for validation, with the same fraction of each class.

        Args:
            seed: random seed of the splits.
            val_size: validation files if there is no folder for them: a count (≥ 1) or a fraction
                (< 1) of the training files.
            train_per_class: number of training files per class, if the folder has no split
                folders; default None: nine tenths of all files.

        Raises:
            DataError: too few files, or a class that training does not have.
        """
        files = self.usable_files()
        parts = {
            name: [file.path for file in files if file.split == name] for name in (*SPLITS, None)
        }
        train, val, test = parts[None] or parts["train"], parts["val"], parts["test"]
        self._check_enough(train)
        if not test:
            train, test = self._hold_out_test(train, seed, train_per_class)
        if not val:
            rest, held_out = self.hold_out_validation(train, val_size, seed)
            train, val = take(train, rest), take(train, held_out)
        splits = {"train": train, "val": val, "test": test}
        for name, members in splits.items():
            self._warn_missing_classes(name, members)
        return splits

    def split_files(self, train: bool, seed: int, train_per_class: int | None = None) -> list[Path]:
        """Return the files of the training split, including validation, or of the test split.

        Args:
            train: True for the training split, False for the test split.
            seed, train_per_class: see ``splits``.

        Raises:
            DataError: see ``splits``.
        """
        splits = self.splits(seed, 0, train_per_class)
        return sorted(splits["train"] + splits["val"]) if train else splits["test"]

    def hold_out_validation(
        self, files: Sequence[Path], val_size: float, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of the training and the validation files among ``files``, sorted.

        Args:
            files: files of the training split, including validation; see ``split_files``.
            val_size, seed: see ``splits``.

        Raises:
            DataError: no training file would remain.
        """
        in_val = {file.path for file in self._placed if file.split == "val"}
        is_val = torch.tensor([file in in_val for file in files])
        if is_val.any():
            return (~is_val).nonzero()[:, 0], is_val.nonzero()[:, 0]
        return hold_out_stratified(self._labels_of(files), val_size, seed)

    def training_keys(self, seed: int, train_per_class: int | None = None) -> list[int]:
        """Return the keys of the files for training and validation, see
        :func:`~datamodules.folder_tree.file_key`; files that cannot be read are left out."""
        files = self.split_files(True, seed, train_per_class)
        return sorted(file_key(file, read_bytes(file)) for file in files if file.is_file())

    def unused_files(
        self, used_keys: Collection[int], num_tested: int, keys: Mapping[Path, int] | None = None
    ) -> list[Path]:
        """Return the files to test a trained model on.

        These are the files in a test folder, else all that were not used in training. On the
        training data they are those of its test split.

        Args:
            used_keys: keys of the files that were used in training or validation.
            num_tested: number of files in the test split of the training data.
            keys: key of each file, if known; by default the files are read.

        Raises:
            DataError: all files were used in training, or a class is unknown.
        """
        files = self.usable_files()
        if not files:
            raise DataError(
                f"{self.path} has no {self._kind()} to test on; without labels, use predict"
            )
        paths = [file.path for file in files]
        tested = [file.path for file in files if file.split == "test"]
        if not tested:
            found = {p: file_key(p, read_bytes(p)) for p in paths} if keys is None else keys
            used = set(used_keys)
            tested = [path for path in paths if found[path] not in used]
            if not tested:
                raise DataError(
                    f"all {len(paths)} {self.noun} of {self.path} were used in training: give "
                    "others with --data.path"
                )
            if len(tested) == len(paths):
                self._warn(
                    f"{self.path} is not the training data: all its {self.noun} are tested "
                    f"({len(tested)})"
                )
            elif len(tested) != num_tested:
                self._warn(
                    f"{self.path} has changed since training: the {self.noun} that were not used "
                    f"in training are tested ({len(tested)} of {len(paths)})"
                )
        self._warn_missing_classes("test", tested)
        return tested

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

    def _hold_out_test(
        self, files: Sequence[Path], seed: int, train_per_class: int | None
    ) -> tuple[list[Path], list[Path]]:
        if train_per_class is not None and not self.has_splits:
            self._check_per_class(files, train_per_class)
            train, test = choose_per_class(self._labels_of(files), train_per_class, seed)
            return take(files, train), take(files, test)
        if self.has_splits:
            self._warn(f"{self.path} has no test folder with {self._kind()}: a tenth of the "
                       f"training {self.noun}, chosen by the seed, is for testing")  # fmt: skip
        count = max(1, len(files) // 10)
        train, test = hold_out_stratified(self._labels_of(files), count, seed)
        return take(files, train), take(files, test)

    def _labels_of(self, files: Sequence[Path]) -> Tensor:
        return torch.tensor([self.label(file) for file in files])

    # -- checks and warnings --------------------------------------------------------------------

    def _check_classes(self) -> None:
        known = self.class_names
        if not known:
            return
        found = {str(f.class_name) for f in self._placed if f.class_name is not None}
        extra = sorted(found - set(known))
        if not extra:
            return
        if self._trained_classes is not None:
            owner = f"the model was not trained on (it knows {', '.join(known)})"
        else:
            owner = "the training folder lacks"
        raise DataError(
            f"{self.path} has classes that {owner}: {', '.join(extra)}{suggest(extra[0], known)}"
        )

    def _check_enough(self, train: Sequence[Path]) -> None:
        if not train and self.has_splits:
            raise DataError(f"{self.path} has no train folder with {self._kind()}")
        needed = 1 if self.has_splits else self.min_files
        if len(train) < needed:
            raise DataError(
                f"{self.path} has {len(train)} {self.noun} ({', '.join(sorted(self.suffixes))}), "
                f"counting those in class folders; at least {needed} are needed"
            )

    def _check_per_class(self, files: Sequence[Path], count: int) -> None:
        for k, size in Counter(map(self.label, files)).items():
            if size <= count:
                folder = self.path / self.class_names[k] if self.class_names else self.path
                raise DataError(
                    f"{folder} has {size} {self.noun}: train_per_class={count} leaves none for "
                    "testing"
                )

    def _kind(self) -> str:
        if not self.class_names:
            return self.noun
        return f"{self.noun} with labels" if self.class_of else f"{self.noun} in class folders"

    def _warn_missing_classes(self, split: str, files: Sequence[Path]) -> None:
        counts = Counter(self.label(file) for file in files)
        missing = [name for k, name in enumerate(self.class_names) if not counts[k]]
        if missing and files:
            self._warn(f"the {split} split has no {self.noun} of {', '.join(missing)}")

    def _warn_left_out(self, files: Sequence[Path], reason: str) -> None:
        if files:
            self._warn(f"{self.noun} {reason} are left out ({len(files)}): {self.name(files)}")

    def _warn_empty_folders(self) -> None:
        if not self.class_names:
            return
        used = {(file.split, file.class_name) for file in self._placed}
        empty = [
            "/".join(parts)
            for split, name, parts in self.tree.class_folders()
            if (split, name) not in used and name not in self.class_names
        ]
        if empty:
            self._warn(f"class folders without {self.noun} are left out: {', '.join(empty)}")

    def name(self, files: Sequence[Path]) -> str:
        """Return the names of the first files below ``path``, and the number of the others."""
        names = [file.relative_to(self.path).as_posix() for file in files[:NAMED]]
        more = len(files) - len(names)
        return ", ".join(names) + (f" and {more} more" if more else "")

    def _warn(self, message: str) -> None:
        """Warn once."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=3)
