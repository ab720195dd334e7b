"""The step of a regular time axis: seconds, calendar days, business days, months, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from datamodules.time_notation import Times

MAX_GRID = 20_000_000  # steps between the first and the last time of a table
DAY, MONTH = pd.Timedelta(days=1), pd.Timedelta(days=30.436875)
TOLERANCE = 1e-3  # fraction of a step by which rounded numbers may differ from whole steps


@dataclass(frozen=True)
class TimeStep:
    """The step between the times of a regular axis.

    Args:
        unit: ``second``, ``day`` (of the calendar, which daylight saving time may shorten),
            ``business day`` (Monday to Friday), ``month``, ``month end``, ``business month end``,
            ``business month start``, or ``number``.
        count: number of units in a step.
    """

    unit: str
    count: float = 1

    @property
    def offset(self) -> Any:
        """The step as an argument ``freq`` of :func:`pandas.date_range`."""
        if self.unit == "second":
            return pd.Timedelta(microseconds=round(self.count * 1e6))
        count, offsets = int(self.count), pd.offsets
        makers = {
            "day": offsets.Day,
            "business day": offsets.BDay,
            "month end": offsets.MonthEnd,
            "business month end": offsets.BMonthEnd,
            "business month start": offsets.BMonthBegin,
        }
        return pd.DateOffset(months=count) if self.unit == "month" else makers[self.unit](count)

    def __str__(self) -> str:
        if self.unit == "number":
            return f"{self.count:g}"
        count, unit = self.count, self.unit
        if unit == "second":
            sizes = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
            unit, size = next((n, s) for n, s in sizes if count % s == 0 or s == 1)
            count /= size
        for base, months in (("quarter", 3), ("year", 12)):
            if unit == "month" and count == months:
                return f"1 {base}"
        return f"{count:g} {unit}" + ("" if count == 1 else "s")

    def positions(self, times: Times) -> np.ndarray[Any, Any]:
        """Return the number of steps from the first of sorted times to each; −1 is off the grid."""
        if self.unit == "number":
            steps = (np.asarray(times, dtype=float) - float(times[0])) / self.count
            whole = np.round(steps)
            return np.where(np.abs(steps - whole) <= TOLERANCE, whole, -1).astype(np.int64)
        grid = self._grid(times)
        if not len(grid) or grid[0] != times[0]:  # such as a month end after a first of a month
            return np.r_[0, np.full(len(times) - 1, -1)]
        return grid.get_indexer(pd.DatetimeIndex(times))

    def _grid(self, times: Times) -> pd.DatetimeIndex:
        first, last = times[0], times[-1]
        return pd.date_range(first, last, freq=self.offset, unit="us")

    def times(self, start: Any, count: int) -> Times:
        """Return ``count`` times from ``start`` on."""
        if self.unit == "number":
            return pd.Index(start + self.count * np.arange(count), dtype="float64")
        return pd.date_range(start, periods=count, freq=self.offset, unit="us")


def find_step(times: Times) -> TimeStep | None:
    """Return the step of sorted, distinct times with or without gaps.

    It is None if no step divides all differences between times, or if there is only one time.
    """
    if len(times) < 2:
        return None
    gaps = pd.Series(times[1:] - times[:-1])
    common = gaps.mode().iloc[0]
    if float((times[-1] - times[0]) / common) > MAX_GRID:
        return None
    if isinstance(times, pd.DatetimeIndex):
        candidates = _date_candidates(times, common, gaps)
    else:
        candidates = [TimeStep("number", float(common))]
    fitting = (step for step in candidates if (step.positions(times) >= 0).all())
    return next(fitting, None)


def usual_step(times: Times) -> TimeStep | None:
    """Return the median step of times that are not regular, None if there is only one time."""
    if len(times) < 2:
        return None
    if isinstance(times, pd.DatetimeIndex):
        return TimeStep("second", max(float(np.median(np.diff(times.asi8))), 1) / 1e6)
    return TimeStep("number", float(np.median(np.diff(times))))


def _date_candidates(
    times: pd.DatetimeIndex, common: pd.Timedelta, gaps: pd.Series[Any]
) -> list[TimeStep]:
    """Return steps that the most common gap suggests, the largest first."""
    candidates = []
    if common >= 27 * DAY:
        months = max(1, round(common / MONTH))
        ends = ("month end", "business month end")
        units = ends if times[0].day > 1 else ("month",)
        candidates += [TimeStep(unit, months) for unit in (*units, "month", "business month start")]
    local = times.tz_localize(None)  # a calendar day may have 23 or 25 hours
    days = round(common / DAY)
    if days >= 1 and (local - local.normalize()).nunique() == 1:
        weekend = bool((local.day_of_week >= 5).any())
        if days == 1 and not weekend and bool((gaps >= 3 * DAY - pd.Timedelta(hours=1)).any()):
            candidates.append(TimeStep("business day"))
        candidates.append(TimeStep("day", days))
    return [*candidates, TimeStep("second", common / pd.Timedelta(seconds=1))]
