"""CSV: the user's own table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.files import parse_number, read_table
from datamodules.tables import Array, Table, TableDataModule
from zoo.errors import DataError, InputError, check_choice, suggest

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
ON_MISSING = ("impute", "drop", "stop")
TASKS = ("auto", "regression", "classification")
TYPO_FRACTION = 0.05  # a column with at most this fraction of words is numeric with typos
MAX_CATEGORIES = 100


class CSV(TableDataModule):
    """A table from a text file with a header: ``--data csv --data.path t.csv --data.target price``.

    A column is numeric if all its values are numbers. Any other column is categorical and is
    encoded as one indicator (0 or 1) for each of its categories but the first. Empty cells, ``?``,
    ``NA``, ``N/A``, ``nan``, ``null`` and ``none``, in upper or lower case, are missing values.

    Args:
        path: UTF-8 file whose values are separated by commas, semicolons, tabs or vertical bars.
        target: name of the column to predict, or a list of several numeric columns.
        task: ``regression``, ``classification`` or ``auto`` (default): regression if the target
            is numeric, otherwise classification.
        ignore: names of columns to leave out, default none.
        on_missing: handling of missing values: ``impute`` (default) the training mean and add an
            indicator of missing values, or an extra category in categorical columns; ``drop`` the
            row; ``stop`` with an error. A missing target is an error unless its row is dropped.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        InputError: an argument is unknown or out of range, or ``ignore`` contains a target.
        DataError: the table cannot be used; the message names the file, line and column.
    """

    def __init__(
        self,
        path: str,
        target: str | list[str],
        task: str = "auto",
        ignore: list[str] | None = None,
        on_missing: str = "impute",
        **table: Any,
    ) -> None:
        super().__init__(**table)
        check_choice("on_missing", on_missing, ON_MISSING)
        check_choice("task", task, TASKS)
        self.path = Path(path)
        self.targets = [target] if isinstance(target, str) else list(target)
        self.task = task
        self.ignore = list(ignore or [])
        self.on_missing = on_missing
        both = [name for name in self.targets if name in self.ignore]
        if both:
            raise InputError(f"ignore contains the target {both[0]!r}: remove it from the list")

    def load_table(self) -> Table:
        names, lines, rows = self._read()
        for name in [*self.targets, *self.ignore]:
            if name not in names:
                hint = suggest(name, names) or f"; its columns are {', '.join(names)}"
                raise DataError(f"{self.path} has no column {name!r}{hint}")
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        used = [name for name in names if name not in self.ignore]
        keep = self._rows_to_keep({name: columns[name] for name in used}, lines)
        columns = {name: [columns[name][i] for i in keep] for name in used}
        lines = [lines[i] for i in keep]
        y, class_names = self._encode_targets(columns, lines)
        features = [
            self._encode_feature(name, columns[name], lines)
            for name in used
            if name not in self.targets
        ]
        if not features:
            raise DataError(
                f"{self.path} has no columns other than the target: add a feature column"
            )
        x = np.concatenate([values for values, _ in features], axis=1)
        feature_names = [name for _, encoded in features for name in encoded]
        return Table(x, y, feature_names, class_names, self.targets)

    def _regression_hint(self) -> str:
        return f"{super()._regression_hint()}, or set --data.task classification"

    # -- reading --------------------------------------------------------------------------------

    def _read(self) -> tuple[list[str], list[int], list[list[str]]]:
        """Return the header, and the line numbers and cells of all rows that are not empty."""
        names, rows = read_table(self.path)
        rows = [(line, row) for line, row in rows if any(row)]
        if not rows:
            raise DataError(f"{self.path} has no rows below its header")
        return names, [line for line, _ in rows], [row for _, row in rows]

    def _rows_to_keep(self, columns: dict[str, list[str]], lines: list[int]) -> list[int]:
        """Return the indices of the rows that remain, depending on ``on_missing``."""
        keep = []
        for row, line in enumerate(lines):
            gaps = [name for name, cells in columns.items() if _is_missing(cells[row])]
            if not gaps:
                keep.append(row)
                continue
            lacks_target = any(name in self.targets for name in gaps)
            if self.on_missing == "stop" or (lacks_target and self.on_missing == "impute"):
                raise DataError(
                    f"{self._location(gaps[0], line)}: the value is missing; fill it in, or leave "
                    "out such rows with --data.on_missing drop"
                )
            if self.on_missing == "impute":
                keep.append(row)
        if not keep:
            raise DataError(
                f"{self.path}: every row has a missing value; leave out columns with "
                "--data.ignore, or set --data.on_missing impute"
            )
        return keep

    def _location(self, column: str, line: int | None = None) -> str:
        where = "" if line is None else f", line {line}"
        return f"{self.path}{where}, column {column!r}"

    # -- columns --------------------------------------------------------------------------------

    def _parse_numbers(self, name: str, cells: Sequence[str], lines: Sequence[int]) -> Array | None:
        """Return a column as float64 with NaN for missing values, or None if it is categorical."""
        values = [math.nan if _is_missing(cell) else parse_number(cell) for cell in cells]
        words = [i for i, value in enumerate(values) if value is None]
        present = sum(not _is_missing(cell) for cell in cells)
        if not present:
            raise DataError(f"{self._location(name)}: all values are missing; {_ignore_hint(name)}")
        if len(words) > TYPO_FRACTION * present:
            return None
        if words:
            raise DataError(
                f"{self._location(name, lines[words[0]])}: {cells[words[0]]!r} is not a number, "
                f"but nearly all other values are; correct it, or {_ignore_hint(name)}"
            )
        array = np.array(values, dtype=np.float64)
        infinite = np.flatnonzero(np.isinf(array))
        if len(infinite):
            raise DataError(
                f"{self._location(name, lines[infinite[0]])}: the value is infinite; correct it, "
                f"or {_ignore_hint(name)}"
            )
        return array

    def _encode_feature(
        self, name: str, cells: Sequence[str], lines: Sequence[int]
    ) -> tuple[Array, list[str]]:
        """Return the encoding of a column, (N, features), and the names of the features."""
        numbers = self._parse_numbers(name, cells, lines)
        if numbers is not None:
            gaps = np.isnan(numbers)
            if not gaps.any():
                return numbers[:, None], [name]
            return np.stack([numbers, gaps.astype(float)], axis=1), [name, f"{name} missing"]
        words = ["(missing)" if _is_missing(cell) else cell for cell in cells]
        categories = sorted(set(words))
        if len(categories) > MAX_CATEGORIES:
            raise DataError(
                f"{self._location(name)}: {len(categories)} categories in {len(words)} rows are "
                f"too many (at most {MAX_CATEGORIES}); {_ignore_hint(name)}"
            )
        indicators = np.array([[float(word == k) for k in categories[1:]] for word in words])
        return indicators.reshape(len(words), -1), [f"{name}={k}" for k in categories[1:]]

    def _encode_targets(
        self, columns: dict[str, list[str]], lines: Sequence[int]
    ) -> tuple[Array, list[str]]:
        """Return numbers (N, T) and no class names, or class indices (N,) and class names."""
        numbers = [self._parse_numbers(name, columns[name], lines) for name in self.targets]
        if self.task == "classification" or (self.task == "auto" and numbers[0] is None):
            return self._encode_classes(columns[self.targets[0]])
        for name, values in zip(self.targets, numbers, strict=True):
            if values is None:
                raise DataError(
                    f"{self._location(name)}: a regression target must contain numbers, not words"
                )
        return np.stack([values for values in numbers if values is not None], axis=1), []

    def _encode_classes(self, words: Sequence[str]) -> tuple[Array, list[str]]:
        """Return class indices (N,) and the names of the classes, sorted as numbers or words."""
        if len(self.targets) > 1:
            raise DataError(
                f"{self.path}: several targets ({', '.join(self.targets)}) must all be numeric; "
                "classification takes one target"
            )
        location = self._location(self.targets[0])
        classes = sorted(set(words), key=lambda word: (parse_number(word) or 0.0, word))
        if len(classes) == 1:
            raise DataError(
                f"{location}: the target has only one class, {classes[0]!r}; at least 2 are needed"
            )
        if len(classes) > max(MAX_CATEGORIES, len(words) // 10):
            raise DataError(
                f"{location}: {len(classes)} different values in {len(words)} rows are too many "
                "for classes; choose another target"
            )
        return np.array([classes.index(word) for word in words]), classes


def _is_missing(cell: str) -> bool:
    return cell.lower() in MISSING


def _ignore_hint(name: str) -> str:
    return f"leave the column out with --data.ignore '[{name}]'"
