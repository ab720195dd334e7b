"""Putting rows on a regular time axis: order, repeated rows, gaps, and the times that follow."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.time_column import TimeColumn
from datamodules.time_notation import Times, write_times
from datamodules.time_steps import TimeStep, find_step, usual_step
from zoo.errors import DataError

FILLS = ("interpolate", "previous", "ignore")
IGNORE_HINT = "add --data.fill ignore to take rows as consecutive steps"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TimeAxis:
    """The times of series, and of the steps that follow.

    Args:
        columns: names of the columns of times; empty if the rows are numbered.
        notation: notation of the times, see :mod:`datamodules.time_notation`.
        times: time of each step, sorted.
        step: step between the times; None for a single time.
        is_regular: whether all times are one step apart, default True.
    """

    columns: tuple[str, ...]
    notation: str
    times: Times
    step: TimeStep | None
    is_regular: bool = True

    @property
    def name(self) -> str:
        """Name of the times in tables and figures."""
        return " ".join(self.columns) or "step"

    def extended(self, count: int) -> Times:
        """Return the times of all steps, and of ``count`` steps after the last.

        Raises:
            DataError: the step is unknown, since there is only one time.
        """
        if not count:
            return self.times
        if self.step is None:
            raise DataError("the time of one step does not tell the next: add rows to the table")
        following = self.step.times(self.times[-1], count + 1)
        return self.times.append(following[1:])

    def write(self, count: int = 0) -> list[str]:
        """Return the times of all steps and of ``count`` steps after the last as text."""
        return write_times(self.extended(count), self.notation)

    def state(self) -> dict[str, Any]:
        """Return plain values, by which later data are read."""
        return {
            "columns": list(self.columns),
            "notation": self.notation,
            "step": None if self.step is None else [self.step.unit, self.step.count],
            "is_regular": self.is_regular,
        }


def numbered_axis(count: int, first: int = 0) -> TimeAxis:
    """Return the axis of steps that are numbered.

    Args:
        count: number of steps.
        first: number of the first step, default 0.
    """
    times = pd.Index(np.arange(first, first + count), dtype="float64")
    return TimeAxis((), "number", times, TimeStep("number"))


@dataclass(frozen=True)
class Rows:
    """Rows of a table of series.

    Args:
        path: path of the table, for messages.
        lines: line of each row in the file.
        values: float64 (rows, C), NaN where missing.
        times: time of each row.
        notation: notation of the times.
    """

    path: Path
    lines: Array
    values: Array
    times: Times
    notation: str

    def text(self, row: int) -> str:
        """Return the time of a row as text."""
        return write_times(self.times[row : row + 1], self.notation)[0]

    def take(self, rows: Array) -> Rows:
        """Return some of the rows, by their numbers."""
        return replace(
            self, lines=self.lines[rows], values=self.values[rows], times=self.times[rows]
        )

    def say(self, text: str) -> None:
        """Warn of a change or an assumption."""
        warnings.warn(f"{self.path}: {text}", stacklevel=3)


def align(
    rows: Rows, column: TimeColumn | None, fill: str | None, learned: Mapping[str, Any] | None
) -> tuple[Array, TimeAxis]:
    """Return the values at all steps of a regular axis, float64 (steps, C), and the axis.

    Rows are sorted by time. Rows that repeat a time with the same values are dropped.

    Args:
        rows: the rows of the table.
        column: its time column, None if the rows are consecutive steps.
        fill: rule for missing steps and values: ``interpolate`` or ``previous`` fills them,
            ``ignore`` takes rows as consecutive steps at any times, and None refuses gaps.
        learned: state of the axis that a model was trained on, default none.

    Raises:
        DataError: a time occurs twice with different values; times are missing or irregular, or
            their step is not that of ``learned``; a gap has no value to be filled from.
    """
    if count := int(np.isnan(rows.values).sum()):  # otherwise refused when they were read
        rows.say(f"{count} missing values were filled ({fill})")
    if column is None:
        rows = fill_values(rows, fill)
        return rows.values, numbered_axis(len(rows.times), int(rows.times[0]))
    rows = drop_repeated(sort(rows))
    step = None
    if learned is not None and learned["columns"] and learned["step"]:
        step = TimeStep(*learned["step"])
    if fill == "ignore" or (learned is not None and not learned["is_regular"]):
        axis = irregular_axis(rows, column, step)
        return rows.values, axis
    step = check_step(rows, step)
    rows = fill_values(fill_gaps(rows, step, fill), fill)
    return rows.values, TimeAxis(column.names, column.notation, rows.times, step)


# -- order -----------------------------------------------------------------------------------------


def sort(rows: Rows) -> Rows:
    """Return the rows in the order of time, with a warning if the order has changed."""
    times = rows.times
    if times.is_monotonic_increasing:
        return rows
    early = np.flatnonzero(times[1:] < times[:-1]) + 1
    if times.is_monotonic_decreasing:
        rows.say("the rows are in descending order of time and were reversed")
    else:
        rows.say(
            f"{len(early)} of {len(times)} rows are earlier than the row above, the first in line "
            f"{rows.lines[early[0]]} ({rows.text(int(early[0]))}); the rows were sorted by time"
        )
    return rows.take(np.argsort(times, kind="stable"))


def drop_repeated(rows: Rows) -> Rows:
    """Return the rows without those that repeat a time with the same values.

    Raises:
        DataError: a time occurs twice with different values.
    """
    again = np.flatnonzero(rows.times[1:] == rows.times[:-1]) + 1
    for row in map(int, again):
        if not np.array_equal(rows.values[row], rows.values[row - 1], equal_nan=True):
            hint = _clock_hint(rows, again) or "; delete or correct one of the rows"
            raise DataError(
                f"{rows.path}, lines {rows.lines[row - 1]} and {rows.lines[row]}: the time "
                f"{rows.text(row)} occurs twice, with different values{hint}"
            )
    if not len(again):
        return rows
    rows.say(
        f"left out {len(again)} rows that repeat a time with the same values, the first in line "
        f"{rows.lines[again[0]]} ({rows.text(int(again[0]))})"
    )
    return rows.take(np.setdiff1d(np.arange(len(rows.times)), again))


def _clock_hint(rows: Rows, changes: Array) -> str:
    """Return a hint if naive times repeat or jump only on Sunday nights, when clocks change."""
    times = rows.times[changes]
    if not isinstance(times, pd.DatetimeIndex) or times.tz is not None:
        return ""
    if not bool(((times.day_of_week == 6) & (times.hour <= 3) & (times.hour >= 1)).all()):
        return ""
    return (
        "; if these are local times, whose clocks change that night, add --data.time_zone, such as "
        "Europe/Berlin"
    )


# -- steps -----------------------------------------------------------------------------------------


def irregular_axis(rows: Rows, column: TimeColumn, step: TimeStep | None) -> TimeAxis:
    """Return the axis of rows that are taken as consecutive steps at any times.

    Args:
        rows: sorted rows.
        column: the time column.
        step: step that a model was trained on, default the median step of the rows.
    """
    found = find_step(rows.times)
    if found is not None and _is_complete(found, rows.times):
        return TimeAxis(column.names, column.notation, rows.times, step or found)
    step = step or usual_step(rows.times)
    rows.say(f"rows are taken as consecutive steps of {step}, although their times are irregular")
    return TimeAxis(column.names, column.notation, rows.times, step, is_regular=False)


def _zone_hint(times: Times) -> str:
    """Return a hint if the times may be local ones that are written with two offsets from UTC."""
    if not isinstance(times, pd.DatetimeIndex) or str(times.tz) != "UTC":
        return ""
    gaps = pd.Series(times[1:] - times[:-1])
    if bool((gaps.dt.total_seconds() % 3600 != 0).any()):
        return ""
    return "; if they are local times, add --data.time_zone, such as Europe/Berlin"


def _is_complete(step: TimeStep, times: Times) -> bool:
    positions = step.positions(times)
    return bool((np.diff(positions) == 1).all())


def check_step(rows: Rows, learned: TimeStep | None) -> TimeStep | None:
    """Return the step between the times, None if there is only one.

    Args:
        rows: sorted rows.
        learned: step that a model was trained on, default none.

    Raises:
        DataError: the times are not whole steps apart, or the step is not ``learned``.
    """
    own = find_step(rows.times)
    if len(rows.times) == 1:
        return learned
    if learned is None and own is None:
        gaps = pd.Series(rows.times[1:] - rows.times[:-1])
        row = int(np.flatnonzero(gaps != gaps.mode().iloc[0])[0]) + 1
        raise DataError(
            f"{rows.path}, line {rows.lines[row]}: the times are not regular: {rows.text(row)} "
            f"comes after {rows.text(row - 1)}, but the usual step is {usual_step(rows.times)}; "
            f"resample the table, or {IGNORE_HINT}{_zone_hint(rows.times)}"
        )
    if learned is None or _is_complete(learned, rows.times):
        return learned or own
    has_other_step = own is not None and _is_complete(own, rows.times)
    if has_other_step or (learned.positions(rows.times) < 0).any():
        row = int(np.flatnonzero(np.diff(learned.positions(rows.times)) != 1)[0]) + 1
        raise DataError(
            f"{rows.path}, line {rows.lines[row]}: {rows.text(row)} comes after "
            f"{rows.text(row - 1)}, but the model was trained on steps of {learned}; resample "
            f"the table, or {IGNORE_HINT}"
        )
    return learned


def fill_gaps(rows: Rows, step: TimeStep | None, fill: str | None) -> Rows:
    """Return rows with a row for each step; the values of new ones are NaN.

    Raises:
        DataError: steps are missing and ``fill`` is None.
    """
    if step is None:
        return rows
    positions = step.positions(rows.times)
    jumps = np.flatnonzero(np.diff(positions) > 1) + 1
    if not len(jumps):
        return rows
    count = int(positions[-1]) + 1
    missing = f"{count - len(positions)} of {count} steps of {step} are missing"
    row = int(jumps[0])
    if fill is None:
        hint = _clock_hint(rows, jumps) if count - len(positions) <= 2 * len(jumps) else ""
        raise DataError(
            f"{rows.path}, line {rows.lines[row]}: {missing}, the first between "
            f"{rows.text(row - 1)} and {rows.text(row)}; add --data.fill interpolate or previous, "
            f"or ignore to take rows as consecutive steps{hint}"
        )
    rows.say(f"{missing} and were filled ({fill})")
    values = np.full((count, rows.values.shape[1]), np.nan)
    values[positions] = rows.values
    lines = rows.lines[np.searchsorted(positions, np.arange(count))]  # of the next row in the file
    return replace(rows, lines=lines, values=values, times=step.times(rows.times[0], count))


def fill_values(rows: Rows, fill: str | None) -> Rows:
    """Return the rows with missing values filled.

    Args:
        rows: sorted rows.
        fill: ``interpolate`` or ``previous``.

    Raises:
        DataError: values are missing before the first or, for ``interpolate``, after the last one.
    """
    if not np.isnan(rows.values).any():
        return rows
    frame = pd.DataFrame(rows.values)
    filled = frame.interpolate(limit_area="inside") if fill == "interpolate" else frame.ffill()
    left = np.flatnonzero(filled.isna().any(axis=1))
    if len(left):
        raise DataError(
            f"{rows.path}, line {rows.lines[left[0]]}: the missing value is at the start or end of "
            f"its series and cannot be filled ({fill}); delete the row"
        )
    return replace(rows, values=filled.to_numpy())
