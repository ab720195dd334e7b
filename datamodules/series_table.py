"""Reading a table of time series."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.stacked_series import is_id, refuse_ids, refuse_repeated, unstack
from datamodules.table_files import TextTable, read_text_table
from datamodules.table_numbers import PLAIN, detect_formats, parse_numbers
from datamodules.time_axis import Rows, TimeAxis, align, numbered_axis
from datamodules.time_column import TimeColumn, TimeOptions, find_time_column
from zoo.errors import DataError, suggest


@dataclass(frozen=True)
class SeriesTable:
    """Parallel time series.

    Args:
        names: names of the series.
        values: float64 (steps, C), before scaling.
        axis: the times of the steps.
    """

    names: list[str]
    values: Tensor
    axis: TimeAxis


@dataclass(frozen=True)
class SeriesOptions:
    """Options of the user for reading a table of series.

    Args:
        columns: names of the series, default all columns but the time.
        time: column and notation of the times.
        id_column: column that names the series of each row, if series are stacked; default none.
        fill: rule for missing steps and cells, see :func:`~datamodules.time_axis.align`.
        learned: names of the series (``columns``) and state of the time axis (``time``) that a
            model was trained on, and that the table must have; default none.
    """

    columns: Sequence[str] | None = None
    time: TimeOptions = field(default_factory=TimeOptions)
    id_column: str | None = None
    fill: str | None = None
    learned: Mapping[str, Any] | None = None


def read_series(path: Path, options: SeriesOptions) -> SeriesTable:
    """Return the series in a table, in the order of time.

    Args:
        path: table with a header and a row for each step.
        options: options of the user.

    Raises:
        DataError: a column does not exist; a value is missing, unless ``fill`` is given, or is not
            a finite number; a time is missing, cannot be read, occurs twice or is between steps;
            or series are stacked. The message names the file and the line, column or time.
    """
    return _Reader(path, options).read()


class _Reader:
    """The text of one table while it is read, with the line of each row."""

    def __init__(self, path: Path, options: SeriesOptions) -> None:
        self.path, self.options = path, options
        table = read_text_table(path)
        self.cells = table.cells.reset_index(drop=True)
        self.lines = table.cells.index.to_numpy()
        self.separator = table.separator

    def read(self) -> SeriesTable:
        if self.options.id_column is not None:
            self._unstack(self.options.id_column)
        self.column = self._find_time()
        names = self._find_names()
        if self.options.id_column is None:
            others = self.cells.columns.drop([*self._time_names, *self._chosen])
            refuse_repeated(self.path, self.cells[others], self.lines, self.column)
            if not self._chosen:
                refuse_ids(self.path, self.cells[others])
        values = self._read_values(names)
        if self.column is None:
            times, notation = numbered_axis(len(values), 1).times, "number"
        else:
            times, notation = self.column.times, self.column.notation
        rows = Rows(self.path, self.lines, values, times, notation)
        learned = None if self.options.learned is None else self.options.learned["time"]
        values, axis = align(rows, self.column, self.options.fill, learned)
        return SeriesTable(names, torch.tensor(values), axis)

    # -- columns --------------------------------------------------------------------------------

    @property
    def _chosen(self) -> list[str]:
        """Names of the series that the user chose, or that a model was trained on."""
        learned = self.options.learned
        return list((self.options.columns if learned is None else learned["columns"]) or [])

    @property
    def _time_names(self) -> tuple[str, ...]:
        return () if self.column is None else self.column.names

    def _unstack(self, name: str) -> None:
        if name not in self.cells:
            raise self._no_column(name, self.cells.columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the time is read again from the new table
            column = self._find_time()
        time = () if column is None else column.names
        self.cells, self.lines = unstack(self.path, self.cells, self.lines, time, name)

    def _find_time(self) -> TimeColumn | None:
        options = self.options.time
        learned = self.options.learned
        if learned is not None and learned["time"]["columns"]:
            for name in learned["time"]["columns"]:
                if name not in self.cells:
                    raise self._no_column(name, self.cells.columns)
            options = TimeOptions(learned["time"]["columns"][0], options.format, options.zone)
        return find_time_column(self.path, self.cells, self.lines, options, self._chosen)

    def _no_column(self, name: str, others: Iterable[str]) -> DataError:
        trained = "" if self.options.learned is None else ", which the model was trained on"
        hint = suggest(name, others) or f"; its columns are {', '.join(others)}"
        return DataError(f"{self.path} has no column {name!r}{trained}{hint}")

    def _find_names(self) -> list[str]:
        """Return the names of the series, with a warning about columns that are left out."""
        others = [name for name in self.cells.columns if name not in self._time_names]
        for name in self._chosen:
            if name in self._time_names:
                raise DataError(
                    f"{self.path}: column {name!r} is the time: remove it from --data.columns, or "
                    "add --data.time none"
                )
            if name not in others:
                raise self._no_column(name, others)
        if self.options.learned is not None:
            if extra := [name for name in others if name not in self._chosen]:
                listed = ", ".join(map(repr, extra))
                self._say(f"left out {listed}, which the model was not trained on")
            return self._chosen
        names = self._chosen or [name for name in others if not self._is_left_out(name)]
        if not names:
            raise DataError(f"{self.path} has no column of numbers besides the time")
        return names

    def _is_left_out(self, name: str) -> bool:
        """Return whether a column counts the rows or names one series, with a warning if so."""
        cells = self.cells[name]
        if len(cells) < 2:
            return False
        first = cells.iloc[:1]
        if cells.nunique() == 1 and first[0] and (is_id(name) or parse_numbers(first).isna()[0]):
            self._say(f"left out column {name!r}, which is {first[0]!r} in every row")
            return True
        if name != self.cells.columns[0] or self.column is None:
            return False
        if bool((parse_numbers(cells).diff()[1:] == 1).all()):
            self._say(f"left out column {name!r}, which counts the rows")
            return True
        return False

    def _say(self, text: str) -> None:
        warnings.warn(f"{self.path}: {text}", stacklevel=2)

    # -- values ---------------------------------------------------------------------------------

    def _read_values(self, names: list[str]) -> np.ndarray[Any, Any]:
        """Return the values, float64 (rows, C); missing ones are NaN if they are to be filled."""
        values = np.empty((len(self.cells), len(names)))
        fills = self.options.fill in ("interpolate", "previous")
        table = TextTable(self.path, self.cells.set_axis(self.lines), self.separator)
        formats = detect_formats(table, names)
        for j, name in enumerate(names):
            cells = self.cells[name]
            values[:, j] = parse_numbers(cells, formats.get(name, PLAIN))
            bad = np.isnan(values[:, j]) & ~(fills & (cells == "").to_numpy())
            if bad.any():
                raise self._bad_value(name, int(np.flatnonzero(bad)[0]))
        return values

    def _bad_value(self, name: str, row: int) -> DataError:
        cells = self.cells[name]
        where = f"{self.path}, line {self.lines[row]}, column {name!r}"
        choose = "choose other columns with --data.columns"
        if cells.iloc[row] == "":
            return DataError(
                f"{where}: the value is missing; fill in a number, add --data.fill interpolate or "
                f"previous, or {choose}"
            )
        hint = f"fill in a number, or {choose}"
        if 2 <= cells.nunique() <= len(cells) / 2 and parse_numbers(cells).isna().all():
            hint = f"if it names one of several series, add --data.id_column {name!r}; or {choose}"
        return DataError(f"{where}: {cells.iloc[row]!r} is not a finite number; {hint}")
