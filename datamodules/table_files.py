"""Reading the text of a table file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.files import parse_number, read_text
from zoo.errors import DataError

SEPARATORS = ",;\t|"
BINARY_SUFFIXES = {".xlsx", ".xls", ".ods", ".parquet", ".feather", ".zip", ".bz2", ".xz", ".zst"}
SAMPLE_LINES = 100  # lines from which the separator is detected


@dataclass(frozen=True)
class TextTable:
    """The cells of a table file as text.

    Args:
        path: path of the file.
        cells: text of each cell without surrounding spaces, one row per row of the file that is not
            empty. The index contains the line of the file in which each row begins.
        separator: character between the values of a row.
        num_empty: number of rows between others that are empty and left out, default 0.
    """

    path: Path
    cells: pd.DataFrame
    separator: str
    num_empty: int = 0

    def location(self, line: int | None = None, column: str | None = None) -> str:
        """Return the beginning of a message about a line, a column or a cell."""
        where = str(self.path) if line is None else f"{self.path}, line {line}"
        return where if column is None else f"{where}, column {column!r}"


def read_text_table(
    path: Path,
    has_header: Callable[[list[str]], bool] | None = None,
    comment: str | None = None,
    allow_empty: bool = False,
) -> TextTable:
    """Read a table whose first row names the columns.

    The separator, a comma, semicolon, tab or vertical bar, is detected, unless the first line is
    ``sep=…`` as Excel writes it. A separator at the end of rows is allowed. If rows have one more
    value than the header, and begin with distinct names or with row numbers, as R writes them, the
    first column has no name (``""``).

    Args:
        path: path of the file.
        has_header: function of the first row that returns whether it names the columns, default
            always. Without names, the columns are numbered from 1.
        comment: beginning of lines above the table that are left out, default none.
        allow_empty: whether a table of only a header is allowed, default False.

    Raises:
        DataError: the table has no rows, no header, a repeated column name, a quotation mark
            that is never closed, or a row with more or fewer values than the header.
    """
    if path.suffix.lower() in BINARY_SUFFIXES:
        raise DataError(f"{path} is not a text file: export the table as CSV in UTF-8")
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    declared = re.fullmatch(r'"?sep=([,;|\t])"?[ ]*', lines[0])
    first = 0 if declared is None else 1
    while first < len(lines) - 1 and _is_skipped(lines[first], comment):
        first += 1
    separator = _detect_separator(lines[first:]) if declared is None else declared[1]
    rows = _Rows(path, lines[first:], first + 1, separator).read()
    has_values = (rows != "").any(axis=1)
    rows, num_empty = rows[has_values], _count_between(has_values.tolist())
    names = [str(name) for name in rows.iloc[0]] if len(rows) else []
    if names and has_header is not None and not has_header(names[:-1]):
        numbers = [*map(str, range(1, len(names))), ""]
        names, cells = _match_header(path, numbers, rows)
        return TextTable(path, cells.set_axis(names, axis=1), separator, num_empty)
    if not len(rows):
        raise DataError(f"{path} has neither a header nor rows")
    if len(rows) == 1 and not allow_empty:
        raise DataError(f"{path} has no rows below its header")
    names, cells = _match_header(path, names, rows.iloc[1:])
    _check_names(path, names)
    # a second column without a name gets the one that pandas would give it
    names = [
        f"Unnamed: {i}" if not name and "" in names[:i] else name for i, name in enumerate(names)
    ]
    # single cells of an object column are read faster
    cells = cells.set_axis(names, axis=1).astype(object)
    return TextTable(path, cells, separator, num_empty)


def _count_between(has_values: list[bool]) -> int:
    """Return the number of empty rows before the last one that has values."""
    last = max((i for i, has in enumerate(has_values) if has), default=-1)
    return has_values[: last + 1].count(False)


def _is_skipped(line: str, comment: str | None) -> bool:
    """Return whether a line above the table is empty or a comment."""
    return not line.strip() or (comment is not None and line.startswith(comment))


def _detect_separator(lines: list[str]) -> str:
    """Return the separator that occurs as often in the first rows as in the header."""
    signs = re.escape(SEPARATORS)
    quoted = rf'(^|[{signs}])[ ]*"(?:[^"]|"")*"(?=[ ]*($|[{signs}]))'  # may contain line breaks
    text = re.sub(quoted, r"\1", "\n".join(lines[: SAMPLE_LINES + 1]), flags=re.MULTILINE)
    sample = [re.sub(r'"[^"]*"', "", line) for line in text.split("\n") if line.strip()]
    if not sample:
        return ","
    header, *rows = sample

    def fit(separator: str) -> tuple[float, int]:
        count = header.count(separator)
        fitting = sum(row.count(separator) in (count, count + 1) for row in rows)
        return fitting / max(1, len(rows)), count

    if found := [separator for separator in SEPARATORS if separator in header]:
        return max(found, key=fit)
    # a single column, whose cells may contain decimal commas
    return max(";\t|,", key=fit)


class _Rows:
    """Rows of values in the lines of a text, read by pandas.

    Args:
        path: path of the file, for messages.
        lines: lines of the text; the first one is the header.
        first_line: number of the header's line in the file.
        separator: character between values.
    """

    def __init__(self, path: Path, lines: list[str], first_line: int, separator: str) -> None:
        self.path, self.lines, self.first_line = path, lines, first_line
        self.separator = separator
        self.text = "\n".join(lines)
        self.width = 0

    def read(self) -> pd.DataFrame:
        """Return all rows, header included, with one column more than the header has names.

        The index contains the line in which each row begins.
        """
        try:
            # pandas must know the largest number of values that a row may have
            self.width = self._parse(nrows=1).shape[1]
            rows = self._parse(names=range(self.width + 1))
        except pd.errors.EmptyDataError:
            raise DataError(f"{self.path} has neither a header nor rows") from None
        except pd.errors.ParserError as error:
            raise self._explain(str(error)) from None
        rows.index = pd.Index(self._first_lines(rows), name="line")
        self._refuse_short_rows(rows)
        return rows.apply(lambda column: column.str.strip())

    def _parse(self, **options: Any) -> pd.DataFrame:
        """Return rows as text; pandas fills rows that are too short with empty cells."""
        return pd.read_csv(
            io.StringIO(self.text), sep=self.separator, header=None, dtype=str,
            na_filter=False, skip_blank_lines=False, skipinitialspace=True, **options,
        )  # fmt: skip

    def _first_lines(self, rows: pd.DataFrame) -> Any:
        """Return the line of the file in which each row begins; cells may contain line breaks."""
        breaks = rows.apply(lambda column: column.str.count("\n")).sum(axis=1).astype(int)
        heights = 1 + breaks.to_numpy()
        return self.first_line + heights.cumsum() - heights

    def _line_of(self, row: int) -> int:
        """Return the line in which a row begins; row 0 is the header."""
        if not row:
            return self.first_line
        rows = self._parse(names=range(self.width + 1), nrows=row)
        return int(self._first_lines(rows)[-1]) + 1 + rows.iloc[-1].str.count("\n").sum()

    def _explain(self, message: str) -> DataError:
        """Return the error for rows that pandas cannot read, with the line of the file."""
        if match := re.search(r"EOF inside string starting at row (\d+)", message):
            return DataError(
                f"{self.path}, line {self._line_of(int(match[1]))}: a quotation mark is not closed"
            )
        if match := re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", message):
            return self._wrong_width(self._line_of(int(match[1]) - 1), int(match[2]))
        return DataError(f"{self.path} cannot be read: {message.strip()}")

    def _wrong_width(self, line: int, count: int) -> DataError:
        return DataError(
            f"{self.path}, line {line}: expected {self.width} values, got {count}; put a value "
            "that contains the separator in quotation marks"
        )

    def _refuse_short_rows(self, rows: pd.DataFrame) -> None:
        ends_empty = (rows[self.width - 1] == "") & (rows[self.width] == "")
        suspects = ends_empty & (rows != "").any(axis=1)
        ends = [*rows.index[1:].tolist(), self.first_line + len(self.lines)]
        for row in suspects.to_numpy().nonzero()[0].tolist():
            line = int(rows.index[row])
            raw = "\n".join(self.lines[line - self.first_line : ends[row] - self.first_line])
            count = _count_values(raw, self.separator)
            if count < self.width:
                raise self._wrong_width(line, count)


def _count_values(row: str, separator: str) -> int:
    sign = re.escape(separator)
    unquoted = re.sub(rf'(^|{sign})[ ]*"(?:[^"]|"")*"', r"\1", row)
    return unquoted.count(separator) + 1


def _match_header(
    path: Path, names: list[str], cells: pd.DataFrame
) -> tuple[list[str], pd.DataFrame]:
    """Return the column names and the cells below them, without empty columns at the end.

    Args:
        path: path of the file, for messages.
        names: names in the header, with an empty one for the last column, which only long rows use.
        cells: text of the cells.
    """
    *names, _ = names
    extra = cells.iloc[:, -1]
    long = extra != ""
    if not long.any():
        while names and not names[-1] and bool((cells.iloc[:, len(names) - 1] == "").all()):
            names = names[:-1]
        return names, cells.iloc[:, : len(names)]
    first = cells.iloc[:, 0]
    is_numbered = len(first) > 2 and list(first) == [str(i + 1) for i in range(len(first))]
    has_words = all(cell and parse_number(cell) is None for cell in first)
    is_named = len(first) > 1 and has_words and first.is_unique
    if long.all() and names[0] and (is_numbered or is_named):
        return ["", *names], cells
    line = cells.index[long][0]
    raise DataError(
        f"{path}, line {line}: expected {len(names)} values, got {len(names) + 1}; put a value "
        "that contains the separator in quotation marks"
    )


def _check_names(path: Path, names: list[str]) -> None:
    if all(parse_number(name) is not None for name in names):
        raise DataError(f"{path} starts with numbers: its first line must name the columns")
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise DataError(f"{path} has more than one column {repeated[0]!r}: rename all but one")
