"""A user's own table."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.files import number, read_table
from datamodules.tables import Table, TableDataModule
from zoo.errors import DataError

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
POLICIES = ("impute", "drop", "error")
TASKS = ("auto", "regression", "classification")
TYPOS = 0.05  # a column with fewer words than this among numbers is numbers with typing errors
MAX_CATEGORIES = 100

Array = np.ndarray[Any, Any]


class CSV(TableDataModule):
    """A table from a text file with a header: ``--data csv --data.path t.csv --data.target price``.

    A column whose values are all numbers is one; any other is a category, and becomes one column
    of 0 and 1 for each of its words but the first. ``?``, ``NA``, ``nan``, ``null``, ``none`` and
    nothing at all are missing values.

    Args:
        path: the file; UTF-8, separated by commas, semicolons, tabs or bars.
        target: column to predict, or several of numbers.
        task: ``auto`` (default: numbers are regression, words are classes), ``regression`` or
            ``classification``.
        ignore: columns to leave out.
        missing: ``impute`` (default: the training mean and a column that says so; for categories a
            word of its own), ``drop`` (leaves such rows out) or ``error``.
        **table: see :class:`~datamodules.tables.TableDataModule`.

    Raises:
        DataError: names the file, line and column of what is wrong.
    """

    def __init__(
        self,
        path: str,
        target: str | list[str],
        task: str = "auto",
        ignore: list[str] | None = None,
        missing: str = "impute",
        **table: Any,
    ) -> None:
        super().__init__(**table)
        if missing not in POLICIES:
            raise ValueError(f"unknown missing {missing!r}; choose from {', '.join(POLICIES)}")
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; choose from {', '.join(TASKS)}")
        self.path = Path(path)
        self.targets = [target] if isinstance(target, str) else list(target)
        self.task = task
        self.ignore = list(ignore or [])
        self.missing = missing

    def table(self) -> Table:
        names, lines, rows = self._read()
        for name in [*self.targets, *self.ignore]:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
                raise DataError(f"{self.path} has no column {name!r}; {hint}")
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        used = [name for name in names if name not in self.ignore]
        keep = self._rows_to_keep({name: columns[name] for name in used}, lines)
        columns = {name: [columns[name][i] for i in keep] for name in used}
        lines = [lines[i] for i in keep]
        y, classes = self._target(columns, lines)
        parts = [
            self._feature(name, columns[name], lines) for name in used if name not in self.targets
        ]
        if not parts:
            raise DataError(f"{self.path} has no columns beside the target")
        x = np.concatenate([values for values, _ in parts], axis=1)
        feature_names = [name for _, part in parts for name in part]
        return Table(x, y, feature_names, classes, self.targets)

    def _numbers_note(self) -> str:
        return f"{super()._numbers_note()}, or set --data.task classification"

    # -- reading --------------------------------------------------------------------------------

    def _read(self) -> tuple[list[str], list[int], list[list[str]]]:
        """Header, line numbers, and the cells of all rows that are not empty."""
        names, rows = read_table(self.path)
        rows = [(line, row) for line, row in rows if any(row)]
        if not rows:
            raise DataError(f"{self.path} holds no rows under its header")
        return names, [line for line, _ in rows], [row for _, row in rows]

    def _rows_to_keep(self, columns: dict[str, list[str]], lines: list[int]) -> list[int]:
        """Rows that stay, by the policy for missing values."""
        keep = []
        for row, line in enumerate(lines):
            gaps = [name for name, cells in columns.items() if _missing(cells[row])]
            if not gaps:
                keep.append(row)
                continue
            lost_target = any(name in self.targets for name in gaps)
            if self.missing == "error" or (lost_target and self.missing == "impute"):
                raise DataError(
                    f"{self.path}, line {line}: column {gaps[0]!r} is missing; "
                    "--data.missing drop leaves such rows out"
                )
            if self.missing == "impute":
                keep.append(row)
        return keep

    # -- columns --------------------------------------------------------------------------------

    def _numbers(self, name: str, cells: Sequence[str], lines: Sequence[int]) -> Array | None:
        """A column as float64 with nan for missing values, or None where it holds words."""
        values = [math.nan if _missing(cell) else number(cell) for cell in cells]
        words = [i for i, value in enumerate(values) if value is None]
        present = sum(not _missing(cell) for cell in cells)
        if not present:
            raise DataError(
                f"{self.path}: column {name!r} holds no values; leave it out with "
                f"--data.ignore '[{name}]'"
            )
        if len(words) > TYPOS * present:
            return None
        if words:
            raise DataError(
                f"{self.path}, line {lines[words[0]]}: column {name!r} holds {cells[words[0]]!r}, "
                "where all but a few values are numbers"
            )
        array = np.array(values, dtype=np.float64)
        infinite = np.flatnonzero(np.isinf(array))
        if len(infinite):
            raise DataError(f"{self.path}, line {lines[infinite[0]]}: column {name!r} is infinite")
        return array

    def _feature(
        self, name: str, cells: Sequence[str], lines: Sequence[int]
    ) -> tuple[Array, list[str]]:
        """What a column becomes, (N, columns), and their names."""
        numbers = self._numbers(name, cells, lines)
        if numbers is not None:
            gaps = np.isnan(numbers)
            if not gaps.any():
                return numbers[:, None], [name]
            return np.stack([numbers, gaps.astype(float)], axis=1), [name, f"{name} missing"]
        words = ["(missing)" if _missing(cell) else cell for cell in cells]
        known = sorted(set(words))
        if len(known) > MAX_CATEGORIES:
            raise DataError(
                f"{self.path}: column {name!r} holds {len(known)} different words in {len(words)} "
                f"rows; leave it out with --data.ignore '[{name}]'"
            )
        one_hot = np.array([[float(word == k) for k in known[1:]] for word in words])
        return one_hot.reshape(len(words), -1), [f"{name}={k}" for k in known[1:]]

    def _target(
        self, columns: dict[str, list[str]], lines: Sequence[int]
    ) -> tuple[Array, list[str]]:
        """Numbers (N, T) and no classes, or indices (N,) and the classes."""
        numbers = [self._numbers(name, columns[name], lines) for name in self.targets]
        if self.task == "classification" or (self.task == "auto" and numbers[0] is None):
            return self._classes(columns[self.targets[0]])
        for name, values in zip(self.targets, numbers, strict=True):
            if values is None:
                raise DataError(f"{self.path}: target {name!r} holds words, not numbers")
        return np.stack([values for values in numbers if values is not None], axis=1), []

    def _classes(self, words: Sequence[str]) -> tuple[Array, list[str]]:
        if len(self.targets) > 1:
            raise DataError(f"several targets ({', '.join(self.targets)}) must all be numbers")
        known = sorted(set(words), key=lambda word: (number(word) or 0.0, word))
        if len(known) == 1:
            raise DataError(
                f"{self.path}: target {self.targets[0]!r} has one class only, {known[0]!r}"
            )
        if len(known) > max(MAX_CATEGORIES, len(words) // 10):
            raise DataError(
                f"{self.path}: target {self.targets[0]!r} has {len(known)} different values in "
                f"{len(words)} rows: too many for classes"
            )
        return np.array([known.index(word) for word in words]), known


def _missing(cell: str) -> bool:
    return cell.lower() in MISSING
