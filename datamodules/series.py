"""Time series: the user's own table, transformer measurements (ETTh1), and known processes."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import TensorDataModule, split_count
from datamodules.files import download_file, parse_number, read_table
from datamodules.loader import Batch
from zoo.errors import DataError, check_at_least, check_non_negative, suggest

HOURS_PER_MONTH = 30 * 24  # in the standard splits of ETTh1


class Series(TensorDataModule):
    """Several parallel time series, forecast from their past: ``--data series --data.path t.csv``.

    Batches are (x, y): x are ``lookback`` steps of all series, float32 (B, L, C), and y the
    ``horizon`` steps that follow, (B, H, C). The splits are consecutive: training, validation,
    test. All steps of a target are in its own split; the past of a split's first targets may reach
    into the previous split. Each series has mean 0 and variance 1 over the training split.

    Properties for models: ``num_series``, ``lookback``, ``horizon``.

    Args:
        path: table with a header and one row per time step. A first column without numbers, such
            as dates, is ignored. Default: generated series, see :func:`generate_sines`.
        columns: names of the series to use, default all.
        lookback: number of past steps L in the input, default 96.
        horizon: number of steps H to forecast, default 24.
        val_size: steps for validation: a count (≥ 1) or a fraction (< 1), default 0.1.
        test_size: steps for testing: a count (≥ 1) or a fraction (< 1), default 0.2.
        num_steps: number of steps to generate (default 4,000), or to use from the beginning of
            the table (default all).
        batch_size: training windows per batch and process, default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
        DataError: the table has a missing or non-numeric value (the message names the file, line
            and column), too few steps, or a constant series.
    """

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
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        check_at_least(1, lookback=lookback, horizon=horizon, num_steps=num_steps)
        check_non_negative(test_size=test_size)
        self.path, self.columns, self.num_steps = path, columns, num_steps
        self.lookback, self.horizon, self.test_size = lookback, horizon, test_size

    def load_series(self) -> tuple[list[str], Tensor]:
        """Return the names of the series and their values, float64 (steps, C), before scaling."""
        if self.path is not None:
            names, values = read_series(Path(self.path), self.columns)
            return names, values[: self.num_steps]
        values = generate_sines(self.num_steps or 4_000, self.seed)
        return [f"series {i + 1}" for i in range(values.shape[1])], values

    # -- properties for models ------------------------------------------------------------------

    @cached_property
    def _series(self) -> tuple[list[str], Tensor]:
        return self.load_series()

    @property
    def series_names(self) -> list[str]:
        """Names of the series."""
        return self._series[0]

    @property
    def raw_values(self) -> Tensor:
        """Values of the series before scaling, float64 (steps, C)."""
        return self._series[1]

    @property
    def num_series(self) -> int:
        """C, the number of series."""
        return self.raw_values.shape[1]

    @cached_property
    def split_ranges(self) -> dict[str, tuple[int, int]]:
        """First step and end (exclusive) of each split."""
        count = len(self.raw_values)
        val, test = split_count(self.val_size, count), split_count(self.test_size, count)
        train = count - val - test
        if train < self.lookback + self.horizon:
            raise DataError(
                f"{self.path or 'generated series'}: {train} training steps of {count} are too "
                f"few for a lookback of {self.lookback} and a horizon of {self.horizon}; lower "
                "lookback, horizon, val_size or test_size"
            )
        return {"train": (0, train), "val": (train, train + val), "test": (train + val, count)}

    @cached_property
    def scaled_values(self) -> Tensor:
        """Values of the series after scaling, float32 (steps, C)."""
        training = self.raw_values[slice(*self.split_ranges["train"])]
        std, mean = torch.std_mean(training, 0, correction=0)
        for name, value in zip(self.series_names, std, strict=True):
            if value == 0:
                raise DataError(
                    f"{self.path}, column {name!r}: the series is constant in the training split; "
                    "choose other columns with --data.columns"
                )
        return ((self.raw_values - mean) / std).float()

    # -- windows --------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        for name, (start, end) in self.split_ranges.items():
            # a window is identified by the first step of its target
            first = max(start, self.lookback)
            starts = torch.arange(first, max(first, end - self.horizon + 1))
            self._splits[name] = (starts,), torch.arange(len(starts))

    def prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        (starts,) = batch
        if self.scaled_values.device != starts.device:  # moved to the training device once
            self.scaled_values = self.scaled_values.to(starts.device)
        steps = torch.arange(-self.lookback, self.horizon, device=starts.device)
        windows = self.scaled_values[starts[:, None] + steps]
        return windows[:, : self.lookback], windows[:, self.lookback :]


class ETTh1(Series):
    """Hourly load and oil temperature of a power transformer over two years: seven series.

    The standard splits: 12, 4 and 4 months of 30 days for training, validation and test; the
    remainder of the file is not used. Stored as ``root/timeseries/ETTh1.csv``, downloaded if
    missing.

    Args:
        lookback: number of past steps L in the input, default 336.
        horizon: number of steps H to forecast, default 96; papers report 96, 192, 336 and 720.
        num_steps: number of steps to use from the beginning of the file, default 20 months.
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

    def load_series(self) -> tuple[list[str], Tensor]:
        self.download()
        return super().load_series()


class Brownian(TensorDataModule):
    """Brownian motion: paths with independent normal steps, best forecast by the last position.

    Batches are (x, y): x are L positions of a path, float32 (B, L, d), and y the H that follow. No
    forecast has a smaller expected squared error than σ² (H + 1)/2, the mean of h σ² over the
    horizon; a model that does better has seen future positions.

    Properties for models: ``num_series`` (d), ``lookback``, ``horizon``.

    Args:
        dimensions: number of dimensions d, default 3.
        num_paths: number of paths, default 4,000; a tenth of them are for testing.
        lookback: number of past steps L in the input, default 32.
        horizon: number of steps H to forecast, default 8.
        step_std: standard deviation σ of a step along each axis, default 1.
        batch_size: training paths per batch and process, default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        dimensions: int = 3,
        num_paths: int = 4_000,
        lookback: int = 32,
        horizon: int = 8,
        step_std: float = 1.0,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **data)
        check_at_least(1, dimensions=dimensions, lookback=lookback, horizon=horizon)
        check_at_least(10, num_paths=num_paths)
        check_non_negative(step_std=step_std)
        self.num_series, self.num_paths, self.step_std = dimensions, num_paths, step_std
        self.lookback, self.horizon = lookback, horizon

    @property
    def best_mse(self) -> float:
        """Expected squared error of the best forecast."""
        return self.step_std**2 * (self.horizon + 1) / 2

    def load(self, train: bool) -> Batch:
        test = self.num_paths // 10
        count = self.num_paths - test if train else test
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        shape = count, self.lookback + self.horizon, self.num_series
        steps = self.step_std * torch.randn(shape, generator=generator, dtype=torch.float64)
        paths = steps.cumsum(1)
        paths -= paths[:, :1].clone()  # all paths start at the origin
        return paths[:, : self.lookback].float(), paths[:, self.lookback :].float()


def generate_sines(
    num_steps: int, seed: int = 0, num_series: int = 3, noise: float = 0.2
) -> Tensor:
    """Generate series that are sums of three sines with normal noise, float64 (steps, series).

    Periods (12 to 100 steps), amplitudes (0.5 to 1) and phases are random.

    Args:
        num_steps: number of time steps.
        seed: random seed of the sines and the noise, default 0.
        num_series: number of series, default 3.
        noise: standard deviation of the noise, default 0.2.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        unit = torch.rand(3, num_series, generator=generator, dtype=torch.float64)
        return low + (high - low) * unit

    periods, amplitudes, phases = uniform(12, 100), uniform(0.5, 1), uniform(0, 2 * math.pi)
    time = torch.arange(num_steps, dtype=torch.float64)[:, None, None]
    sines = (amplitudes * (2 * math.pi * time / periods + phases).sin()).sum(1)
    noises = torch.randn(num_steps, num_series, generator=generator, dtype=torch.float64)
    return sines + noise * noises


def read_series(path: Path, columns: list[str] | None) -> tuple[list[str], Tensor]:
    """Return the names and values of the columns of a table, float64 (rows, columns).

    Args:
        path: table with a header, see :func:`~datamodules.files.read_table`. A first column
            without numbers, such as dates, is ignored.
        columns: names of the columns to read, None for all.

    Raises:
        DataError: there is no such column, or a value is missing or not a finite number.
    """
    header, rows = read_table(path)
    has_dates = len(header) > 1 and not any(_is_finite(row[0]) for _, row in rows)
    names = header[1:] if has_dates else header
    for name in columns or []:
        if name not in names:
            hint = suggest(name, names) or f"; its columns are {', '.join(names)}"
            raise DataError(f"{path} has no column {name!r}{hint}")
    names = list(columns or names)
    indices = [header.index(name) for name in names]
    values = torch.empty(len(rows), len(indices), dtype=torch.float64)
    for i, (line, row) in enumerate(rows):
        for j, index in enumerate(indices):
            cell = row[index]
            if not _is_finite(cell):
                problem = f"{cell!r} is not a finite number" if cell else "the value is missing"
                raise DataError(
                    f"{path}, line {line}, column {header[index]!r}: {problem}; fill in a number, "
                    "or choose other columns with --data.columns"
                )
            values[i, j] = float(cell)
    return names, values


def _is_finite(cell: str) -> bool:
    value = parse_number(cell)
    return value is not None and math.isfinite(value)
