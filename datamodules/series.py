"""Numbers in time: a table of your own, hourly measurements of a transformer, known processes."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.files import fetch, number, read_table
from datamodules.loader import Batch
from zoo.errors import DataError

MONTH = 30 * 24  # hours, as the splits of ETTh1 have them


class Series(TensorDataModule):
    """Several series side by side: ``--data series --data.path t.csv``. The past predicts what
    follows.

    Batches are (x, y): ``lookback`` steps of all series, float32 (B, L, C), and the ``horizon``
    steps after them, (B, H, C). Time is divided in its order: training, validation, test; a target
    lies wholly in its own part, while the past of the first targets may reach back into the part
    before. Each series has mean 0 and variance 1 over the training part.

    Properties that models ask for: ``num_series``, ``lookback``, ``horizon``.

    Args:
        path: a table with a header and one row for each step; a first column that is no number
            (dates) is left out. Default: generated, see :func:`sums_of_sines`.
        columns: which series to take, default all.
        lookback, horizon: L and H, steps; default 96 and 24.
        val_size, test_size: of the steps: fractions (< 1) or counts (≥ 1), default 0.1 and 0.2.
        steps: generated or taken from the table's beginning, default 4,000 and all.
        batch_size: default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.

    Raises:
        DataError: names the file, line and column of a gap or a word among numbers; too few steps;
            a series that is constant.
    """

    def __init__(
        self,
        path: str | None = None,
        columns: list[str] | None = None,
        lookback: int = 96,
        horizon: int = 24,
        val_size: float = 0.1,
        test_size: float = 0.2,
        steps: int | None = None,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, **data)
        _check_lengths(lookback, horizon)
        self.path, self.columns, self.steps = path, columns, steps
        self.lookback, self.horizon, self.test_size = lookback, horizon, test_size

    # -- what models ask for --------------------------------------------------------------------

    @cached_property
    def table(self) -> tuple[list[str], Tensor]:
        """Names and values of the series, float64 (steps, C), before scaling."""
        if self.path is not None:
            names, values = read_series(Path(self.path), self.columns)
            return names, values[: self.steps]
        values = sums_of_sines(self.steps or 4_000, self.seed)
        return [f"series {i + 1}" for i in range(values.shape[1])], values

    @property
    def series_names(self) -> list[str]:
        """Names of the series."""
        return self.table[0]

    @property
    def num_series(self) -> int:
        """C."""
        return self.table[1].shape[1]

    @cached_property
    def parts(self) -> dict[str, tuple[int, int]]:
        """First step and end of each split."""
        count = len(self.table[1])
        val, test = (
            int(size if size >= 1 else round(size * count))
            for size in (self.val_size, self.test_size)
        )
        train = count - val - test
        if train < self.lookback + self.horizon:
            raise DataError(
                f"{train} training steps of {count} are too few for a lookback of {self.lookback} "
                f"and a horizon of {self.horizon}"
            )
        return {"train": (0, train), "val": (train, train + val), "test": (train + val, count)}

    @cached_property
    def values(self) -> Tensor:
        """Scaled, float32 (steps, C)."""
        names, values = self.table
        training = values[slice(*self.parts["train"])]
        std, mean = torch.std_mean(training, 0, correction=0)
        for name, spread in zip(names, std, strict=True):
            if spread == 0:
                raise DataError(f"series {name!r} is constant in the training part")
        return ((values - mean) / std).float()

    # -- windows --------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        for name, (start, end) in self.parts.items():
            # windows are numbered by the first step of their target
            first = max(start, self.lookback)
            starts = torch.arange(first, max(first, end - self.horizon + 1))
            self._splits[name] = (starts,), torch.arange(len(starts))
        if not len(self._splits["train"][1]):
            raise DataError("no training window fits: shorten lookback or horizon")

    def _prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        return self._prepare_evaluation(batch, generator)

    def _prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        (starts,) = batch
        if self.values.device != starts.device:  # where the training is, once
            self.values = self.values.to(starts.device)
        steps = torch.arange(-self.lookback, self.horizon, device=starts.device)
        windows = self.values[starts[:, None] + steps]
        return windows[:, : self.lookback], windows[:, self.lookback :]


class ETTh1(Series):
    """Hourly load and oil temperature of a power transformer, two years: seven series.

    12, 4 and 4 months of 30 days for training, validation and test, as is the custom; the rest of
    the file is not used. Lies in ``root/timeseries/ETTh1.csv``; downloaded when it is missing.

    Args:
        lookback: default 336.
        horizon: 96 (default), 192, 336 or 720 in published figures.
        **series: see :class:`Series`; the path is fixed.

    Source: Zhou et al., Informer, 2021.
    """

    url = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv"
    sha256 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"

    def __init__(
        self,
        lookback: int = 336,
        horizon: int = 96,
        steps: int = 20 * MONTH,
        val_size: float = 4 * MONTH,
        test_size: float = 4 * MONTH,
        **series: Any,
    ) -> None:
        super().__init__(
            "", lookback=lookback, horizon=horizon, steps=steps, val_size=val_size,
            test_size=test_size, **series,
        )  # fmt: skip
        self.path = str(self.root / "timeseries" / "ETTh1.csv")

    def download(self) -> None:
        fetch(self.url, Path(str(self.path)), self.sha256)

    @cached_property
    def table(self) -> tuple[list[str], Tensor]:
        self.download()
        return super().table


class Brownian(TensorDataModule):
    """Paths whose steps are independent and normal: the last position is the best forecast.

    Batches are (x, y): L positions of a path, float32 (B, L, d), and the H after them. No forecast
    has a smaller expected squared error than σ² (H + 1)/2, the mean of h σ² over the horizon; one
    that seems to have sees the future.

    Properties that models ask for: ``num_series`` (d), ``lookback``, ``horizon``.

    Args:
        dimensions: d, default 3.
        paths: default 4,000; a tenth each for validation and test.
        lookback, horizon: L and H, default 32 and 8.
        step: σ, standard deviation of a step along each axis, default 1.
        batch_size: default 64.
        **data: see :class:`~datamodules.base.TensorDataModule`.
    """

    def __init__(
        self,
        dimensions: int = 3,
        paths: int = 4_000,
        lookback: int = 32,
        horizon: int = 8,
        step: float = 1.0,
        batch_size: int = 64,
        **data: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **data)
        _check_lengths(lookback, horizon)
        self.num_series, self.paths, self.step = dimensions, paths, step
        self.lookback, self.horizon = lookback, horizon

    @property
    def best_mse(self) -> float:
        """Expected squared error of the best forecast."""
        return self.step**2 * (self.horizon + 1) / 2

    def load(self, train: bool) -> Batch:
        count = self.paths - self.paths // 10 if train else self.paths // 10
        generator = torch.Generator().manual_seed(2 * self.seed + train)
        shape = count, self.lookback + self.horizon, self.num_series
        path = (self.step * torch.randn(shape, generator=generator, dtype=torch.float64)).cumsum(1)
        path -= path[:, :1].clone()  # all begin at the origin
        return path[:, : self.lookback].float(), path[:, self.lookback :].float()

    def _prepare_training(self, batch: Batch, generator: torch.Generator) -> Batch:
        return batch

    def _prepare_evaluation(self, batch: Batch, generator: torch.Generator) -> Batch:
        return batch


def sums_of_sines(steps: int, seed: int = 0, count: int = 3, noise: float = 0.2) -> Tensor:
    """Series that are sums of three sines each, with random periods between 12 and 100 steps,
    amplitudes and phases, and normal noise; float64 (steps, count).

    Args:
        steps: length.
        seed: of everything random.
        count: of series.
        noise: standard deviation of the noise; the sines' amplitudes lie between 0.5 and 1.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(3, count, generator=generator, dtype=torch.float64)

    periods, amplitudes, phases = draw(12, 100), draw(0.5, 1), draw(0, 2 * math.pi)
    time = torch.arange(steps, dtype=torch.float64)[:, None, None]
    sines = (amplitudes * (2 * math.pi * time / periods + phases).sin()).sum(1)
    noises = torch.randn(steps, count, generator=generator, dtype=torch.float64)
    return sines + noise * noises


def read_series(path: Path, columns: list[str] | None) -> tuple[list[str], Tensor]:
    """Names and numbers of the columns of a table, float64 (rows, columns).

    Raises:
        DataError: see :class:`Series`.
    """
    header, rows = read_table(path)
    dates = len(header) > 1 and not any(_is_number(row[0]) for _, row in rows)
    names = header[1:] if dates else header
    for name in columns or []:
        if name not in names:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(names)}")
    names = list(columns or names)
    places = [header.index(name) for name in names]
    values = torch.empty(len(rows), len(places), dtype=torch.float64)
    for i, (line, row) in enumerate(rows):
        for j, place in enumerate(places):
            cell = row[place]
            if not _is_number(cell):
                what = f"{cell!r} is no number" if cell else "there is a gap"
                raise DataError(f"{path}, line {line}, column {header[place]!r}: {what}")
            values[i, j] = float(cell)
    return names, values


def _check_lengths(lookback: int, horizon: int) -> None:
    for name, value in (("lookback", lookback), ("horizon", horizon)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _is_number(cell: str) -> bool:
    value = number(cell)
    return value is not None and math.isfinite(value)
