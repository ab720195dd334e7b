"""Labels of images in a table: one or several for each file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datamodules.folder_tree import NAMED
from datamodules.image_files import SUFFIXES
from zoo.errors import DataError, suggest

if TYPE_CHECKING:
    from datamodules.table_files import TextTable

FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "image_name", "image_id", "id")
LABEL_COLUMNS = ("labels", "label", "tags", "tag", "classes", "class")
LABEL_SEPARATORS = "|;,"
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class ImageLabels:
    """Labels of the images in a table.

    Attributes:
        source: path of the table.
        labels: names of the labels of each file, sorted; none or more.
        lines: line of the table in which each file occurs first.
        names: names of all labels, sorted.
    """

    source: Path
    labels: dict[Path, tuple[str, ...]]
    lines: dict[Path, int]
    names: list[str]

    @property
    def are_single(self) -> bool:
        """True if every image has exactly one label."""
        return all(len(names) == 1 for names in self.labels.values())

    def check_single(self) -> None:
        """Raise DataError unless every image has exactly one label."""
        for file, names in self.labels.items():
            if len(names) != 1:
                found = ", ".join(names) or "none"
                raise DataError(
                    f"{self.source}, line {self.lines[file]}: {file.name} must have one label, "
                    f"found {found}; with several labels, leave out --data.multi_label and use "
                    "--model multi_label"
                )

    def to_matrix(self, files: Sequence[Path], names: Sequence[str]) -> Tensor:
        """Return 1 where a file has a label and 0 elsewhere, float32 (N, K).

        Args:
            files: the N files; a file without a row in the table has no label.
            names: names of the K labels.

        Raises:
            DataError: a label that is not among the names.
        """
        index = {name: k for k, name in enumerate(names)}
        matrix = torch.zeros(len(files), len(names))
        for row, file in enumerate(files):
            for name in self.labels.get(file, ()):
                if name not in index:
                    raise DataError(
                        f"{self.source}, line {self.lines[file]}: the model was not trained on the "
                        f"label {name!r} (it knows {', '.join(names)}){suggest(name, names)}"
                    )
                matrix[row, index[name]] = 1
        return matrix


def read_image_labels(
    path: Path,
    folder: Path,
    files: Sequence[Path],
    separator: str | None = None,
    skip_missing: bool = False,
) -> ImageLabels:
    """Read a table with the labels of images.

    A column named ``file``, ``image``, ``id`` or the like, else the first one, contains the path of
    each file below the folder, or its name, with or without its suffix. Either a column ``labels``,
    or the only other one, contains names of labels; or there is one column of zeros and ones for
    each label. A file may occur in several rows, whose labels are joined.

    Args:
        path: path of the table.
        folder: folder of the images.
        files: images in the folder.
        separator: string between the labels in a cell; default: the first of ``|``, ``;`` and ``,``
            that occurs in the column.
        skip_missing: whether a file that is not in the folder is left out with a warning, default
            False.

    Raises:
        DataError: a fault in the table; the message names the line or the column.
    """
    from datamodules.table_files import read_text_table

    table = read_text_table(path)
    file_column = _find_column(table, FILE_COLUMNS) or table.cells.columns[0]
    found = _match_files(table, file_column, folder, files, skip_missing)
    rows = _read_labels(table, file_column, separator)
    labels: dict[Path, set[str]] = {}
    lines: dict[Path, int] = {}
    for line, file in found.items():
        labels.setdefault(file, set()).update(rows[line])
        lines.setdefault(file, line)
    names = sorted(set().union(*rows.values()))
    if not names:
        raise DataError(f"{path} contains no labels")
    return ImageLabels(path, {f: tuple(sorted(n)) for f, n in labels.items()}, lines, names)


def _find_column(table: TextTable, choices: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name in table.cells.columns}
    return next((by_name[choice] for choice in choices if choice in by_name), None)


# -- labels ----------------------------------------------------------------------------------------


def _read_labels(table: TextTable, file_column: str, separator: str | None) -> dict[int, set[str]]:
    """Return the labels in each line of the table."""
    others = [name for name in table.cells.columns if name != file_column]
    column = _find_column(table, LABEL_COLUMNS)
    flags = [name for name in others if _is_flag_column(table, name)]
    if column is None and flags:
        _warn_columns(table, [name for name in others if name not in flags])
        return _read_flags(table, flags)
    if column is None and len(others) == 1:
        column = others[0]
    if column is None:
        raise DataError(
            f"{table.path} has no column of labels (columns: {', '.join(table.cells.columns)}): "
            "name it labels, or use one column of zeros and ones for each label"
        )
    _warn_columns(table, [name for name in others if name != column])
    return _split_cells(table, column, separator)


def _is_flag_column(table: TextTable, name: str) -> bool:
    return all(cell.lower() in FLAGS for cell in table.cells[name])


def _read_flags(table: TextTable, names: Sequence[str]) -> dict[int, set[str]]:
    rows: dict[int, set[str]] = {line: set() for line in _cells(table, names[0])}
    for name in names:
        for line, cell in _cells(table, name).items():
            if FLAGS[cell.lower()]:
                rows[line].add(name)
    return rows


def _split_cells(table: TextTable, column: str, separator: str | None) -> dict[int, set[str]]:
    cells = _cells(table, column)
    if separator is None:
        separator = next((s for s in LABEL_SEPARATORS if any(s in c for c in cells.values())), None)
        spaces = sum(" " in cell for cell in cells.values())
        if separator is None and spaces:
            warnings.warn(
                f"{table.path}: spaces in the column {column!r} are part of the labels ({spaces} "
                "cells); if they are between labels, add --data.label_separator ' '",
                stacklevel=2,
            )
    parts = {line: cell.split(separator or "\0") for line, cell in cells.items()}
    return {line: {p.strip() for p in row if p.strip()} for line, row in parts.items()}


def _cells(table: TextTable, column: str) -> dict[int, str]:
    """Return the cells of a column by their lines."""
    lines = table.cells.index.tolist()
    return dict(zip(lines, table.cells[column].tolist(), strict=True))


def _warn_columns(table: TextTable, names: Sequence[str]) -> None:
    if names:
        warnings.warn(
            f"{table.path}: columns that are not labels are left out: {', '.join(names)}",
            stacklevel=2,
        )


# -- files -----------------------------------------------------------------------------------------


def _match_files(
    table: TextTable, column: str, folder: Path, files: Sequence[Path], skip_missing: bool
) -> dict[int, Path]:
    """Return the file of each line; lines whose file does not exist are left out."""
    index = _FileIndex(folder, files)
    found: dict[int, Path] = {}
    missing: list[int] = []
    for line, cell in _cells(table, column).items():
        matches = index.find(cell)
        if len(matches) > 1:
            raise DataError(
                f"{table.location(line, column)}: {cell!r} can be "
                f"{' or '.join(str(match.relative_to(folder)) for match in matches[:NAMED])}: "
                "write the path below the folder"
            )
        if matches:
            found[line] = matches[0]
        else:
            missing.append(line)
    if missing:
        _refuse_missing(table, column, folder, missing, skip_missing and bool(found))
    return found


def _refuse_missing(
    table: TextTable, column: str, folder: Path, lines: Sequence[int], skip: bool
) -> None:
    cell = _cells(table, column)[lines[0]]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    if skip:
        warnings.warn(
            f"{table.path}: rows whose image is not in {folder} are left out ({len(lines)}), such "
            f"as {cell!r}",
            stacklevel=2,
        )
        return
    raise DataError(
        f"{table.location(lines[0], column)}: there is no image {cell!r} in {folder}{more} "
        "(--data.on_error skip leaves out such rows)"
    )


class _FileIndex:
    """Files by their paths below a folder, by their names, and by their names without suffixes."""

    def __init__(self, folder: Path, files: Iterable[Path]) -> None:
        self.levels: list[dict[str, list[Path]]] = [{}, {}, {}]
        for file in files:
            keys = (file.relative_to(folder).as_posix(), file.name, file.stem)
            for level, key in zip(self.levels, keys, strict=True):
                level.setdefault(key, []).append(file)

    def find(self, cell: str) -> list[Path]:
        """Return the files that a cell may mean."""
        path = cell.replace("\\", "/").removeprefix("./")
        name = path.rsplit("/", 1)[-1]
        stem = "" if Path(name).suffix.lower() in SUFFIXES else name
        for level, key in zip(self.levels, (path, name, stem), strict=True):
            if key in level:
                return level[key]
        return []
