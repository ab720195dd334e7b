"""Times of series: notations, order, repeated rows, gaps, steps, series below one another."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.series_table import SeriesOptions, SeriesTable, read_series
from datamodules.time_column import TimeOptions
from zoo.errors import DataError, InputError

HOURS = pd.date_range("2020-02-28", periods=60, freq="h")
DAYS = pd.date_range("2020-01-25", periods=60)


def table(times: Any, name: str = "date", **columns: Any) -> pd.DataFrame:
    """Return a table with times and a series ``a`` that counts the rows, in sixteenths."""
    return pd.DataFrame({name: times, "a": np.arange(len(times)) / 16, **columns})


def read(folder: Path, content: pd.DataFrame | str, **options: Any) -> SeriesTable:
    """Write a table and read it; options of the time are those that TimeOptions takes."""
    text = content if isinstance(content, str) else content.to_csv(index=False)
    (folder / "t.csv").write_text(text)
    time = TimeOptions(options.pop("time", None), options.pop("format", None))
    time = TimeOptions(time.column, time.format, options.pop("zone", None))
    return read_series(folder / "t.csv", SeriesOptions(time=time, **options))


def said(folder: Path, content: pd.DataFrame, **options: Any) -> tuple[SeriesTable, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read(folder, content, **options)
    return found, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("times", "name", "step", "following"),
    [
        (HOURS, "date", "1 hour", ["2020-03-01 12:00:00", "2020-03-01 13:00:00"]),
        (HOURS.strftime("%Y-%m-%dT%H:%M"), "x", "1 hour",
         ["2020-03-01T12:00:00", "2020-03-01T13:00:00"]),
        (HOURS.strftime("%Y-%m-%d %H:%M+05:30"), "x", "1 hour",
         ["2020-03-01 12:00:00+05:30", "2020-03-01 13:00:00+05:30"]),
        (HOURS.strftime("%Y-%m-%dT%H:%M:%SZ"), "x", "1 hour",
         ["2020-03-01T12:00:00+00:00", "2020-03-01T13:00:00+00:00"]),
        (DAYS, "x", "1 day", ["2020-03-25", "2020-03-26"]),
        (DAYS.strftime("%d/%m/%Y"), "x", "1 day", ["25/03/2020", "26/03/2020"]),
        (DAYS.strftime("%m/%d/%Y"), "x", "1 day", ["03/25/2020", "03/26/2020"]),
        (DAYS.strftime("%d.%m.%Y %H:%M"), "x", "1 day", ["25.03.2020 00:00", "26.03.2020 00:00"]),
        (DAYS.strftime("%d %b %Y"), "x", "1 day", ["25 Mar 2020", "26 Mar 2020"]),
        (HOURS.strftime("%m/%d/%y %I:%M %p"), "x", "1 hour",
         ["03/01/20 12:00 PM", "03/01/20 01:00 PM"]),
        (DAYS.strftime("%Y%m%d"), "x", "1 day", ["20200325", "20200326"]),
        (HOURS.strftime("%Y%m%d%H"), "x", "1 hour", ["2020030112", "2020030113"]),
        (HOURS.as_unit("s").asi8, "x", "1 hour", ["1583064000", "1583067600"]),
        (HOURS.as_unit("ms").asi8, "timestamp", "1 hour", ["1583064000000", "1583067600000"]),
        (HOURS.as_unit("s").asi8 + 0.5, "t", "1 hour", ["1583064000.5", "1583067600.5"]),
        (range(1964, 2024), "x", "1 year", ["2024", "2025"]),
        (range(60), "", "1", ["60", "61"]),
        (range(1, 61), "x", "1", ["61", "62"]),
        (np.arange(60) / 4, "time", "0.25", ["15", "15.25"]),
        (range(43831, 43891), "date", "1 day", ["43891", "43892"]),
        (pd.date_range("2019-01-01", periods=60, freq="MS").strftime("%Y-%m"), "x", "1 month",
         ["2024-01", "2024-02"]),
        (pd.date_range("2019-01-01", periods=60, freq="MS").strftime("%b %Y"), "x", "1 month",
         ["Jan 2024", "Feb 2024"]),
        (pd.date_range("2018-03-31", periods=60, freq="ME"), "x", "1 month end",
         ["2023-03-31", "2023-04-30"]),
        (pd.date_range("2023-11-01", periods=60, freq="B"), "x", "1 business day",
         ["2024-01-24", "2024-01-25"]),
        ([f"{y}Q{q}" for y in range(2000, 2015) for q in (1, 2, 3, 4)], "x", "1 quarter",
         ["2015-Q1", "2015-Q2"]),
        (pd.date_range("2020-01-06", periods=60, freq="7D").strftime("%G-W%V"), "x", "7 days",
         ["2021-W09", "2021-W10"]),
        (pd.date_range("2020-01-01", periods=60, freq="15min"), "x", "15 minutes",
         ["2020-01-01 15:00:00", "2020-01-01 15:15:00"]),
    ],
)  # fmt: skip
def test_times_are_read_and_extended(
    tmp_path: Path, times: Any, name: str, step: str, following: list[str]
) -> None:
    """Months of different lengths, leap days, business days; the time is never a series."""
    found, _ = said(tmp_path, table(times, name))
    assert found.names == ["a"]
    assert str(found.axis.step) == step
    assert found.axis.write(2)[-2:] == following
    assert found.axis.write() == found.axis.write(2)[:-2]
    assert found.values[:, 0].tolist() == [i / 16 for i in range(60)]


@pytest.mark.parametrize(
    ("times", "following"),
    [
        (pd.date_range("2019-12-31", periods=2, freq="ME"), ["2020-02-29", "2020-03-31"]),
        (pd.date_range("2020-02-20", periods=8), ["2020-02-28", "2020-02-29", "2020-03-01"]),
        (pd.date_range("2021-02-20", periods=8), ["2021-02-28", "2021-03-01"]),
        (pd.date_range("2023-12-18", periods=10, freq="B"), ["2024-01-01", "2024-01-02"]),
        (pd.date_range("2024-01-15", periods=5, freq="B"), ["2024-01-20"]),  # they may be days
        (pd.date_range("2020-02-29", periods=3, freq=pd.DateOffset(years=1)), ["2023-02-28"]),
    ],
)
def test_the_next_dates(tmp_path: Path, times: Any, following: list[str]) -> None:
    axis = read(tmp_path, table(times)).axis
    assert axis.write(3)[len(times) :][: len(following)] == following


def test_a_number_that_is_read_as_a_time_is_reported(tmp_path: Path) -> None:
    _, texts = said(tmp_path, table(HOURS.as_unit("s").asi8, "clock"))
    assert len(texts) == 1
    assert "column 'clock' is read as the time, in Unix time in s (2020-02-28 00:00:00" in texts[0]
    found, texts = said(tmp_path, table(HOURS.as_unit("s").asi8, "clock"), time="none")
    assert (found.names, texts) == (["clock", "a"], [])


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(3e8, 3.3e8, 60).round() + np.arange(60) % 7 * 1e5,  # rising and falling
        np.arange(60) % 24,
        np.arange(60) / 7,
        [5.0] * 60,
    ],
)
def test_a_first_column_that_is_not_a_time_is_a_series(tmp_path: Path, values: Any) -> None:
    found, texts = said(tmp_path, table(values, "population"))
    assert (found.names, texts) == (["population", "a"], [])


def test_dates_and_clock_times_in_two_columns(tmp_path: Path) -> None:
    content = table(HOURS.strftime("%d/%m/%Y"), "Date", Time=HOURS.strftime("%H:%M:%S"))
    found = read(tmp_path, content)
    assert found.names == ["a"]
    assert found.axis.name == "Date Time"
    assert found.axis.write(1)[-1] == "01/03/2020 12:00:00"


def test_the_order_of_day_and_month(tmp_path: Path) -> None:
    """Days 1 to 12 may be months: regular times decide, otherwise the user must."""
    early = pd.date_range("2020-02-03", periods=48, freq="h")
    found, texts = said(tmp_path, table(early.strftime("%d/%m/%Y %H:%M")))
    assert found.axis.times[0] == early[0]
    assert "are read as %d/%m/%Y %H:%M, since they are then regular" in texts[0]
    months = pd.date_range("2020-01-01", periods=12, freq="MS")
    content = table(months.strftime("%d/%m/%Y"))
    with pytest.raises(DataError, match="'01/01/2020' may be day and month or month and day; add"):
        read(tmp_path, content)
    assert read(tmp_path, content, format="%d/%m/%Y").axis.write(1)[-1] == "01/01/2021"
    assert read(tmp_path, content, format="%m/%d/%Y").axis.write(1)[-1] == "01/13/2020"


# -- daylight saving time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ("2020-03-28", "line 28: 1 of 61 steps of 1 hour are missing, the first between "
         "2020-03-29 01:00:00 and 2020-03-29 03:00:00"),
        ("2020-10-24", "lines 28 and 29: the time 2020-10-25 02:00:00 occurs twice"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", [1, -1])
def test_local_times_whose_clocks_change(
    tmp_path: Path, start: str, problem: str, order: int
) -> None:
    local = pd.date_range(start, periods=60, freq="h", tz="Europe/Berlin")
    content = table(local.strftime("%Y-%m-%d %H:%M"))
    hint = "whose clocks change that night, add --data.time_zone, such as Europe/Berlin"
    if order == 1:
        with pytest.raises(DataError, match=f"{problem}.*{hint}"):
            read(tmp_path, content)
    found, _ = said(tmp_path, content.iloc[::order], zone="Europe/Berlin")
    assert list(found.axis.times) == list(local)
    assert found.values[:, 0].tolist() == content["a"].tolist()
    before = local[-1].isoformat(sep=" ")
    assert found.axis.write(1)[-2:] == [before, (local[-1] + pd.Timedelta("1h")).isoformat(sep=" ")]


def test_a_day_of_23_hours_is_a_day(tmp_path: Path) -> None:
    days = pd.date_range("2020-03-01", periods=28, tz="Europe/Berlin")
    content = table([day.isoformat() for day in days])
    later = [day.isoformat() for day in pd.date_range(days[0], periods=35)]
    with pytest.raises(DataError, match=r"if they are local times, add --data\.time_zone"):
        read(tmp_path, table(later))
    axis = read(tmp_path, content, zone="Europe/Berlin").axis
    assert axis.write(2)[-3:] == [f"2020-03-{d}T00:00:00+0{z}:00" for d, z in
                                  ((28, 1), (29, 1), (30, 2))]  # fmt: skip


def test_hours_with_two_offsets_are_hours(tmp_path: Path) -> None:
    local = pd.date_range("2020-03-28", periods=60, freq="h", tz="Europe/Berlin")
    axis = read(tmp_path, table([time.isoformat() for time in local])).axis
    assert str(axis.step) == "1 hour"
    assert axis.write(1)[-1] == "2020-03-30T11:00:00+00:00"


def test_times_that_a_zone_does_not_have(tmp_path: Path) -> None:
    hours = pd.date_range("2020-03-29", periods=5, freq="h")
    with pytest.raises(
        DataError, match=r"line 4, column 'date': there is no 2020-03-29 02:00:00 in"
    ):
        read(tmp_path, table(hours), zone="Europe/Berlin")
    hours = pd.date_range("2020-10-25", periods=5, freq="h")
    with pytest.raises(DataError, match="2020-10-25 02:00:00 occurs twice in Europe/Berlin"):
        read(tmp_path, table(hours), zone="Europe/Berlin")
    with pytest.raises(InputError, match="unknown time_zone 'Europe/Berln'; did you mean 'Europe/"):
        TimeOptions(zone="Europe/Berln").check()
    with pytest.raises(DataError, match="column 'x': numbers have no time zone"):
        read(tmp_path, table(range(9), "x"), zone="Europe/Berlin")


# -- order and gaps --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ([*range(59, -1, -1)], "the rows are in descending order of time and were reversed"),
        ([*range(30), 40, *range(30, 40), *range(41, 60)],
         "1 of 60 rows are earlier than the row above, the first in line 33 "
         "(2020-02-29 06:00:00); the rows were sorted by time"),
    ],
)  # fmt: skip
def test_rows_are_sorted(tmp_path: Path, order: list[int], text: str) -> None:
    found, texts = said(tmp_path, table(HOURS).iloc[order])
    assert found.values[:, 0].tolist() == [i / 16 for i in range(60)]
    assert len(texts) == 1
    assert texts[0].endswith(text)


def test_repeated_rows(tmp_path: Path) -> None:
    content = table(HOURS).iloc[[*range(30), 29, *range(30, 60)]]
    found, texts = said(tmp_path, content)
    assert len(found.values) == 60
    assert (
        "left out 1 rows that repeat a time with the same values, the first in line 32" in texts[0]
    )
    content.iloc[30, 1] = 7
    message = "lines 31 and 32: the time 2020-02-29 05:00:00 occurs twice, with different values"
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_gaps(tmp_path: Path) -> None:
    content = table(HOURS).drop(index=[10, 11, 30])
    message = (
        "line 12: 3 of 60 steps of 1 hour are missing, the first between 2020-02-28 09:00:00 and "
        "2020-02-28 12:00:00; add --data.fill interpolate or previous, or ignore"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)
    found, texts = said(tmp_path, content, fill="interpolate")
    assert found.values[:, 0].tolist() == [i / 16 for i in range(60)]
    assert "3 of 60 steps of 1 hour are missing and were filled (interpolate)" in texts[0]
    found, _ = said(tmp_path, content, fill="previous")
    assert (16 * found.values[8:13, 0]).tolist() == [8, 9, 9, 9, 12]
    found, texts = said(tmp_path, content, fill="ignore")
    assert (16 * found.values[8:13, 0]).tolist() == [8, 9, 12, 13, 14]
    assert found.axis.write(1)[-1] == "2020-03-01 12:00:00"
    assert "consecutive steps of 1 hour, although their times are irregular" in texts[0]


def test_missing_values(tmp_path: Path) -> None:
    content = table(HOURS)
    content.loc[[5, 6], "a"] = np.nan
    with pytest.raises(
        DataError, match=r"line 7, column 'a': the value is missing; .* --data.fill"
    ):
        read(tmp_path, content)
    found, texts = said(tmp_path, content, fill="interpolate")
    assert found.values[:, 0].tolist() == [i / 16 for i in range(60)]
    assert "2 missing values were filled (interpolate)" in texts[0]
    content.loc[0, "a"] = np.nan
    with pytest.raises(DataError, match="line 2: the missing value is at the start or end of its"):
        read(tmp_path, content, fill="previous")


def test_irregular_times(tmp_path: Path) -> None:
    times = HOURS + pd.to_timedelta(np.arange(60) % 7, "s")
    message = (
        "line 9: the times are not regular: 2020-02-28 07:00:00 comes after 2020-02-28 06:00:06, "
        "but the usual step is 3601 seconds; resample the table, or add --data.fill ignore"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path, table(times))
    found, _ = said(tmp_path, table(times), fill="ignore")
    assert not found.axis.is_regular
    assert len(found.values) == 60


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("2020-02-30 00:00", "line 5, column 'date': '2020-02-30 00:00' is not a time like the"),
        ("", "line 5, column 'date': the time is missing; fill it in, or delete the row"),
        (
            "2020-02-28 03:00+01:00",
            "line 5, column 'date': '2020-02-28 03:00.01:00' is not a time like the others",
        ),
    ],
)
def test_faulty_times(tmp_path: Path, cell: str, message: str) -> None:
    times = list(HOURS.strftime("%Y-%m-%d %H:%M"))
    times[3] = cell
    with pytest.raises(DataError, match=message):
        read(tmp_path, table(times))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "when"}, "has no column 'when' for --data.time; its columns are date, a"),
        (
            {"format": "%d/%m/%Y"},
            r"has no column of times in --data.time_format '%d/%m/%Y'; its "
            r"first row is '2020-02-28 00:00:00', '0.0', 'u'",
        ),
        ({"columns": ["date"]}, "column 'date' is the time: remove it from --data.columns"),
        ({"id_column": "xyz"}, "has no column 'xyz'; its columns are date, a, w"),
        ({"time": "w"}, r"column 'w': 'u' is not a time that can be read; add its format, such as"),
        ({}, r"column 'w': 'u' is not a finite number; if it names one of several series, add"),
    ],
)
def test_columns_that_do_not_fit(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, table(HOURS, w=["u", "v"] * 30), **options)


def test_columns_that_are_left_out(tmp_path: Path) -> None:
    content = table(HOURS, station="X", sensor_id=7)
    content.insert(0, "", range(60))
    found, texts = said(tmp_path, content)
    assert found.names == ["a"]
    assert [text.split("left out ")[1] for text in texts] == [
        "column '', which counts the rows",
        "column 'station', which is 'X' in every row",
        "column 'sensor_id', which is '7' in every row",
    ]


# -- series below one another ----------------------------------------------------------------------


def stacked(ids: list[Any], **columns: Any) -> pd.DataFrame:
    return pd.concat([table(HOURS[:30], id=i, **columns) for i in ids], ignore_index=True)


@pytest.mark.parametrize("ids", [["A", "B"], [1, 2]])
def test_stacked_series(tmp_path: Path, ids: list[Any]) -> None:
    content = stacked(ids)
    content["a"] += np.arange(60) // 30
    message = (
        "line 32: the time 2020-02-28 00:00:00 occurs again, since column 'id' stacks 2 series "
        f"('{ids[0]}', '{ids[1]}') below one another; add --data.id_column 'id'"
    )
    with pytest.raises(DataError) as error:
        read(tmp_path, content)
    assert message in str(error.value)
    found = read(tmp_path, content, id_column="id")
    assert found.names == [str(i) for i in ids]
    assert found.values[:2].tolist() == [[0, 1], [1 / 16, 1 + 1 / 16]]
    assert found.axis.write(1)[-1] == "2020-02-29 06:00:00"
    several = read(tmp_path, content.assign(b=-content["a"]), id_column="id")
    assert several.names == [f"{name} {i}" for name in "ab" for i in ids]


def test_stacked_series_without_times(tmp_path: Path) -> None:
    content = stacked([1, 2]).drop(columns="date")
    with pytest.raises(DataError, match=r"column 'id' stacks 2 series .* choose its columns with"):
        read(tmp_path, content)
    assert read(tmp_path, content, id_column="id").values.shape == (30, 2)
    assert read(tmp_path, content, columns=["a"]).values.shape == (60, 1)


def test_stacked_series_of_different_lengths_have_gaps(tmp_path: Path) -> None:
    content = stacked(["A", "B"]).drop(index=[59])
    with pytest.raises(DataError, match="line 31, column 'B': the value is missing"):
        read(tmp_path, content, id_column="id")
    found, _ = said(tmp_path, content, id_column="id", fill="previous")
    assert found.values[-1].tolist() == [29 / 16, 28 / 16]
    with pytest.raises(DataError, match=r"line 5: the time .* occurs again in series 'A'"):
        read(tmp_path, content.iloc[[0, 1, 2, 2, *range(3, 59)]], id_column="id")
