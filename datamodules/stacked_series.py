"""Tables with several series below one another, told apart by a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.table_numbers import parse_numbers
from datamodules.time_column import TimeColumn
from zoo.errors import DataError

ID_NAMES = {"id", "unique_id", "item_id", "series_id", "series", "item", "station", "sensor"}
Array = np.ndarray[Any, Any]


def is_id(name: str) -> bool:
    """Return whether a column's name is usual for identifiers."""
    plain = name.strip().lower().replace(" ", "_")
    return plain in ID_NAMES or plain.endswith("_id")


def refuse_repeated(
    path: Path, cells: pd.DataFrame, lines: Array, column: TimeColumn | None
) -> None:
    """Refuse a table whose times repeat because a column distinguishes several series.

    Args:
        path: path of the table, for the message.
        cells: text of the columns that may distinguish series.
        lines: line of each row in the file.
        column: the time column, if there is one.

    Raises:
        DataError: names the column and the first time that occurs again.
    """
    if column is None or not column.times.has_duplicates:
        return
    row = int(np.flatnonzero(column.times.duplicated())[0])
    for name in cells.columns:
        if _repeats(cells[name]) and _separates(cells[name], column):
            raise DataError(
                f"{path}, line {lines[row]}: the time {column.write(row)} occurs again, since "
                f"column {name!r} {_stacks(name, cells[name])}"
            )


def refuse_ids(path: Path, cells: pd.DataFrame) -> None:
    """Refuse a table with a column that distinguishes several series, judging by its name.

    Raises:
        DataError: names the column.
    """
    for name in cells.columns:
        if is_id(name) and _repeats(cells[name]):
            raise DataError(
                f"{path}: column {name!r} {_stacks(name, cells[name])}; if the rows are those of "
                "one series, choose its columns with --data.columns"
            )


def _repeats(cells: pd.Series[str]) -> bool:
    return 2 <= cells.nunique() <= len(cells) / 2


def _separates(cells: pd.Series[str], column: TimeColumn) -> bool:
    """Return whether the times are distinct among rows with the same word or whole number."""
    numbers = parse_numbers(cells)
    if not (numbers.isna() | (numbers % 1 == 0)).all():
        return False
    pairs = pd.DataFrame({"time": column.times, "id": cells.to_numpy()})
    return not bool(pairs.duplicated().any())


def _stacks(name: str, cells: pd.Series[str]) -> str:
    ids = cells.unique()
    shown = ", ".join(map(repr, ids[:3])) + (", …" if len(ids) > 3 else "")
    return (
        f"stacks {len(ids)} series ({shown}) below one another; add --data.id_column {name!r} to "
        "read each as a series of its own"
    )


def unstack(
    path: Path, cells: pd.DataFrame, lines: Array, time: tuple[str, ...], name: str
) -> tuple[pd.DataFrame, Array]:
    """Return a table with a row for each time and a column for each series, and its lines.

    A column is named after its series, and also after the column of values if there are several.
    Cells without a value are empty.

    Args:
        path: path of the table, for messages.
        cells: text of the table, with a row for each time and series.
        lines: line of each row in the file.
        time: names of the time columns; without any, the rows of a series are counted.
        name: column that distinguishes the series.

    Raises:
        DataError: a series has two rows of the same time.
    """
    keys = pd.Series(cells.groupby(name).cumcount().astype(str), name="key")
    if time:
        keys = pd.Series(["\n".join(row) for row in cells[list(time)].to_numpy()], name="key")
    again = np.flatnonzero(pd.DataFrame({"key": keys, "id": cells[name]}).duplicated())
    if len(again):
        raise DataError(
            f"{path}, line {lines[again[0]]}: the time {' '.join(keys[again[0]].splitlines())} "
            f"occurs again in series {cells[name].iloc[again[0]]!r}: delete one of the rows"
        )
    features = [column for column in cells.columns if column not in (*time, name)]
    wide = cells.assign(key=keys).pivot(index="key", columns=name, values=features)
    wide = wide.reindex(index=keys.unique()).fillna("")
    firsts = np.flatnonzero(~keys.duplicated())
    columns = {column: cells[column].to_numpy()[firsts] for column in time}
    for feature in features:
        for series in cells[name].unique():
            title = series if len(features) == 1 else f"{feature} {series}"
            columns[title] = wide[feature][series].to_numpy()
    return pd.DataFrame(columns), lines[firsts]
