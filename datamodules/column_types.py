"""Recognition of what the columns of a training table contain."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd

from datamodules.files import parse_number
from datamodules.table_columns import (
    Array,
    Column,
    list_option,
    read_numbers,
    refuse_sentinels,
    to_days,
)
from datamodules.table_files import TextTable
from datamodules.table_numbers import NumberFormat, are_plain, detect_formats, is_gap, looks_numeric
from datamodules.table_schema import Schema, TableOptions, check_columns, column_label, is_unnamed
from datamodules.time_notation import COMPACT, date_notations, describe_notation, number_notation
from zoo.errors import DataError

MAX_CATEGORIES = 100
DISTINCT_FRACTION = 0.9  # words of which at least this fraction is distinct are identifiers
MIN_IDENTIFIERS = 10  # fewer distinct words are categories
MAX_CODES = 10  # different numbers among words that may be categories
#: last words of the names of columns that identify rows, and of columns that may number them
ID_WORDS = {"id", "ids", "uuid", "guid", "rowid", "idx", "index"}
NUMBER_WORDS = {"no", "nr", "number", "row", "record", "obs", "sample", "case", "#"}


def learn_schema(
    table: TextTable, options: TableOptions, drops_gaps: bool, needs_features: bool = True
) -> Schema:
    """Return the schema of a training table: the contents of its columns.

    One warning lists the columns that are left out; another describes the notation of numbers and
    dates that can be written in several ways.

    Args:
        table: the table.
        options: options of the user.
        drops_gaps: whether rows with gaps in the columns that are used are left out.
        needs_features: whether to refuse a table without features, default True.

    Raises:
        DataError: a column does not exist, contains nearly only numbers, or too many categories.
    """
    return _Learner(table, options, drops_gaps).learn(needs_features)


class _Learner:
    def __init__(self, table: TextTable, options: TableOptions, drops_gaps: bool) -> None:
        self.table, self.options, self.drops_gaps = table, options, drops_gaps
        check_columns(table, [*options.targets, *options.ignore, *options.keep])
        others = {*options.targets, *options.ignore}
        self.candidates = [name for name in table.cells.columns if name not in others]
        self.left_out: dict[str, str] = {}
        self.ids: list[str] = []
        self.notes: list[str] = []

    def learn(self, needs_features: bool) -> Schema:
        for name in self.candidates:
            if reason := self._reason_to_leave_out(name):
                self.left_out[name] = reason
        names = [name for name in self.candidates if name not in self.left_out]
        used = [*names, *self.options.targets]
        self.formats = detect_formats(self.table, used, self.options.decimal)
        features = [column for name in names if (column := self._describe_feature(name))]
        targets = self._describe_targets()
        left_out = self._describe_left_out()
        if needs_features and not features:
            reason = f": {left_out}" if left_out else ": add a feature column"
            raise DataError(f"{self.table.path} has no columns other than the target{reason}")
        if left_out:
            self._say(left_out)
        self._say_notations([*features, *targets])
        rows = np.ones(len(self.table.cells), bool)
        if self.drops_gaps:
            rows = ~np.any([column.gaps(self.table) for column in [*features, *targets]], axis=0)
            if not rows.any():
                raise DataError(
                    f"{self.table.path}: every row has a missing value; leave out columns with "
                    "--data.ignore, or set --data.on_missing impute"
                )
        kept = replace(self.table, cells=self.table.cells[rows])
        id_column = self.ids[0] if self.ids else None
        return Schema(
            tuple(self._with_values(column, kept) for column in features),
            tuple(self._with_values(column, kept) for column in targets),
            id_column,
        )

    # -- columns that are left out --------------------------------------------------------------

    def _reason_to_leave_out(self, name: str) -> str:
        """Return why a column is left out, or an empty text."""
        cells = self.table.cells[name]
        is_missing = is_gap(cells)
        if is_unnamed(name):
            if cells.is_unique:
                self.ids.append(name)
            return "no name"
        if is_missing.all():
            return "no values"
        if name in self.options.keep:
            return ""
        # a gap is information about the row, unless such rows are left out
        values = cells[~is_missing] if self.drops_gaps else cells
        if values.nunique() == 1 and len(cells) > 1:
            return f"{values.iloc[0]!r} in every row"
        if cells.is_unique and not is_missing.any() and self._is_id(name, cells):
            self.ids.insert(sum(not is_unnamed(other) for other in self.ids), name)
            return "identifiers"
        return ""

    def _is_id(self, name: str, cells: pd.Series[str]) -> bool:
        """Return whether a column of distinct cells identifies the rows, by its name."""
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|#", name) or [name]
        last = words[-1].lower()
        numbers = cells.map(parse_number)
        if last in ID_WORDS:
            return bool(numbers.isna().all() or (numbers % 1 == 0).all())
        return last in NUMBER_WORDS and _counts_rows(numbers)

    def _describe_left_out(self) -> str:
        """Return which columns are left out, why, and the option that keeps them."""
        if not self.left_out:
            return ""
        columns = self.table.cells.columns
        listed = ", ".join(
            f"{column_label(name, columns)} ({reason})" for name, reason in self.left_out.items()
        )
        usable = [name for name in self.left_out if self._can_be_kept(name)]
        keep = list_option("keep", [*self.options.keep, *usable])
        return f"left out {listed}" + (f"; add {keep} to use {_them(usable)}" if usable else "")

    def _can_be_kept(self, name: str) -> bool:
        """Return whether a column that was left out would be usable."""
        cells = self.table.cells[name]
        is_usable = not is_unnamed(name) and cells.nunique() > 1
        return is_usable and (are_plain(cells.tolist()) or cells.nunique() <= MAX_CATEGORIES)

    # -- features -------------------------------------------------------------------------------

    def _describe_feature(self, name: str) -> Column | None:
        """Return a column with its kind and notation; None if it is left out."""
        cells = self.table.cells[name]
        if name in self.formats:
            return self._describe_numbers(name)
        present = cells[~is_gap(cells)]
        if notation := self._find_dates(name, present):
            return Column(name, "date", notation=notation)
        self._refuse_numbers_as_words(name, present)
        distinct = present.nunique()
        has_ids = distinct >= max(MIN_IDENTIFIERS, DISTINCT_FRACTION * len(present))
        if has_ids and name not in self.options.keep:
            self.left_out[name] = f"{distinct} different texts in {len(present)} rows"
            if distinct == len(cells):
                self.ids.insert(sum(not is_unnamed(other) for other in self.ids), name)
            return None
        if distinct > MAX_CATEGORIES:
            raise DataError(
                f"{self.table.location(column=name)}: {distinct} categories in {len(present)} rows "
                f"are too many (at most {MAX_CATEGORIES}); {self._ignore_hint(name)}"
            )
        return Column(name, "category")

    def _describe_numbers(self, name: str) -> Column:
        numbers = self._read_numbers(name)
        present = pd.Series(numbers).dropna()
        cells = self.table.cells[name]
        digits = cells[~is_gap(cells, numeric=True)]
        if bool(digits.str.fullmatch(r"\d{8}|\d{12}|\d{14}").all()):
            notation = number_notation(present, name)
            if notation in COMPACT.values():
                return Column(name, "date", notation=notation)
        is_first = name == self.candidates[0] and len(self.candidates) > 1
        if is_first and len(present) == len(numbers) > 2 and _counts_rows(present):
            self.notes.append(
                f"{name!r} counts the rows and is a feature ({self._ignore_hint(name)})"
            )
        return Column(name, "number", self.formats[name])

    def _read_numbers(self, name: str) -> Array:
        numbers = read_numbers(self.table, name, self.formats[name])
        if name not in self.options.keep:
            refuse_sentinels(self.table, name, numbers)
        return numbers

    def _find_dates(self, name: str, present: pd.Series[str]) -> str:
        """Return the notation of a column of dates, or an empty text."""
        cells = present[~is_gap(present, numeric=True)]
        if cells.empty or not re.search(r"\d", cells.iloc[0]):
            return ""
        notations = date_notations(cells)
        days = [to_days(cells, notation) for notation in notations]
        distinct = [days[i] for i in range(len(days)) if not _is_in(days[i], days[:i])]
        if len(distinct) > 1:
            formats = " or ".join(describe_notation(notation) for notation in notations[:2])
            raise DataError(
                f"{self.table.location(int(cells.index[0]), name)}: {cells.iloc[0]!r} may be a "
                f"date in {formats}; write dates as 2020-01-31, or {self._ignore_hint(name)}"
            )
        return notations[0] if notations else ""

    def _refuse_numbers_as_words(self, name: str, present: pd.Series[str]) -> None:
        """Refuse a column of words that mostly are or look like numbers, such as ``1_003``.

        A few distinct values, such as 1, 2 and 3+, are categories.
        """
        numeric = present.map(looks_numeric)
        distinct = present[numeric].nunique()
        if numeric.mean() < 0.5 or distinct <= max(2, min(MAX_CODES, len(present) / 2)):
            return
        wrong = present[present.map(parse_number).isna()]
        line, cell = int(wrong.index[0]), wrong.iloc[0]
        more = f" (and {len(wrong) - 1} more such cells)" if len(wrong) > 1 else ""
        gap = f"add it to {list_option('missing_values', [cell])} if it stands for a gap, "
        hint = self._ignore_hint(name) if name in self.candidates else "choose another target"
        raise DataError(
            f"{self.table.location(line, name)}: {cell!r} is not a number{more}, but the column "
            f"looks like numbers; correct it, {gap if wrong.nunique() < 3 else ''}or {hint}"
        )

    def _ignore_hint(self, name: str) -> str:
        return f"leave the column out with {list_option('ignore', [*self.options.ignore, name])}"

    # -- targets --------------------------------------------------------------------------------

    def _describe_targets(self) -> list[Column]:
        names = self.options.targets
        if not names:
            return []
        for name in names:
            if is_gap(self.table.cells[name]).all():
                raise DataError(f"{self.table.location(column=name)}: all values are missing")
        first_is_numeric = names[0] in self.formats
        task = self.options.task
        if task == "classification" or (task == "auto" and not first_is_numeric):
            return [self._describe_classes()]
        for name in names:
            if name not in self.formats:
                cells = self.table.cells[name]
                self._refuse_numbers_as_words(name, cells[~is_gap(cells)])
                raise DataError(
                    f"{self.table.location(column=name)}: a regression target must contain "
                    "numbers, not words"
                )
            self._read_numbers(name)
        return [Column(name, "number", self.formats[name]) for name in names]

    def _describe_classes(self) -> Column:
        names = self.options.targets
        if len(names) > 1:
            raise DataError(
                f"{self.table.path}: several targets ({', '.join(names)}) must all be numeric; "
                "classification takes one target"
            )
        name = names[0]
        cells = self.table.cells[name]
        present = cells[~is_gap(cells)]
        if name not in self.formats:
            self._refuse_numbers_as_words(name, present)
            column = Column(name, "category")
        else:  # numbers, or codes such as 007
            is_numeric = not present.str.match(r"0\d").any()
            column = Column(name, "category", self.formats[name], is_numeric=is_numeric)
        words = column.read(self.table)[~column.gaps(self.table)]
        count = len(set(words))
        if too_many_classes(count, len(words)):
            raise DataError(
                f"{self.table.location(column=name)}: {count} different values in {len(words)} "
                "rows are too many for classes; choose another target"
            )
        return column

    # -- values ---------------------------------------------------------------------------------

    def _with_values(self, column: Column, table: TextTable) -> Column:
        """Return a column with its categories and whether it has gaps."""
        gaps = column.gaps(table)
        if column.kind != "category":
            return replace(column, has_gaps=bool(gaps.any()))
        words = column.read(table)[~gaps]
        categories: list[str] = sorted(set(words.tolist()))
        is_target = column.name in self.options.targets
        if is_target:
            categories.sort(key=lambda word: (parse_number(word) or 0.0, word))
        self._warn_of_capitals(column.name, categories)
        if is_target and len(categories) == 1:
            raise DataError(
                f"{table.location(column=column.name)}: the target has only one class, "
                f"{categories[0]!r}; at least 2 are needed"
            )
        fill = Counter(words.tolist()).most_common(1)[0][0]
        has_gaps = bool(gaps.any())
        return replace(column, categories=tuple(categories), has_gaps=has_gaps, fill=fill)

    def _warn_of_capitals(self, name: str, categories: list[str]) -> None:
        lower: dict[str, str] = {}
        for category in categories:
            other = lower.setdefault(category.lower(), category)
            if other != category:
                self._say(f"column {name!r}: {other!r} and {category!r} are different values")

    def _say_notations(self, columns: list[Column]) -> None:
        """Say how numbers and dates are read that can be written in several ways."""
        notes: dict[str, list[str]] = {}
        for column in columns:
            for note in _notation_notes(column, self.table.cells[column.name]):
                notes.setdefault(note, []).append(repr(column.name))
        lines = [f"{', '.join(names)} {note}" for note, names in notes.items()]
        if lines := [*lines, *self.notes]:
            self._say("; ".join(lines))

    def _say(self, text: str) -> None:
        warnings.warn(f"{self.table.path}: {text}", stacklevel=2)


def _notation_notes(column: Column, cells: pd.Series[str]) -> list[str]:
    if column.kind == "date":
        return [f"read as days since 1970 from dates in {describe_notation(column.notation)}"]
    if column.kind == "category":
        return []
    written: NumberFormat = column.number_format
    other = "," if written.decimal == "." else "."
    notes = []
    if written.decimal == "," and cells.str.contains(",", regex=False).any():
        notes.append("read with decimal commas")
    if written.thousands and cells.str.contains(other, regex=False).any():
        notes.append(f"read with {other!r} between thousands")
    if written.unit:
        notes.append(f"read in {written.unit}")
    return notes


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def too_many_classes(count: int, num_rows: int) -> bool:
    """Return whether a target has too many different values to be classes."""
    is_distinct = num_rows >= MIN_IDENTIFIERS and count > num_rows / 2
    return is_distinct or count > max(MAX_CATEGORIES, num_rows // 10)


def _counts_rows(numbers: pd.Series[float]) -> bool:
    """Return whether numbers are 0, 1, 2, … or 1, 2, 3, …"""
    return bool(numbers.iloc[0] in (0, 1) and (numbers.diff()[1:] == 1).all())


def _is_in(days: Array, others: list[Array]) -> bool:
    return any(np.array_equal(days, other, equal_nan=True) for other in others)
