"""Numbers in the cells of a table: decimal signs, thousands separators, currencies, percent."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from datamodules.files import parse_number
from datamodules.table_files import TextTable
from zoo.errors import DataError

#: text of missing values, in lower case
GAPS = {
    "", "na", "n/a", "n.a.", "nan", "nat", "null", "none", "?", "<na>", r"\n",
    "#n/a", "#null!", "#value!", "#ref!", "#div/0!", "#name?", "#num!",
}  # fmt: skip
#: further text of missing values among numbers and dates
NUMERIC_GAPS = {"-", "--", "---", "–", "—", ".", "..", "…"}
TYPO_FRACTION = 0.05  # a column with at most this fraction of other cells has typos

_SPACES = " \u00a0\u2009\u202f'\u2019"  # spaces and apostrophes between groups of three digits
_CURRENCY = r"[$¢-¥฿₠-⃀]|US\$|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|kr|zł|Rs\.?|Fr\.?"
_CELL = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[-+−])?\s*"
    rf"(?P<number>\d[\d.,{_SPACES}]*(?:[eE][-+]?\d+)?|[.,]\d+(?:[eE][-+]?\d+)?)"
    rf"\s*(?P<after>%|{_CURRENCY})?\s*(?P<close>\))?"
)
_LOOKS_NUMERIC = re.compile(
    rf"\(?[-+−~<>≈±]?\s*(?:{_CURRENCY})?\s*[-+−]?[.,]?\d[\d.,_{_SPACES}]*"
    r"(?:[eE][-+]?\d+)?\s*(?:%|[^\W\d_]{1,5}[²³]?(?:/[^\W\d_]{1,3}[²³]?)?)?\)?"
)


@dataclass(frozen=True)
class NumberFormat:
    """Notation of the numbers in a column.

    Args:
        decimal: ``.`` (default) or ``,``.
        thousands: whether the other of these two signs separates groups of three digits, default
            False. Spaces and apostrophes between such groups are always accepted.
        unit: currency or percent sign in the cells, default none.
    """

    decimal: str = "."
    thousands: bool = False
    unit: str = ""


PLAIN = NumberFormat()
FORMATS = (PLAIN, NumberFormat(".", True), NumberFormat(","), NumberFormat(",", True))


class _Parts(NamedTuple):
    """A cell that consists of a sign, digits and a unit."""

    sign: str
    digits: str
    unit: str


def is_gap(cells: pd.Series[str], numeric: bool = False) -> pd.Series[bool]:
    """Return whether each cell is a missing value.

    Args:
        cells: text of a column.
        numeric: whether the column contains numbers or dates, so that a dash is a gap too; default
            False.
    """
    codes, distinct = pd.factorize(cells)  # most columns repeat their values
    words = GAPS | NUMERIC_GAPS if numeric else GAPS
    gaps = np.array([cell.lower() in words for cell in distinct], dtype=bool)
    return pd.Series(gaps[codes], index=cells.index)


def mask_missing(table: TextTable, missing: Collection[str]) -> TextTable:
    """Return a table with empty cells in place of certain texts or numbers.

    Args:
        table: the table.
        missing: texts of missing values; ``-999`` is the same as ``-999.0``.
    """
    if not missing:
        return table
    masked = table.cells.isin(list(missing))
    numbers = {number for text in missing if (number := parse_number(text)) is not None}
    if numbers:
        masked |= table.cells.map(lambda cell: parse_number(cell) in numbers)
    return replace(table, cells=table.cells.mask(masked, ""))


def looks_numeric(cell: str) -> bool:
    """Return whether a cell is a number, or nearly one: ``1_003``, ``5 kg`` or ``1,2.3``."""
    return _LOOKS_NUMERIC.fullmatch(cell) is not None


def parse_numbers(cells: pd.Series[str], number_format: NumberFormat = PLAIN) -> pd.Series[float]:
    """Return the finite numbers in cells; a cell that does not contain one becomes NaN.

    Args:
        cells: text of a column.
        number_format: notation of the numbers, default a decimal point and no separators.
    """
    numbers = to_floats(cells, number_format)
    return numbers.where(numbers.abs() != math.inf)


def to_floats(cells: pd.Series[str], number_format: NumberFormat = PLAIN) -> pd.Series[float]:
    """Return the numbers in cells as :func:`parse_numbers`, which may be infinite."""
    texts = cells.tolist()
    if number_format.decimal == "." and are_plain([text for text in texts if text != "nan"]):
        values = list(map(float, texts))
    else:
        values = [_to_float(cell, number_format) for cell in texts]
    return pd.Series(values, index=cells.index, dtype="float64")


def are_plain(cells: Sequence[str]) -> bool:
    """Return whether all cells are numbers with a decimal point, without separators and units."""
    return bool(pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").notna().all())


def _to_float(cell: str, number_format: NumberFormat) -> float:
    if number_format.decimal == ".":
        plain = parse_number(cell)
        if plain is not None:
            return plain
    parts = _split_cell(cell)
    if parts is None or not _matches(parts.digits, number_format):
        return math.nan
    return float(parts.sign + _without_separators(parts.digits, number_format))


def _split_cell(cell: str) -> _Parts | None:
    """Return the parts of a cell that may be a number; ``(5)`` is −5, as accountants write it."""
    match = _CELL.fullmatch(cell)
    if match is None:
        return None
    signs = [match[name] for name in ("sign", "inner") if match[name]]
    units = [match[name] for name in ("before", "after") if match[name]]
    is_bracketed = bool(match["open"])
    if is_bracketed != bool(match["close"]) or len(signs) + is_bracketed > 1 or len(units) > 1:
        return None
    is_negative = is_bracketed or (signs and signs[0] != "+")
    return _Parts("-" if is_negative else "", match["number"].strip(), units[0] if units else "")


def _matches(digits: str, number_format: NumberFormat) -> bool:
    return _PATTERNS[number_format.decimal, number_format.thousands].fullmatch(digits) is not None


def _pattern(decimal: str, thousands: bool) -> re.Pattern[str]:
    """Return the pattern of unsigned numbers; groups have three digits after the first one."""
    other = "," if decimal == "." else "."
    groups = rf"[1-9]\d{{0,2}}(?:\{other}\d{{3}})+" if thousands else r"\d+"
    spaced = rf"[1-9]\d{{0,2}}(?P<space>[{_SPACES}])\d{{3}}(?:(?P=space)\d{{3}})*"
    sign = re.escape(decimal)
    whole = rf"(?:{groups}|{spaced}|\d+)"
    return re.compile(rf"(?:{whole}(?:{sign}\d*)?|{sign}\d+)(?:[eE][-+]?\d+)?")


_PATTERNS = {(f.decimal, f.thousands): _pattern(f.decimal, f.thousands) for f in FORMATS}


def _without_separators(digits: str, number_format: NumberFormat) -> str:
    other = "," if number_format.decimal == "." else "."
    return re.sub(rf"[{_SPACES}{other}]", "", digits).replace(",", ".")


# -- detection -------------------------------------------------------------------------------------


def detect_formats(
    table: TextTable,
    columns: Iterable[str] | None = None,
    decimal: str | None = None,
    known: Mapping[str, NumberFormat] | None = None,
) -> dict[str, NumberFormat]:
    """Return how each column of a table writes numbers, without columns that contain words.

    ``8,44`` contains a decimal comma, and ``1,234.5`` thousands separators. If every comma or point
    of a column could be either, as in ``1,234``, the column is read like the other columns;
    otherwise by ``known``; otherwise commas separate thousands in a file whose values are separated
    by commas, and are decimal commas in one with semicolons.

    Args:
        table: the table.
        columns: names of the columns, default all.
        decimal: decimal sign of the whole table, default detected.
        known: formats of the columns in an earlier table, default none.

    Raises:
        DataError: the meaning of a column's commas is unknown, or its cells have different units.
    """
    names = table.cells.columns if columns is None else columns
    fitting = {name: _fitting_formats(table.cells[name]) for name in names}
    fitting = {name: formats for name, formats in fitting.items() if formats}
    signs = {formats[0].decimal for formats in fitting.values() if _is_certain(formats)}
    sign = decimal or (signs.pop() if len(signs) == 1 else None)
    known = known or {}
    return {
        name: _choose(table, name, formats, sign, known.get(name))
        for name, formats in fitting.items()
    }


def _fitting_formats(cells: pd.Series[str]) -> list[NumberFormat]:
    """Return the formats in which the most cells are numbers, if nearly all of them are.

    Nearly all means all but 5% of the cells, or of the distinct ones.
    """
    present = cells[~is_gap(cells, numeric=True)].value_counts()
    if present.empty:
        return []
    if are_plain(present.index.tolist()):
        has_groups = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+").fullmatch
        with_point = [cell for cell in present.index if "." in cell]
        if not with_point or not all(map(has_groups, with_point)):
            return [PLAIN] if with_point else list(FORMATS)
    counts = {}
    for number_format in FORMATS:
        fits = [not math.isnan(_to_float(cell, number_format)) for cell in present.index]
        counts[number_format] = sum(fits), int(present[fits].sum())
    most = max(counts.values())
    totals = len(present), int(present.sum())
    if all(count < (1 - TYPO_FRACTION) * total for count, total in zip(most, totals, strict=True)):
        return []
    return [number_format for number_format, count in counts.items() if count == most]


def _is_certain(formats: list[NumberFormat]) -> bool:
    return len({f.decimal for f in formats}) == 1


def _choose(
    table: TextTable,
    name: str,
    formats: list[NumberFormat],
    sign: str | None,
    known: NumberFormat | None,
) -> NumberFormat:
    """Return one of the formats that fit a column, with its unit."""
    if not _is_certain(formats):
        sign = sign or _sign_of_column(table, name, known)
        formats = [f for f in formats if f.decimal == sign]
    unit = _find_unit(table, name)
    return NumberFormat(formats[0].decimal, formats[0].thousands, unit)


def _sign_of_column(table: TextTable, name: str, known: NumberFormat | None) -> str:
    """Return the decimal sign of a column in which commas or points may be either."""
    cells = table.cells[name]
    commas = cells[cells.str.contains(",", regex=False)]
    if known is not None:
        return known.decimal
    if commas.empty:
        return "."
    if table.separator in ",;":
        return "." if table.separator == "," else ","
    raise DataError(
        f"{table.location(int(commas.index[0]), name)}: {commas.iloc[0]!r} may be a number with a "
        "decimal comma or with thousands separators; add --data.decimal , or --data.decimal ."
    )


def _find_unit(table: TextTable, name: str) -> str:
    """Return the currency or percent sign of a column of numbers.

    Raises:
        DataError: two cells have different units, or only some have a percent sign.
    """
    cells = table.cells[name]
    cells = cells[~is_gap(cells, numeric=True)]
    if are_plain(cells.tolist()):
        return ""
    units = cells.map(lambda cell: parts.unit if (parts := _split_cell(cell)) else "")
    found = [unit for unit in units.unique() if unit]
    kinds = units.unique().tolist() if "%" in found else found
    if len(kinds) > 1:
        first, other = (int(units.index[units == kind][0]) for kind in kinds[:2])
        raise DataError(
            f"{table.location(other, name)}: {cells[other]!r} is not in the unit of "
            f"{cells[first]!r}, line {first}; write one unit in the whole column"
        )
    return found[0] if found else ""
