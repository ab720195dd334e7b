"""Files in a folder and its subfolders, and the splits and classes that the folders name."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from zoo.errors import DataError

#: name of a folder in lower case → split
SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
#: folders that operating systems and NAS devices add; names with a leading dot are hidden too
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}

NAMED = 3  # files that a message names; it counts the others

Parts = tuple[str, ...]  # path below the top folder, one string per level


class PlacedFile(NamedTuple):
    """A file with the split and the class of its folders.

    Attributes:
        path: path of the file.
        split: ``train``, ``val`` or ``test``; None outside folders of these names.
        class_name: name of the class folder; None outside class folders.
    """

    path: Path
    split: str | None
    class_name: str | None


@dataclass
class FolderTree:
    """The visible files below a folder.

    Attributes:
        top: the folder.
        files: paths of the files to use, below ``top``, sorted.
        folders: paths of the visible folders below ``top``.
        hidden: number of hidden files that were left out.
        others: number of files with other suffixes, by suffix.
    """

    top: Path
    files: list[Parts] = field(default_factory=list)
    folders: list[Parts] = field(default_factory=list)
    hidden: int = 0
    others: Counter[str] = field(default_factory=Counter)

    @property
    def split_level(self) -> int | None:
        """Level of the folders that are named after splits: 0 for ``train/CLASS``, 1 for
        ``CLASS/train``, None without split folders.

        A folder called ``train`` alone may be a class, beside ``car`` and ``bus``.
        """
        tops = _split_names(parts[0] for parts in self.files if len(parts) > 1)
        if tops and (None not in tops or ("train" in tops and len(tops - {None}) > 1)):
            return 0
        inner: dict[str, list[str]] = {}
        for parts in self.files:
            if len(parts) > 2:
                inner.setdefault(parts[0], []).append(parts[1])
        found = [_split_names(names) - {None} for names in inner.values()]
        return 1 if any("train" in names and len(names) > 1 for names in found) else None

    def place(self) -> list[PlacedFile]:
        """Return all files with their splits and classes.

        Raises:
            DataError: two folders name the same split.
        """
        level = self.split_level
        if level is None:
            return [
                PlacedFile(self.top.joinpath(*p), None, p[0] if len(p) > 1 else None)
                for p in self.files
            ]
        placed = [self._place_in_split(parts, level) for parts in self.files]
        self._check_split_folders(level)
        return placed

    def class_folders(self) -> list[tuple[str | None, str, Parts]]:
        """Return the split, the class and the path of each class folder."""
        level = self.split_level
        if level is None:
            return [(None, p[0], p) for p in self.folders if len(p) == 1]
        pairs = [p for p in self.folders if len(p) == 2 and p[level].lower() in SPLIT_FOLDERS]
        return [(SPLIT_FOLDERS[p[level].lower()], p[1 - level], p) for p in pairs]

    def _place_in_split(self, parts: Parts, level: int) -> PlacedFile:
        path = self.top.joinpath(*parts)
        folders = parts[:-1]
        split = SPLIT_FOLDERS.get(folders[level].lower()) if len(folders) > level else None
        class_name = folders[1 - level] if split and len(folders) > 1 - level else None
        return PlacedFile(path, split, class_name)

    def _check_split_folders(self, level: int) -> None:
        seen: dict[Parts, str] = {}
        for parts in self.files:
            if len(parts) <= level + 1 or parts[level].lower() not in SPLIT_FOLDERS:
                continue
            key = (*parts[:level], SPLIT_FOLDERS[parts[level].lower()])
            first = seen.setdefault(key, parts[level])
            if first != parts[level]:
                raise DataError(
                    f"{self.top.joinpath(*parts[:level])} has two folders for the {key[-1]} "
                    f"split, {first} and {parts[level]}: merge or rename one"
                )


def list_tree(top: Path, suffixes: Collection[str]) -> FolderTree:
    """Return the files below a folder, at any depth; hidden files and folders are left out.

    Links to files and folders are followed. A link to a file that does not exist is listed.

    Args:
        top: the folder.
        suffixes: suffixes of the files to use, in lower case.

    Raises:
        DataError: the folder does not exist, or a folder cannot be read.
    """
    if not top.exists():
        raise DataError(f"there is no folder {top} (--data.path)")
    if not top.is_dir():
        raise DataError(f"{top} is not a folder: give the folder that contains it (--data.path)")
    tree = FolderTree(top)
    _walk(tree, top, (), frozenset(), suffixes)
    tree.files.sort()
    return tree


def is_hidden(name: str) -> bool:
    """Return whether the name is that of a hidden file or of a system's own folder."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def list_counts(counts: Counter[str]) -> str:
    """Return names with their counts as text, sorted."""
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))


def name_files(files: Sequence[Path], top: Path) -> str:
    """Return the names of the first files below a folder, and the number of the others."""
    names = [file.relative_to(top).as_posix() for file in files[:NAMED]]
    more = len(files) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file.

    Raises:
        DataError: the file cannot be read, is a link to a missing file, or is not a regular file.
    """
    if not path.is_file():
        what = "a link to a missing file" if path.is_symlink() else "not a regular file"
        raise DataError(f"{path} is {what}: remove it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def file_key(path: Path, content: bytes) -> int:
    """Return a 63-bit hash of a file's name and contents, by which it is recognized elsewhere.

    Two files of the same contents in one folder have different keys.
    """
    name = hashlib.blake2b(os.fsencode(path.name), digest_size=16).digest()
    digest = hashlib.blake2b(content, digest_size=8, salt=name).digest()
    return int.from_bytes(digest, "big") >> 1


def _walk(
    tree: FolderTree,
    folder: Path,
    parts: Parts,
    ancestors: frozenset[Path],
    suffixes: Collection[str],
) -> None:
    """Add the contents of a folder to a tree; ``ancestors`` are the real paths above it."""
    ancestors |= {folder.resolve()}
    for entry in _entries(folder):
        suffix = Path(entry.name).suffix.lower()
        path = Path(entry.path)
        if _is_folder(entry):
            if is_hidden(entry.name):
                tree.hidden += _count_files(path, suffixes)
            elif path.resolve() not in ancestors:  # otherwise a link to a folder that contains it
                tree.folders.append((*parts, entry.name))
                _walk(tree, path, (*parts, entry.name), ancestors, suffixes)
        elif suffix in suffixes and is_hidden(entry.name):
            tree.hidden += 1
        elif suffix in suffixes:
            tree.files.append((*parts, entry.name))
        elif not is_hidden(entry.name):
            tree.others[suffix or "without a suffix"] += 1


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is named where it is read
        return False


def _count_files(folder: Path, suffixes: Collection[str]) -> int:
    """Return the number of files with one of the suffixes below a folder."""
    names = (name for _, _, files in os.walk(folder) for name in files)
    return sum(Path(name).suffix.lower() in suffixes for name in names)


def _split_names(folders: Iterable[str]) -> set[str | None]:
    """Return the splits that folders are named after, with None for other names."""
    return {SPLIT_FOLDERS.get(name.lower()) for name in folders}
