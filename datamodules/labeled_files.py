"""Files in folders that are named after their classes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from datamodules.folder_tree import FolderTree, PlacedFile, list_counts, list_tree, name_files
from zoo.errors import DataError, check_choice, suggest

ON_ERROR = ("stop", "skip")
T = TypeVar("T")


class LabeledFiles:
    """The files in a folder and its subfolders, and their classes.

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

    def __init__(
        self, path: Path, suffixes: Collection[str], noun: str, on_error: str = "stop"
    ) -> None:
        check_choice("on_error", on_error, ON_ERROR)
        self.path, self.suffixes, self.noun = path, suffixes, noun
        self.on_error = on_error
        self._class_of: Callable[[Path], str | None] | None = None
        self._table: Path | None = None  # source of the labels, in place of class folders
        self._trained_classes: list[str] | None = None
        #: files that are left out
        self.excluded: set[Path] = set()
        self._warned: set[str] = set()

    @cached_property
    def tree(self) -> FolderTree:
        """The files below ``path``.

        Raises:
            DataError: the folder does not exist or has no files of the suffixes.
        """
        tree = list_tree(self.path, self.suffixes)
        if self._table is not None and tree.top in self._table.parents:
            tree.others -= Counter([self._table.suffix.lower()])
        if not tree.files:
            other = f"; it has files {list_counts(tree.others)}" if tree.others else ""
            hidden = f"; it has {tree.hidden} hidden files" if tree.hidden else ""
            raise DataError(
                f"{self.path} has 0 {self.noun} ({', '.join(sorted(self.suffixes))}){other}{hidden}"
            )
        if tree.hidden:
            self.warn(f"{self.noun} in hidden files and folders are left out: {tree.hidden}")
        if tree.others:
            self.warn(f"files that are not {self.noun} are left out: {list_counts(tree.others)}")
        return tree

    @property
    def files(self) -> list[Path]:
        """All files that are not hidden, in any folder, sorted."""
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

    def use_labels(self, class_of: Callable[[Path], str | None], table: Path) -> None:
        """Use the classes in a table in place of the class folders.

        Args:
            class_of: function that returns the class of a file, None if it has none.
            table: path of the table.
        """
        self._class_of, self._table = class_of, table

    def label(self, file: Path) -> int:
        """Return the class index of a file; 0 without classes or for an unknown class."""
        return self._labels.get(file, 0)

    @cached_property
    def _placed(self) -> list[PlacedFile]:
        placed = self.tree.place()
        if self._class_of is None:
            return placed
        return [file._replace(class_name=self._class_of(file.path)) for file in placed]

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

    def usable_files(self) -> list[PlacedFile]:
        """Return the files for training and evaluation, which have a class if any file has one.

        Warnings name the files that are left out.

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
        self._warn_left_out(loose, "without a label" if self._class_of else "outside class folders")
        if self._class_of is None:
            self._warn_empty_folders()
        return kept

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

    def describe(self) -> str:
        """Return the plural of the files to use, in messages."""
        if not self.class_names:
            return self.noun
        return f"{self.noun} with labels" if self._class_of else f"{self.noun} in class folders"

    def _warn_left_out(self, files: Sequence[Path], reason: str) -> None:
        if files:
            self.warn(
                f"{self.noun} {reason} are left out ({len(files)}): {name_files(files, self.path)}"
            )

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
            self.warn(f"class folders without {self.noun} are left out: {', '.join(empty)}")

    def warn(self, message: str) -> None:
        """Warn once."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=3)
