"""Recognition of the column of a table that contains the times of its rows."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd

from datamodules.table_numbers import parse_numbers
from datamodules.time_notation import (
    Times,
    date_notations,
    describe_notation,
    number_notation,
    parse_times,
    write_times,
)
from datamodules.time_steps import find_step
from zoo.errors import DataError, InputError, suggest

#: names of columns of numbers that are times if their values are those of an axis
TIME_NAMES = {
    "", "date", "time", "timestamp", "datetime", "date_time", "ds", "utc", "year", "month", "week",
    "day", "hour", "quarter", "unix", "unixtime", "unix_time", "epoch", "index", "idx", "step", "t",
    "period", "no", "row",
}  # fmt: skip
#: names of columns whose numbers are times even if some occur more than once
SURE_NAMES = {"date", "timestamp", "datetime", "date_time", "ds", "unix", "unixtime", "unix_time"}
CLOCK = re.compile(r"\d\d?:\d\d(:\d\d)?")
NO_TIME = "none"  # value of the option ``time`` for a table without times


@dataclass(frozen=True)
class TimeOptions:
    """Options of the user for reading times.

    Args:
        column: name of the time column, ``none`` for no time column, default recognized.
        format: format of the times, see :meth:`datetime.datetime.strftime`, default recognized.
        zone: name of the time zone of the times, such as ``Europe/Berlin``; default that of the
            times, or none.
    """

    column: str | None = None
    format: str | None = None
    zone: str | None = None

    def check(self) -> None:
        """Raise :class:`InputError` unless the time zone exists."""
        if self.zone is not None and self.zone not in available_timezones():
            hint = suggest(self.zone, available_timezones()) or "; an example is Europe/Berlin"
            raise InputError(f"unknown time_zone {self.zone!r}{hint}")


@dataclass(frozen=True)
class TimeColumn:
    """The times of a table's rows, in the order of the rows.

    Args:
        names: names of the column, or of a column of dates and one of clock times.
        notation: see :mod:`datamodules.time_notation`.
        times: time of each row.
    """

    names: tuple[str, ...]
    notation: str
    times: Times

    def write(self, row: int) -> str:
        """Return the time of a row in its notation."""
        return write_times(self.times[row : row + 1], self.notation)[0]


def find_time_column(
    path: Path, cells: pd.DataFrame, lines: np.ndarray, options: TimeOptions, used: list[str]
) -> TimeColumn | None:
    """Return the time column of a table, or None if it has none.

    It is the column that the options name; otherwise the first column of dates; otherwise a column
    of numbers that look like an axis, with a usual name (see ``TIME_NAMES``) or in the first place.

    Args:
        path: path of the table, for messages.
        cells: text of the table, a column for each name.
        lines: line of each row in the file.
        options: options of the user.
        used: names of columns that the user chose as series.

    Raises:
        DataError: the column does not exist, or a time is missing or cannot be read.
    """
    if options.column == NO_TIME:
        return None
    if options.column:
        found: Found | None = _named(path, cells, options)
    elif options.format:
        found = _of_format(path, cells, options.format)
    else:
        found = _recognized(cells, used)
    if found is None:
        return None
    names, text, notations = found
    if len(notations) > 1:
        notations = [_regular_notation(path, names[0], text, notations)]
    (notation,) = notations
    times = parse_times(_numbers_or_text(text, notation), notation)
    _check_readable(path, lines, (names, notation), text, times)
    if options.zone is not None:
        times = _apply_zone(path, lines, names[0], times, options.zone)
    column = TimeColumn(names, notation, times)
    if notation == "number" or not _is_text(notation):
        warnings.warn(
            f"{path}: column {names[0]!r} is read as the time, in {describe_notation(notation)} "
            f"({_span(times)}), and not as a series; if it is one, add --data.time {NO_TIME}",
            stacklevel=2,
        )
    return column


def _is_text(notation: str) -> bool:
    """Return whether a notation of dates has more than digits."""
    return bool(re.search(r"[^%YmdHMS]", notation)) and not notation.startswith(("unix", "excel"))


def _span(times: Times) -> str:
    if isinstance(times, pd.DatetimeIndex):
        return f"{times.min()} to {times.max()}"
    return f"{times.min():g} to {times.max():g}"


def _numbers_or_text(text: pd.Series[str], notation: str) -> pd.Series:
    if notation == "number" or notation.startswith(("unix", "excel")):
        return parse_numbers(text)
    if not _is_text(notation):  # 20210101.0 is a date too
        numbers = parse_numbers(text)
        return numbers.map(lambda number: "" if pd.isna(number) else str(int(number)))
    return text


# -- which column --------------------------------------------------------------------------------

Found = tuple[tuple[str, ...], "pd.Series[str]", list[str]]  # names, cells and notations


def _named(path: Path, cells: pd.DataFrame, options: TimeOptions) -> Found:
    name = str(options.column)
    if name not in cells:
        hint = suggest(name, cells.columns) or f"; its columns are {', '.join(cells.columns)}"
        raise DataError(f"{path} has no column {name!r} for --data.time{hint}")
    if options.format:
        return (name,), cells[name], [options.format]
    if found := _date_column(cells, name, []):
        return found
    numbers = parse_numbers(cells[name]).dropna()
    if len(numbers) < len(cells) / 2:
        raise DataError(
            f"{path}, column {name!r}: {cells[name].iloc[0]!r} is not a time that can be read; add "
            "its format, such as --data.time_format '%d/%m/%Y %H:%M'"
        )
    return (name,), cells[name], [number_notation(numbers, name)]


def _of_format(path: Path, cells: pd.DataFrame, format_: str) -> Found:
    for name in cells.columns:
        if np.mean(parse_times(cells[name], format_).notna()) >= 0.5:
            return (name,), cells[name], [format_]
    raise DataError(
        f"{path} has no column of times in --data.time_format {format_!r}; its first row is "
        f"{', '.join(map(repr, cells.iloc[0]))}"
    )


def _recognized(cells: pd.DataFrame, used: list[str]) -> Found | None:
    for name in cells.columns:
        if found := _date_column(cells, name, used):
            return found
    names = [name for name in cells.columns if name not in used]
    sure = [name for name in names if _plain(name) in SURE_NAMES]
    likely = [name for name in names if _plain(name) in TIME_NAMES]
    for name in [*sure, *likely, *names[:1]]:
        numbers = parse_numbers(cells[name])
        if numbers.notna().all() and _is_axis(numbers, name, is_first=name == cells.columns[0]):
            return (name,), cells[name], [number_notation(numbers, name)]
    return None


def _plain(name: str) -> str:
    return "" if name.lower().startswith("unnamed:") else name.strip().lower().replace(" ", "_")


def _date_column(cells: pd.DataFrame, name: str, used: list[str]) -> Found | None:
    """Return a column of dates, with a column of clock times if the dates have none."""
    notations = date_notations(cells[name])
    if not notations:
        return None
    if notations[0] == "iso date" or re.fullmatch(r"[^HIM]*%d[^HIM]*", notations[0]):
        for other in cells.columns.drop([name, *used], errors="ignore"):
            if cells[other].str.fullmatch(CLOCK).all():
                joined = cells[name] + " " + cells[other]
                return (name, other), joined, date_notations(joined)
    return (name,), cells[name], notations


def _is_axis(numbers: pd.Series[float], name: str, is_first: bool) -> bool:
    """Return whether a column of numbers is the time: see ``find_time_column``."""
    if len(numbers) < 3:
        return False
    notation = number_notation(numbers, name)
    plain = _plain(name)
    is_whole = bool((numbers % 1 == 0).all())
    if plain in SURE_NAMES and notation != "number":
        return True
    distinct = np.sort(numbers.unique())
    gaps = pd.Series(np.diff(distinct)).round(9)
    is_even = len(gaps) > 0 and float((gaps == gaps.mode().iloc[0]).mean()) >= 0.9
    if plain in TIME_NAMES and is_even and (is_whole or len(distinct) == len(numbers)):
        # several rows for each time: stacked series, unless it is a feature such as the hour
        return len(distinct) == len(numbers) or plain not in (
            "year",
            "month",
            "week",
            "day",
            "hour",
        )
    if not is_first or len(distinct) < len(numbers) or not is_whole:
        return False
    is_sorted = numbers.is_monotonic_increasing or numbers.is_monotonic_decreasing
    if notation == "number" or notation == "%Y":
        return bool((gaps == 1).all())
    return is_even or is_sorted or notation == "%Y%m%d"


# -- checks ----------------------------------------------------------------------------------------


def _regular_notation(path: Path, name: str, text: pd.Series[str], notations: list[str]) -> str:
    """Return the order of day and month that leaves fewer times missing, with a warning."""
    missing = {}
    for notation in notations:
        times = parse_times(text, notation).dropna().unique().sort_values()
        step = find_step(times)
        missing[notation] = step.positions(times)[-1] + 1 - len(times) if step else np.inf
    best, other = sorted(missing, key=missing.__getitem__)[:2]
    choices = " or ".join(f"--data.time_format '{n}'" for n in notations)
    if missing[best] == missing[other]:
        raise DataError(
            f"{path}, column {name!r}: {text.iloc[0]!r} may be day and month or month and day; add "
            f"{choices}"
        )
    warnings.warn(
        f"{path}: times such as {text.iloc[0]!r} are read as {best}, since they are then regular; "
        f"if that is wrong, add --data.time_format '{other}'",
        stacklevel=3,
    )
    return best


def _check_readable(
    path: Path,
    lines: np.ndarray,
    column: tuple[tuple[str, ...], str],
    text: pd.Series[str],
    times: Times,
) -> None:
    bad = np.flatnonzero(times.isna())
    if not len(bad):
        return
    names, notation = column
    cell, line = text.iloc[bad[0]].strip(), lines[bad[0]]
    others = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
    if not cell:
        raise DataError(
            f"{path}, line {line}, column {names[0]!r}: the time is missing{others}; fill it in, "
            "or delete the row"
        )
    raise DataError(
        f"{path}, line {line}, column {names[0]!r}: {cell!r} is not a time like the others, in "
        f"{describe_notation(notation)}{others}; correct it, or name another time column with "
        "--data.time"
    )


def _apply_zone(
    path: Path, lines: np.ndarray, name: str, times: Times, zone: str
) -> pd.DatetimeIndex:
    """Return dates in a time zone: naive ones are taken as local times."""
    if not isinstance(times, pd.DatetimeIndex):
        raise DataError(f"{path}, column {name!r}: numbers have no time zone; remove time_zone")
    if times.tz is not None:
        return times.tz_convert(ZoneInfo(zone))
    is_descending = len(times) > 1 and times[0] > times[-1]
    ordered = times[::-1] if is_descending else times
    shifted = ordered.tz_localize(ZoneInfo(zone), ambiguous="NaT", nonexistent="NaT")
    skipped = ordered.tz_localize(ZoneInfo(zone), ambiguous=True, nonexistent="NaT").isna()
    if skipped.any():
        first = int(np.flatnonzero(skipped)[0])
        line = (lines[::-1] if is_descending else lines)[first]
        raise DataError(
            f"{path}, line {line}, column {name!r}: there is no {ordered[first]} in {zone}, whose "
            "clocks skip it: correct the time, or --data.time_zone"
        )
    if shifted.isna().any():
        try:
            shifted = ordered.tz_localize(ZoneInfo(zone), ambiguous="infer")
        except Exception as error:
            # pandas 2 raises pytz's AmbiguousTimeError, which is not a ValueError
            if not isinstance(error, ValueError) and type(error).__name__ != "AmbiguousTimeError":
                raise
            first = int(np.flatnonzero(shifted.isna())[0])
            line = (lines[::-1] if is_descending else lines)[first]
            raise DataError(
                f"{path}, line {line}, column {name!r}: {ordered[first]} occurs twice in {zone}, "
                "whose clocks are put back, and the order of the rows does not tell which it is: "
                "write times in UTC"
            ) from None
    return shifted[::-1] if is_descending else shifted
