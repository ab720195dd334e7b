"""Notations of times in tables: ISO 8601, other dates, Unix time, compact dates, numbers."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

#: times of a table: dates (microsecond resolution), or numbers such as an index
Times: TypeAlias = "pd.Index[Any]"
ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?", re.I
)
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d %Y",
    "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y-%b")
FORMATS: Final = (*DATES, *(f"{date} {clock}" for date, clock in product(DATES, CLOCKS)), *MONTHS)
#: formats of dates that are written as whole numbers, by the number of digits
COMPACT = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
#: unit of Unix time → seconds in it
UNIX = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
UNIX_RANGE = 10**8, 4 * 10**9  # seconds: 1973 to 2096
QUARTER = re.compile(r"(\d{4})[ -]?Q([1-4])", re.I)
WEEK = re.compile(r"(\d{4})-?W(\d\d)", re.I)
DESCRIPTIONS = {
    "number": "numbers of steps",
    "excel": "days counted by Excel",
    **{f"unix {unit}": f"Unix time in {unit}" for unit in UNIX},
}


def describe_notation(notation: str) -> str:
    """Return a notation in words; formats such as ``%Y%m%d`` are returned unchanged."""
    return DESCRIPTIONS.get(notation, notation)


# -- recognition ---------------------------------------------------------------------------------


def date_notations(cells: pd.Series[str]) -> list[str]:
    """Return the notations in which text cells are dates, best first.

    More than one is returned if the order of day and month is ambiguous. A notation that reads at
    least half of the cells counts, so that a faulty cell among dates can be reported.
    """
    filled = cells[cells != ""]
    if filled.empty or _is_number(filled.iloc[0]):
        return []
    first = str(filled.iloc[0])
    if match := ISO.fullmatch(first):
        is_date = bool((filled.str.len() == len("2020-01-31")).all())
        candidates = ["iso T" if match[1] in ("T", "t") else "iso date" if is_date else "iso"]
    elif QUARTER.fullmatch(first):
        candidates = ["quarter"]
    elif WEEK.fullmatch(first):
        candidates = ["week"]
    else:
        # a cell such as 31/01/2020 further below tells the order of day and month
        samples = [str(cell) for cell in filled.iloc[:: max(1, len(filled) // 50)]]
        candidates = [f for f in FORMATS if any(_matches(cell, f) for cell in samples)]
    parsed = {f: int(np.count_nonzero(parse_times(filled, f).notna())) for f in candidates}
    most = max(parsed.values(), default=0)
    if most < len(filled) / 2:
        return []
    return [f for f in candidates if parsed[f] == most]


def _matches(cell: str, format_: str) -> bool:
    try:
        datetime.strptime(cell, format_)
    except ValueError:
        return False
    return True


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def number_notation(numbers: pd.Series[float], name: str) -> str:
    """Return the notation of a column of finite numbers that are taken for times.

    Args:
        numbers: the column.
        name: its name; ``date`` and the like may contain the days that Excel counts.
    """
    low, high = float(numbers.min()), float(numbers.max())
    if bool((numbers % 1 == 0).all()) and low >= 1500:
        digits = len(str(int(high)))
        if digits == len(str(int(low))) and digits in COMPACT:
            dates = parse_times(numbers.astype("int64").astype(str), COMPACT[digits])
            if bool(dates.notna().all()) and 1500 <= dates.min().year <= dates.max().year <= 2200:
                return COMPACT[digits]
    for unit, seconds in UNIX.items():
        if UNIX_RANGE[0] <= low * seconds <= high * seconds <= UNIX_RANGE[1]:
            return f"unix {unit}"
    if "date" in name.lower() and 20_000 <= low <= high <= 80_000:  # 1954 to 2119
        return "excel"
    return "number"


# -- reading and writing ---------------------------------------------------------------------------


def parse_times(cells: pd.Series[Any], notation: str) -> Times:
    """Return the times in cells: dates, or numbers for the notation ``number``.

    Dates without a zone are naive. Unix time and dates with different offsets from UTC are in UTC.
    A cell that cannot be read becomes NaT or NaN.

    Args:
        cells: text, or numbers for the notations ``number``, ``unix …`` and ``excel``.
        notation: see :func:`date_notations` and :func:`number_notation`, or a format of
            :meth:`datetime.datetime.strftime`.
    """
    if notation == "number":
        return pd.Index(pd.to_numeric(cells, errors="coerce"), dtype="float64")
    if notation.startswith("unix "):
        numbers = pd.to_numeric(cells, errors="coerce")
        micro = (numbers * (UNIX[notation[5:]] * 1e6)).round()
        return pd.DatetimeIndex(pd.to_datetime(micro, unit="us", utc=True)).as_unit("us")
    if notation == "excel":
        seconds = (pd.to_numeric(cells, errors="coerce") * 86_400).round()
        return pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", origin="1899-12-30")).as_unit(
            "us"
        )
    if notation.startswith("iso"):
        return _parse_iso(cells)
    if notation == "quarter":
        months = cells.str.replace(QUARTER, lambda m: f"{m[1]}-{3 * int(m[2]) - 2:02d}", regex=True)
        return parse_times(months, "%Y-%m")
    if notation == "week":
        mondays = cells.str.replace(WEEK, r"\1-\2-1", regex=True)
        return parse_times(mondays, "%G-%V-%u")
    return pd.DatetimeIndex(pd.to_datetime(cells, format=notation, errors="coerce")).as_unit("us")


def _parse_iso(cells: pd.Series[str]) -> pd.DatetimeIndex:
    offsets = cells.str.extract(r"(?i)\d\d:\d\d.*(Z|[+-]\d\d(?::?\d\d)?)$", expand=False)
    has_offset = offsets.notna()
    times = pd.DatetimeIndex(
        pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=True)
    ).as_unit("us")
    is_zoned = has_offset.mean() >= 0.5
    times = pd.DatetimeIndex(times.where((has_offset == is_zoned).to_numpy()))  # not a mixture
    if not is_zoned:
        return times.tz_localize(None)
    if offsets.dropna().nunique() == 1 and offsets.dropna().iloc[0] not in ("Z", "z"):
        return times.tz_convert(datetime.strptime(offsets.dropna().iloc[0], "%z").tzinfo)
    return times


def write_times(times: Times, notation: str) -> list[str]:
    """Return times as text in a notation, so that they continue the table they were read from."""
    if notation == "number":
        return [str(int(t)) if float(t).is_integer() else repr(round(float(t), 9)) for t in times]
    dates = pd.DatetimeIndex(times)
    if notation.startswith(("unix ", "excel")):
        epoch = pd.Timestamp("1899-12-30") if notation == "excel" else pd.Timestamp(0, tz="UTC")
        unit = 86_400.0 if notation == "excel" else UNIX[notation[5:]]
        return write_times((dates - epoch) / pd.Timedelta(seconds=1) / unit, "number")
    if notation == "iso date":
        return list(dates.strftime("%Y-%m-%d"))
    if notation in ("iso", "iso T"):
        return [time.isoformat(sep="T" if notation == "iso T" else " ") for time in dates]
    if notation == "quarter":
        return [f"{time.year}-Q{time.quarter}" for time in dates]
    return list(dates.strftime("%G-W%V" if notation == "week" else notation))
