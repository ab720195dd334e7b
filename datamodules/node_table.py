"""Node tables of a user's graph: ids, labels, splits and features."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datamodules.column_types import learn_schema
from datamodules.table_columns import Array
from datamodules.table_files import TextTable, read_text_table
from datamodules.table_numbers import NumberFormat, detect_formats, is_gap, mask_missing
from datamodules.table_schema import Schema, TableOptions, check_columns
from zoo.errors import DataError

IDS = ("id", "node", "node_id", "nodeid", "")  # a column without a name is an index
LABELS = ("label", "labels", "class", "y")
SPLIT_WORDS = {"training": "train", "valid": "val", "validation": "val"}


@dataclass(frozen=True)
class NodeTable:
    """Cells of a node table.

    Args:
        table: labels and features; the index contains the line of each node.
        ids: id of each node.
        label: name of the column of labels; None without one.
        splits: split of each node, empty for none; None without such a column.
    """

    table: TextTable
    ids: Sequence[str]
    label: str | None
    splits: Sequence[str] | None

    @property
    def lines(self) -> Sequence[int]:
        """Line of each node in the file."""
        return self.table.cells.index.tolist()

    @property
    def indices(self) -> dict[str, int]:
        """Index of each node, by its id."""
        return {node: i for i, node in enumerate(self.ids)}

    @property
    def feature_columns(self) -> list[str]:
        """Names of all columns except the ids, labels and splits."""
        return [name for name in self.table.cells.columns if name != self.label]

    def learn(self, options: TableOptions) -> Schema:
        """Return the schema of the columns; see :func:`~datamodules.column_types.learn_schema`."""
        return learn_schema(self.table, options, drops_gaps=False, needs_features=False)

    def formats(self, schema: Schema, decimal: str | None) -> dict[str, NumberFormat]:
        """Return the notation of the numbers of a schema's features in this table.

        Args:
            schema: columns of the training graph.
            decimal: decimal sign, default detected.

        Raises:
            DataError: a column is missing.
        """
        names = [column.name for column in schema.features]
        check_columns(self.table, names, ", which the model was trained on")
        known = {column.name: column.number_format for column in schema.features}
        return detect_formats(self.table, names, decimal, known)

    def encode_features(
        self, schema: Schema, formats: Mapping[str, NumberFormat] | None = None
    ) -> Array:
        """Return the features by a schema, float64 (N, F); NaN marks a missing number.

        Args:
            schema: columns of the training graph.
            formats: notation of each feature's numbers in this table, default as in training.

        Raises:
            DataError: a cell does not fit its column.
        """
        encoded = [np.zeros((len(self.ids), 0))]
        for column in schema.features:
            values = column.read(self.table, (formats or {}).get(column.name))
            encoded.append(column.encode(self.table, values, column.gaps(self.table)))
        return np.concatenate(encoded, axis=1)

    def encode_labels(self, schema: Schema) -> Tensor:
        """Return the class index of each node, int64 (N,); −1 where it is unknown.

        Raises:
            DataError: a class that the schema does not have.
        """
        if self.label is None or not schema.targets:
            return torch.full((len(self.ids),), -1)
        column = replace(schema.targets[0], name=self.label)
        words, gaps = column.read(self.table), column.gaps(self.table)
        return torch.from_numpy(column.codes(self.table, words, gaps))


def read_nodes(path: Path, missing: Sequence[str]) -> NodeTable:
    """Read a node table, with a header.

    Args:
        path: path of the table.
        missing: texts of missing feature values.

    Raises:
        DataError: the table has no column of ids; an id is missing or occurs twice; see also
            :func:`~datamodules.table_files.read_text_table`.
    """
    table = read_text_table(path)
    names = [str(name) for name in table.cells.columns]
    id_column, label = _find_column(names, IDS), _find_column(names, LABELS)
    if id_column is None:
        raise DataError(
            f"{path} has no column 'id', which is required; its columns are {', '.join(names)}"
        )
    split_column = _find_column(names, ("split",))
    ids = _read_ids(table, id_column)
    splits = None if split_column is None else _read_splits(table.cells[split_column])
    cells = table.cells.drop(columns=[c for c in (id_column, split_column) if c is not None])
    if label is not None:
        cells[label] = _mask_unknown(path, cells[label])
    return NodeTable(mask_missing(replace(table, cells=cells), missing), ids, label, splits)


def normalize_id(cell: str) -> str:
    """Return a node id; 7.0, as spreadsheets write whole numbers, is the same id as 7."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", cell)


def _find_column(names: Sequence[str], choices: Sequence[str]) -> str | None:
    """Return the column with the first of some names, in upper or lower case, or None."""
    found = {name.lower(): name for name in reversed(names)}
    return next((found[choice] for choice in choices if choice in found), None)


def _read_ids(table: TextTable, column: str) -> list[str]:
    ids = [normalize_id(cell) for cell in table.cells[column]]
    first: dict[str, int] = {}
    for node, line in zip(ids, table.cells.index.tolist(), strict=True):
        if not node:
            raise DataError(f"{table.location(line)}: the node has no id")
        if node in first:
            raise DataError(
                f"{table.location(line)}: duplicate node id {node!r}, first used in line "
                f"{first[node]}"
            )
        first[node] = line
    return ids


def _mask_unknown(path: Path, labels: pd.Series[str]) -> pd.Series[str]:
    """Return the labels with empty cells where they are unknown, and say how that was written."""
    unknown = is_gap(labels) | labels.map(normalize_id).eq("-1")
    words = sorted(set(labels[unknown]) - {""})
    if words:
        has_minus_one = any(normalize_id(word) == "-1" for word in words)
        hint = "; if -1 is a class, give it another name" if has_minus_one else ""
        warnings.warn(
            f"{path}: {int(unknown.sum())} of {len(labels)} nodes have no label "
            f"({', '.join(words)}){hint}",
            stacklevel=2,
        )
    return labels.mask(unknown, "")


def _read_splits(cells: pd.Series[str]) -> list[str]:
    words = cells.mask(is_gap(cells), "").str.lower()
    return [SPLIT_WORDS.get(word, word) for word in words]
