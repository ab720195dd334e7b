"""Columns of a user's table: numbers, dates and categories, and their encoding as features."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from datamodules.files import parse_number
from datamodules.table_files import TextTable
from datamodules.table_numbers import PLAIN, NumberFormat, is_gap, to_floats
from datamodules.time_notation import describe_notation, parse_times
from zoo.errors import DataError, suggest

Array = np.ndarray[Any, Any]
MISSING_CATEGORY = "(missing)"
#: values that mark gaps in many tables of measurements
DISTANT = 4  # standard deviations from the mean beyond which a sentinel is a gap
SENTINELS = {sign * nines for nines in (99, 999, 9999, 99999, 99.9, 999.9) for sign in (-1, 1)}
LISTED = 5  # categories in a message


@dataclass(frozen=True)
class Column:
    """A column of the training table, as later tables are read.

    Args:
        name: name of the column.
        kind: ``number``, ``date`` (read as the number of days since 1970), or ``category``.
        number_format: notation of numbers.
        notation: notation of dates, see :func:`~datamodules.time_notation.parse_times`.
        categories: names of the categories, sorted.
        has_gaps: whether the column of the training table has gaps; if so, a gap is a feature or a
            category.
        fill: the most frequent category, which fills gaps if ``has_gaps`` is False.
        is_numeric: whether the categories are numbers, so that ``1`` and ``1.0`` are equal.
    """

    name: str
    kind: str
    number_format: NumberFormat = PLAIN
    notation: str = ""
    categories: tuple[str, ...] = ()
    has_gaps: bool = False
    fill: str = ""
    is_numeric: bool = False

    def to_state(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self) | {"categories": list(self.categories)}

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Column:
        """Return the column that ``to_state`` described."""
        number_format = NumberFormat(**state["number_format"])
        categories = tuple(state["categories"])
        return Column(**{**state, "number_format": number_format, "categories": categories})

    @property
    def has_numbers(self) -> bool:
        """True if cells are numbers, including numeric names of categories."""
        return self.kind == "number" or self.is_numeric

    def gaps(self, table: TextTable) -> Array:
        """Return whether each cell is missing, bool (N,)."""
        numeric = self.kind != "category" or self.is_numeric
        return is_gap(table.cells[self.name], numeric).to_numpy()

    # -- reading --------------------------------------------------------------------------------

    def read(self, table: TextTable, number_format: NumberFormat | None = None) -> Array:
        """Return the values of the column, (N,): numbers, with NaN for gaps, or category names.

        Args:
            table: the table.
            number_format: notation of numbers in this table, default that of the training table.

        Raises:
            DataError: a cell is not a finite number or a date, or the unit is another one.
        """
        cells = table.cells[self.name]
        written = self.number_format if number_format is None else number_format
        if self.kind == "category":
            numbers = to_floats(cells, written) if self.is_numeric else map(_plain_number, cells)
            pairs = zip(cells, numbers, strict=True)
            names = [cell if math.isnan(number) else number_name(number) for cell, number in pairs]
            return np.array(names, dtype=object)
        if self.kind == "date":
            return self._read_dates(table)
        self._check_unit(table, written.unit)
        return read_numbers(table, self.name, written)

    def _check_unit(self, table: TextTable, unit: str) -> None:
        own = self.number_format.unit
        if own != unit and ("%" in (own, unit) or (own and unit)):
            words = [f"in {u}" if u else "without a unit" for u in (unit, own)]
            raise DataError(
                f"{table.location(column=self.name)}: the values are {words[0]}, but those of the "
                f"training data {words[1]}: convert them"
            )

    def _read_dates(self, table: TextTable) -> Array:
        cells = table.cells[self.name]
        gaps = self.gaps(table)
        days = to_days(cells.mask(gaps, ""), self.notation)
        if len(bad := np.flatnonzero(np.isnan(days) & ~gaps)):
            raise DataError(
                f"{table.location(int(cells.index[bad[0]]), self.name)}: {cells.iloc[bad[0]]!r} is "
                f"not a date like the others, in {describe_notation(self.notation)}; correct it"
            )
        return days

    # -- encoding -------------------------------------------------------------------------------

    @property
    def feature_names(self) -> list[str]:
        """Names of the features that encode the column."""
        if self.kind == "category":
            return [f"{self.name}={category}" for category in self._all_categories[1:]]
        return [self.name, f"{self.name} missing"] if self.has_gaps else [self.name]

    @property
    def _all_categories(self) -> list[str]:
        return sorted([*self.categories, *([MISSING_CATEGORY] if self.has_gaps else [])])

    def encode(self, table: TextTable, values: Array, gaps: Array) -> Array:
        """Return the features of the column, float64 (N, F); NaN marks a missing number.

        Args:
            table: the table, for messages.
            values: return value of ``read``, (N,).
            gaps: return value of ``gaps``, (N,).

        Raises:
            DataError: a category that the training table does not have.
        """
        if self.kind != "category":
            columns = [values, gaps.astype(np.float64)] if self.has_gaps else [values]
            return np.stack(columns, axis=1)
        words = values.copy()
        words[gaps] = MISSING_CATEGORY if self.has_gaps else self.fill
        codes = self.codes(table, words, np.zeros(len(words), bool), self._all_categories)
        return np.eye(len(self._all_categories))[codes][:, 1:]

    def codes(
        self, table: TextTable, words: Array, gaps: Array, categories: Sequence[str] = ()
    ) -> Array:
        """Return the index of each category, int64 (N,); −1 for gaps.

        Args:
            table: the table, for messages.
            words: names of categories, (N,).
            gaps: whether each one is missing, (N,).
            categories: all names, default those of the column.

        Raises:
            DataError: a category that the training table does not have.
        """
        known = {category: i for i, category in enumerate(categories or self.categories)}
        unknown = np.array([word not in known for word in words], bool) & ~gaps
        if unknown.any():
            raise self._unknown_category(table, words, unknown)
        codes = [-1 if gap else known[word] for word, gap in zip(words, gaps, strict=True)]
        return np.array(codes, dtype=np.int64)

    def _unknown_category(self, table: TextTable, words: Array, unknown: Array) -> DataError:
        first = int(np.flatnonzero(unknown)[0])
        word, line = words[first], int(table.cells.index[first])
        rows = f"{unknown.sum()} rows" if unknown.sum() > 1 else "the row"
        listed = ", ".join(self.categories[:LISTED]) + (
            f", … ({len(self.categories)} in all)" if len(self.categories) > LISTED else ""
        )
        hint = suggest(word, self.categories)
        return DataError(
            f"{table.location(line, self.name)}: {word!r} is not one of the values that the model "
            f"was trained on, {listed}{hint or ';'} correct or remove {rows} with other values"
        )


def read_numbers(table: TextTable, name: str, number_format: NumberFormat) -> Array:
    """Return the numbers of a column, float64 (N,), with NaN for gaps.

    Raises:
        DataError: a cell is not a number, or is infinite.
    """
    cells = table.cells[name]
    gaps = is_gap(cells, numeric=True)
    numbers = to_floats(cells.mask(gaps, "nan"), number_format)
    if (bad := numbers.isna() & ~gaps).any():
        line = int(cells.index[bad][0])
        others = int(bad.sum()) - 1
        more = f" (and {others} more such cells)" if others else ""
        raise DataError(
            f"{table.location(line, name)}: {cells[line]!r} is not a number{more}, but nearly all "
            f"other values are; {_correct_hint(cells[line])}"
        )
    if (infinite := numbers.abs() == math.inf).any():
        line = int(cells.index[infinite][0])
        raise DataError(
            f"{table.location(line, name)}: the value is infinite; {_correct_hint(cells[line])}"
        )
    return numbers.to_numpy()


def _correct_hint(cell: str) -> str:
    return (
        f"correct it, or add it to {list_option('missing_values', [cell])} if it stands for a gap"
    )


def refuse_sentinels(table: TextTable, name: str, numbers: Array) -> None:
    """Refuse numbers such as −999 that probably mark gaps, since they are far from all others.

    Raises:
        DataError: there is such a number; the message names its cell and the options to read it.
    """
    present = numbers[~np.isnan(numbers)]
    for value in SENTINELS & {present.min(), present.max()} if len(present) else ():
        others = present[present != value]
        if not len(others) or not _is_sentinel(value, others, len(present) - len(others)):
            continue
        line = int(table.cells.index[numbers == value][0])
        text = f"{value:g}"
        missing, keep = list_option("missing_values", [text]), list_option("keep", [name])
        raise DataError(
            f"{table.location(line, name)}: {text} seems to stand for a gap, as the other values "
            f"are {others.min():g} to {others.max():g}; add it to {missing}, or the column to "
            f"{keep} if it is a number"
        )


def refuse_distant_sentinels(
    table: TextTable, name: str, numbers: Array, mean: float, std: float
) -> None:
    """Refuse numbers such as −999 that are far from all of the training data.

    Args:
        table: the table.
        name: name of the column.
        numbers: its values, (N,).
        mean: mean of the training data.
        std: standard deviation of the training data.

    Raises:
        DataError: there is such a number; the message names its cell and the option to read it.
    """
    wrong = np.isin(numbers, list(SENTINELS)) & (np.abs(numbers - mean) > DISTANT * std)
    wrong &= (numbers < 0) | (wrong.sum() > 1)  # as in training
    if wrong.any():
        line, text = int(table.cells.index[wrong][0]), f"{numbers[wrong][0]:g}"
        missing, keep = list_option("missing_values", [text]), list_option("keep", [name])
        raise DataError(
            f"{table.location(line, name)}: {text} seems to stand for a gap, as the training data "
            f"are {mean:.4g} ± {std:.2g}; add it to {missing}, or the column to {keep} if it is a "
            "number"
        )


def _is_sentinel(value: float, others: Array, count: int) -> bool:
    low, high = others.min(), others.max()
    distance = low - value if value < 0 else value - high
    is_apart = distance > max(high - low, abs(high), abs(low))
    if value < 0:
        return bool(is_apart or low >= 0)
    return bool(is_apart and count > 1)


def to_days(cells: pd.Series[str], notation: str) -> Array:
    """Return dates as days since 1970-01-01 (UTC if they have a zone), float64; NaN if unread."""
    times = pd.DatetimeIndex(parse_times(cells, notation)).as_unit("us")
    days = times.asi8 / 86_400e6
    return np.where(times.isna(), np.nan, days)


def _plain_number(cell: str) -> float:
    """Return the number in a cell of a few digits, NaN for other cells and codes such as 007."""
    number = parse_number(cell) if re.fullmatch(r"[-+]?(0|[1-9]\d*)?(\.\d*)?", cell) else None
    return math.nan if number is None else number


def number_name(number: float) -> str:
    """Return a number as the name of a category, without decimals if it is whole."""
    return str(int(number)) if number.is_integer() else repr(number)


def list_option(name: str, values: Iterable[str]) -> str:
    """Return a command-line option whose value is a list of column names, quoted for the shell."""
    items = [
        value
        if re.fullmatch(r"[^\W\d]\w*( \w+)*", value) and yaml.safe_load(value) == value
        else json.dumps(value, ensure_ascii=False)
        for value in values
    ]
    text = f"[{', '.join(items)}]"
    return f"--data.{name} " + (shlex.quote(text) if "'" in text else f"'{text}'")
