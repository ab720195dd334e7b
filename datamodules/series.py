"""Time series: the user's own table, and transformer measurements (ETTh1)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.base import TensorDataModule, split_count
from datamodules.files import download_file
from datamodules.loader import Batch, TensorLoader
from datamodules.processes import generate_sines
from datamodules.series_table import SeriesOptions, SeriesTable, read_series
from datamodules.time_axis import FILLS, TimeAxis, numbered_axis
from datamodules.time_column import TimeOptions
from zoo.errors import (
    DataError,
    check_at_least,
    check_choice,
    check_count_or_fraction,
)

HOURS_PER_MONTH = 30 * 24  # in the standard splits of ETTh1


class Series(TensorDataModule):
    """Several parallel time series, forecast from their past: ``--data series --data.path t.csv``.

    Batches are (x, y): x are ``lookback`` steps of all series, float32 (B, L, C), and y the
    ``horizon`` steps that follow, (B, H, C). The splits are consecutive: training, validation,
    test. All steps of a target are in its own split; the past of a split's first targets may reach
    into the previous split. Each series has mean 0 and variance 1 over the training split.

    The column with the time is recognized by its contents and name: dates with or without a time
    zone, Unix time, dates such as 20210131, years, or an index. Rows are sorted by time. Without
    such a column, rows are consecutive steps.

    ``predict`` uses all windows of the table, including those whose future is not in it.

    Properties for models: ``num_series``, ``lookback``, ``horizon``.

    Args:
        path: table with a header and one row per time step. Default: generated series, see
            :func:`~datamodules.processes.generate_sines`.
        columns: names of the series to use, default all but the time.
        lookback: number of past steps L in the input, default 96.
        horizon: number of steps H to forecast, default 24.
        val_size: steps for validation: a count (≥ 1) or a fraction (< 1), default 0.1.
        test_size: steps for testing: a count (≥ 1) or a fraction (< 1), default 0.2.
        num_steps: number of steps to generate (default 4,000), or to split from the beginning of
            the table (default all).
        batch_size: training windows per batch and process, default 64.
        time: name of the time column, ``none`` for a table without one; default recognized.
        time_format: format of the times, such as ``%d/%m/%Y``, default recognized.
        time_zone: time zone of the times, such as ``Europe/Berlin``, needed for local times whose
            clocks change; default as written.
        id_column: column that names the series of each row, if series are stacked; default none.
        fill: rule for missing steps and values: ``interpolate`` (linearly) or ``previous`` (the
            last value) fills them, and ``ignore`` takes rows as consecutive steps at any times. By
            default, gaps are refused.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: see :func:`~datamodules.series_table.read_series`; too few steps, or a constant
            series.
    """

    learned_settings = (
        *TensorDataModule.learned_settings, "columns", "lookback", "horizon", "test_size",
        "num_steps", "time", "time_format", "time_zone", "id_column",
    )  # fmt: skip

    def __init__(
        self,
        path: str | None = None,
        columns: list[str] | None = None,
        lookback: int = 96,
        horizon: int = 24,
        val_size: float = 0.1,
        test_size: float = 0.2,
        num_steps: int | None = None,
        batch_size: int = 64,
        time: str | None = None,
        time_format: str | None = None,
        time_zone: str | None = None,
        id_column: str | None = None,
        fill: str | None = None,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        check_at_least(1, lookback=lookback, horizon=horizon, num_steps=num_steps)
        check_count_or_fraction(test_size=test_size)
        if fill is not None:
            check_choice("fill", fill, FILLS)
        TimeOptions(zone=time_zone).check()
        self.path, self.columns, self.num_steps = path, columns, num_steps
        self.lookback, self.horizon, self.test_size = lookback, horizon, test_size
        self.time, self.time_format, self.time_zone = time, time_format, time_zone
        self.id_column, self.fill = id_column, fill
        self._is_training = False

    def load_series(self) -> SeriesTable:
        """Return the series before scaling, with their names and times."""
        if self.path is not None:
            return read_series(Path(self.path), self._options())
        count = self.num_steps or 4_000
        values = generate_sines(count, self.seed)
        names = [f"series {i + 1}" for i in range(values.shape[1])]
        return SeriesTable(names, values, numbered_axis(count))

    def _options(self) -> SeriesOptions:
        time = TimeOptions(self.time, self.time_format, self.time_zone)
        learned = self.learned if self.has_loaded_state else None
        return SeriesOptions(self.columns, time, self.id_column, self.fill, learned)

    # -- what is learned ------------------------------------------------------------------------

    def learn(self) -> dict[str, Any]:
        """Return names, scaling and number of training steps of the series, and their time axis."""
        sizes = self._count_steps()
        training = self.raw_values[: sizes["train"]]
        std, mean = torch.std_mean(training, 0, correction=0)
        for name, value in zip(self._series.names, std, strict=True):
            if value == 0:
                raise DataError(
                    f"{self.path}, column {name!r}: the series is constant in the training split; "
                    "choose other columns with --data.columns"
                )
        return {
            "columns": list(self._series.names),
            "mean": mean,
            "std": std,
            "time": self.axis.state(),
            "sizes": sizes,
            "end_of_training": self._moment(sizes["train"] - 1),
            "fingerprint": self._fingerprint(sizes["train"]),
        }

    def _count_steps(self) -> dict[str, int]:
        count = len(self._split_values)
        val, test = split_count(self.val_size, count), split_count(self.test_size, count)
        train = count - val - test
        if train < self.lookback + self.horizon:
            raise DataError(
                f"{self.path or 'generated series'}: {train} training steps of {count} are too "
                f"few for a lookback of {self.lookback} and a horizon of {self.horizon}; lower "
                "lookback, horizon, val_size or test_size"
            )
        return {"train": train, "val": val, "test": test}

    def _moment(self, step: int) -> float | None:
        """Return the time of a step as a number, dates in µs; None without a time column."""
        if not self.axis.columns:
            return None
        times = self.axis.times[step : step + 1]
        return float(times.asi8[0] if isinstance(times, pd.DatetimeIndex) else times[0])

    def _fingerprint(self, count: int) -> str:
        """Return a hash of the first steps, by which the training data are recognized."""
        return hashlib.sha256(self.raw_values[:count].numpy().tobytes()).hexdigest()

    @cached_property
    def has_training_data(self) -> bool:
        """True if the table begins with the training split; more steps may follow."""
        train = self.learned["sizes"]["train"]
        if not self.has_loaded_state:
            return True
        return len(self.raw_values) >= train and (
            self._fingerprint(train) == self.learned["fingerprint"]
        )

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def _series(self) -> SeriesTable:
        return self.load_series()

    @property
    def series_names(self) -> list[str]:
        """Names of the series."""
        return list(self.learned["columns"])

    target_names = series_names

    @property
    def series_std(self) -> Tensor:
        """Standard deviation by which each series was divided, float64 (C,)."""
        return self.learned["std"]

    @property
    def axis(self) -> TimeAxis:
        """The times of the steps."""
        return self._series.axis

    @property
    def raw_values(self) -> Tensor:
        """Values of the series before scaling, float64 (steps, C)."""
        return self._series.values

    @property
    def _split_values(self) -> Tensor:
        return self.raw_values[: self.num_steps]

    @property
    def num_series(self) -> int:
        """C, the number of series."""
        return len(self.learned["columns"])

    @property
    def split_ranges(self) -> dict[str, tuple[int, int]]:
        """First step and end (exclusive) of each split.

        The splits of the training data are those of the checkpoint, and steps that have been added
        since are for testing. Other data are validated and tested as a whole.
        """
        if self.has_training_data:
            sizes, count = self.learned["sizes"], len(self._split_values)
        elif self._is_training:
            sizes, count = self._count_steps(), len(self._split_values)
        else:
            whole = 0, len(self.raw_values)
            return {"train": (0, 0), "val": whole, "test": whole}
        train, val = sizes["train"], min(sizes["train"] + sizes["val"], count)
        return {"train": (0, train), "val": (train, val), "test": (val, count)}

    @cached_property
    def scaled_values(self) -> Tensor:
        """Values of the series after scaling, float32 (steps, C)."""
        return ((self.raw_values - self.learned["mean"]) / self.learned["std"]).float()

    def to_original_units(self, values: Tensor) -> Tensor:
        """Return scaled values (..., C) in the units of the table, float64."""
        mean, std = (self.learned[name].to(values.device) for name in ("mean", "std"))
        return values.double() * std + mean

    # -- windows --------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        self._is_training |= stage == "fit"
        if stage == "test":
            self._describe_test()
        for name, (start, end) in self.split_ranges.items():
            # a window is identified by the first step of its target
            first = max(start, self.lookback)
            starts = torch.arange(first, max(first, end - self.horizon + 1))
            self._splits[name] = (starts,), torch.arange(len(starts))
        starts = self.prediction_starts()
        self._splits["predict"] = (starts,), torch.arange(len(starts))

    def _describe_test(self) -> None:
        """Warn if other steps than the test split of the training data are tested."""
        if not self.has_loaded_state:
            return
        count = len(self.raw_values)
        if self.has_training_data:
            added = count - sum(self.learned["sizes"].values())
            if self.num_steps is None and added > 0:
                self._say(f"{added} steps that were added since training are tested too")
            return
        if count < self.lookback + self.horizon:
            raise DataError(
                f"{self.path}: {count} steps are too few to test a lookback of {self.lookback} and "
                f"a horizon of {self.horizon}"
            )
        early = self.first_new_step()
        overlap = f"; {early} of them are not after the end of training" if early else ""
        self._say(f"not the training data: all {count} steps are tested{overlap}")

    def _say(self, text: str) -> None:
        warnings.warn(f"{self.path or 'generated series'}: {text}", stacklevel=3)

    def first_new_step(self) -> int:
        """Return the first step after the end of training, by its time where times are known."""
        if self.has_training_data:
            return int(self.learned["sizes"]["train"])
        end, axis = self.learned["end_of_training"], self.axis
        if end is None or not axis.columns:
            return 0
        times = axis.times.asi8 if isinstance(axis.times, pd.DatetimeIndex) else axis.times
        return int((times <= end).sum())

    @cached_property
    def _windowed_values(self) -> Tensor:
        """Scaled values, followed by NaN where the horizon reaches beyond the last step."""
        return F.pad(self.scaled_values, (0, 0, 0, self.horizon), value=float("nan"))

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        (starts,) = batch
        if self._windowed_values.device != starts.device:  # moved to the training device once
            self._windowed_values = self._windowed_values.to(starts.device)
        steps = torch.arange(-self.lookback, self.horizon, device=starts.device)
        windows = self._windowed_values[starts[:, None] + steps]
        return windows[:, : self.lookback], windows[:, self.lookback :]

    # -- prediction -----------------------------------------------------------------------------

    def prediction_starts(self) -> Tensor:
        """Return the first step that is predicted in each window, at most one after the last."""
        return torch.arange(self.lookback, len(self.raw_values) + 1)

    def predict_dataloader(self) -> TensorLoader:
        if len(self.raw_values) < self.lookback:
            raise DataError(
                f"{self.path}: {len(self.raw_values)} steps are too few for a lookback of "
                f"{self.lookback}; add the steps before them"
            )
        return self._loader("predict")

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        times = self.axis.write()
        return {"origin": [times[start - 1] for start in self.prediction_starts().tolist()]}

    def target_times(self, windows: Sequence[int]) -> list[list[str]]:
        """Return the times of the horizon in each window that is predicted.

        Args:
            windows: positions of the windows in ``predict_dataloader``.
        """
        times = self.axis.write(self.horizon)
        starts = self.prediction_starts().tolist()
        return [times[starts[w] : starts[w] + self.horizon] for w in windows]


class ETTh1(Series):
    """Hourly load and oil temperature of a power transformer over two years: seven series.

    The standard splits: 12, 4 and 4 months of 30 days for training, validation and test; the
    remainder of the file is not used. Stored as ``root/timeseries/ETTh1.csv``, downloaded if
    missing. ``predict`` uses the test split.

    Args:
        lookback: number of past steps L in the input, default 336.
        horizon: number of steps H to forecast, default 96; papers report 96, 192, 336 and 720.
        num_steps: number of steps to split from the beginning of the file, default 20 months.
        val_size: steps for validation, default 4 months.
        test_size: steps for testing, default 4 months.
        **series: see :class:`Series`; ``path`` is fixed.

    Source: Zhou et al., Informer, 2021.
    """

    url = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv"
    sha256 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"

    def __init__(
        self,
        lookback: int = 336,
        horizon: int = 96,
        num_steps: int = 20 * HOURS_PER_MONTH,
        val_size: float = 4 * HOURS_PER_MONTH,
        test_size: float = 4 * HOURS_PER_MONTH,
        **series: Any,
    ) -> None:
        super().__init__(
            "", lookback=lookback, horizon=horizon, num_steps=num_steps, val_size=val_size,
            test_size=test_size, **series,
        )  # fmt: skip
        self.path = str(self.root / "timeseries" / "ETTh1.csv")

    def download(self) -> None:
        download_file(self.url, Path(str(self.path)), self.sha256)

    def load_series(self) -> SeriesTable:
        self.download()
        return super().load_series()

    def prediction_starts(self) -> Tensor:
        start, end = self.split_ranges["test"]
        return torch.arange(max(start, self.lookback), end - self.horizon + 1)
