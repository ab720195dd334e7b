"""The schema of a user's table: which columns are features and targets, and what they contain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datamodules.table_columns import Column
from datamodules.table_files import TextTable
from zoo.errors import DataError, suggest


@dataclass(frozen=True)
class TableOptions:
    """Options of the user for reading a table; see :class:`~datamodules.csv_file.CSV`."""

    targets: list[str]
    task: str = "auto"
    ignore: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    decimal: str | None = None


@dataclass(frozen=True)
class Schema:
    """Columns of the training table, as later tables are read.

    Args:
        features: the columns that are features.
        targets: the target columns; a single category if the targets are classes.
        id_column: name of a column that identifies the rows, if it was left out; default none.
    """

    features: tuple[Column, ...]
    targets: tuple[Column, ...]
    id_column: str | None = None

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; empty for numeric targets."""
        return list(self.targets[0].categories) if self.targets else []

    @property
    def feature_names(self) -> list[str]:
        """Names of the encoded features."""
        return [name for column in self.features for name in column.feature_names]

    def to_state(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return {
            "features": [column.to_state() for column in self.features],
            "targets": [column.to_state() for column in self.targets],
            "id_column": self.id_column,
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Schema:
        """Return the schema that ``to_state`` described."""
        features = tuple(map(Column.from_state, state["features"]))
        targets = tuple(map(Column.from_state, state["targets"]))
        return Schema(features, targets, state["id_column"])


def is_unnamed(name: str) -> bool:
    """Return whether a column has no name; pandas writes ``Unnamed: 0`` for an empty one."""
    return re.fullmatch(r"|Unnamed: \d+", name) is not None


def column_label(name: str, names: Iterable[str]) -> str:
    """Return a column's name in a message, or its position if it has none."""
    return repr(name) if name else f"column {list(names).index(name) + 1}"


def check_columns(table: TextTable, names: Iterable[str], reason: str = "") -> None:
    """Refuse a table without one of the columns.

    Args:
        table: the table.
        names: names of the columns.
        reason: why they are needed, such as ``, which the model was trained on``; default none.

    Raises:
        DataError: names the first missing column.
    """
    known = list(table.cells.columns)
    for name in names:
        if name not in known:
            hint = suggest(name, known) or f"; its columns are {', '.join(filter(None, known))}"
            raise DataError(f"{table.path} has no column {name!r}{reason}{hint}")
