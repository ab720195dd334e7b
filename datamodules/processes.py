"""Known processes: Brownian motion, and sums of sines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.base import TensorDataModule
from datamodules.loader import Batch
from zoo.errors import check_at_least, check_non_negative


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

    def prediction_ids(self) -> dict[str, Sequence[Any]]:
        return {"path": range(1, self.num_paths // 10 + 1)}


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
