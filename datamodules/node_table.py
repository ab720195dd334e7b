"""Node tables of a user's graph: ids, labels, splits and features."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datamodules.files import parse_number
from datamodules.graph_tables import check_widths, find_column, normalize_id, read_rows
from zoo.errors import DataError

IDS = ("id", "node", "node_id", "nodeid", "")  # the column without a name is an index
LABELS = ("label", "labels", "class", "y")
NO_LABEL = {"", "-1", "na", "n/a", "<na>", "nan", "none", "null", "?"}


@dataclass(frozen=True)
class NodeTable:
    """Cells of a node table, column by column.

    Args:
        path: path of the table, for error messages.
        lines: line number of each node.
        ids: id of each node.
        labels: label of each node, empty where it is unknown; None without such a column.
        splits: split of each node, empty for none; None without such a column.
        features: cells of each feature, by its name.
    """

    path: Path
    lines: Sequence[int]
    ids: Sequence[str]
    labels: Sequence[str] | None
    splits: Sequence[str] | None
    features: dict[str, Sequence[str]]

    @property
    def indices(self) -> dict[str, int]:
        """Index of each node, by its id."""
        return {node: i for i, node in enumerate(self.ids)}

    def class_names(self) -> list[str]:
        """Return the distinct labels; numbers are sorted as numbers and precede words."""
        return sorted({*(self.labels or ())} - {""}, key=_number_then_word)

    def read_features(self, names: Sequence[str]) -> Tensor:
        """Return numeric columns as float64, (N, F)."""
        columns = []
        for name in names:
            values = [parse_number(cell) for cell in self.features[name]]
            for line, value, cell in zip(self.lines, values, self.features[name], strict=True):
                if value is None or not math.isfinite(value):
                    found = repr(cell) if cell else "an empty cell"
                    raise DataError(
                        f"{self.path}, line {line}, column {name!r}: expected a number, found "
                        f"{found}; correct it, or leave the column out with "
                        f"--data.ignore '[{name}]'"
                    )
            columns.append(torch.tensor(values, dtype=torch.float64))
        return torch.stack(columns, 1)


def read_nodes(path: Path, ignore: Sequence[str]) -> NodeTable:
    """Read a node table.

    Args:
        path: table with a header.
        ignore: names of columns to leave out.

    Raises:
        DataError: the table has no rows or no column of ids; a column of ``ignore`` is not there;
            two columns have the same name; an id is missing or occurs twice.
    """
    rows = read_rows(path)
    if len(rows) < 2:
        raise DataError(f"{path} has no rows below its header")
    check_widths(path, rows)
    (_, names), *rows = rows
    _check_names(path, names, ignore)
    id_column = find_column(names, IDS)
    if id_column is None:
        raise DataError(
            f"{path} has no column 'id', which is required; its columns are {', '.join(names)}"
        )
    label_column, split_column = find_column(names, LABELS), find_column(names, ("split",))
    lines = [line for line, _ in rows]
    columns = [[cells[i] for _, cells in rows] for i in range(len(names))]
    special = {id_column, label_column, split_column}
    unnamed = [i for i, name in enumerate(names) if not name and i != id_column]
    if unnamed:
        _say(f"{path}: column {unnamed[0] + 1} has no name and is left out")
    features = {
        name: columns[i]
        for i, name in enumerate(names)
        if i not in special and name and name not in ignore
    }
    return NodeTable(
        path,
        lines,
        _read_ids(path, columns[id_column], lines),
        None if label_column is None else _read_labels(path, columns[label_column]),
        None if split_column is None else [_read_split(cell) for cell in columns[split_column]],
        features,
    )


def _check_names(path: Path, names: Sequence[str], ignore: Sequence[str]) -> None:
    if all(parse_number(name) is not None for name in names):
        raise DataError(f"{path} starts with numbers: its first line must name the columns")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path} has more than one column {repeated[0]!r}: rename all but one")
    for name in ignore:
        if name not in names:
            raise DataError(
                f"{path} has no column {name!r} to ignore; its columns are {', '.join(names)}"
            )


def _read_ids(path: Path, cells: Sequence[str], lines: Sequence[int]) -> list[str]:
    ids = [normalize_id(cell) for cell in cells]
    first: dict[str, int] = {}
    for node, line in zip(ids, lines, strict=True):
        if not node:
            raise DataError(f"{path}, line {line}: the node has no id")
        if node in first:
            raise DataError(
                f"{path}, line {line}: duplicate node id {node!r}, first used in line {first[node]}"
            )
        first[node] = line
    return ids


def _read_labels(path: Path, cells: Sequence[str]) -> list[str]:
    """Return the labels; 1.0 is the same as 1, and words for missing values become empty."""
    labels = [normalize_id(cell) for cell in cells]
    missing = [label for label in labels if label and label.lower() in NO_LABEL]
    if missing:
        words = ", ".join(sorted(set(missing)))
        _say(f"{path}: {len(missing)} of {len(labels)} nodes have no label ({words})")
    return ["" if label.lower() in NO_LABEL else label for label in labels]


def _read_split(cell: str) -> str:
    return {"valid": "val", "validation": "val", "training": "train"}.get(
        cell.lower(), "" if cell.lower() in NO_LABEL else cell.lower()
    )


def _number_then_word(label: str) -> tuple[bool, float, str]:
    number = parse_number(label)
    return number is None, number or 0.0, label


def _say(message: str) -> None:
    warnings.warn(message, stacklevel=2)
