"""Forecasts of the steps after the end of series, with prediction intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.sequences.forecasting import ForecastingTask

BATCH_SIZE = 512  # windows forecast at a time
MAX_WINDOWS = 2_000  # windows whose errors are measured; of more, evenly spaced ones
NUM_PATHS = 1_000  # futures sampled from a model that predicts variances
PATHS_AT_A_TIME = 250


@dataclass(frozen=True)
class Forecast:
    """A forecast of N steps of C series, in the units of the model.

    Args:
        mean: forecast, float32 (N, C).
        lower, upper: ends of the prediction intervals, (N, C); NaN where they are unknown.
        method: description of the method of the intervals.
    """

    mean: Tensor
    lower: Tensor
    upper: Tensor
    method: str


@dataclass(frozen=True)
class Earlier:
    """Forecasts of known steps, from whose errors prediction intervals follow.

    Args:
        values: the series, float32 (T, C).
        starts: first step of each forecast, on which the model should not have been trained. Those
            with fewer than L steps before them are left out.
        where: description of the steps, such as ``on the validation split``.
    """

    values: Tensor
    starts: Tensor
    where: str

    def count(self, lookback: int, step: int) -> int:
        """Return the number of errors of the forecasts of a step, counted from 1."""
        starts = self.starts[self.starts >= lookback]
        return int((starts + step <= len(self.values)).sum())


def errors_needed(level: float) -> int:
    """Return the number of errors from which a prediction interval follows."""
    return math.ceil(2 / (1 - level) - 1e-9) - 1


@torch.no_grad()
def forecast_future(
    model: ForecastingTask, values: Tensor, steps: int, earlier: Earlier, level: float = 0.9
) -> Forecast:
    """Forecast the steps after the last one.

    Steps beyond the model's horizon are forecast by feeding its forecasts back. Intervals of a
    model that predicts variances are those of a normal distribution, see :func:`future_variance`.
    Those of other models are quantiles of the errors that such forecasts would have made in the
    past, see :func:`error_quantiles`.

    Args:
        model: model in evaluation mode.
        values: the series, float32 (T, C) with T ≥ L.
        steps: number of steps N to forecast.
        earlier: past forecasts whose errors are measured.
        level: probability of the prediction intervals, default 0.9.
    """
    lookback = int(model.hparams["lookback"])
    values = values.to(model.device)
    past = values[-lookback:][None]
    mean = roll_out(model, past, steps)[0]
    if model.moments(past)[1] is not None:
        return _gaussian_forecast(model, past, mean, level)
    lower, upper, count = error_quantiles(model, earlier, steps, level)
    method = f"quantiles of the errors of {count:,} forecasts {earlier.where}"
    return Forecast(mean, mean + lower, mean + upper, method)


def roll_out(model: ForecastingTask, past: Tensor, steps: int) -> Tensor:
    """Forecast any number of steps by feeding forecasts back, (B, L, C) → (B, steps, C)."""
    blocks = [forecast for forecast, _ in _blocks(model, past, steps)]
    return torch.cat(blocks, 1)[:, :steps]


def _blocks(
    model: ForecastingTask, past: Tensor, steps: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the moments of successive horizons, (B, H, C) each.

    The past of the next horizon ends with the mean, or with a sample if there is a generator.
    """
    lookback, done = past.shape[1], 0
    while done < steps:
        mean, variance = model.moments(past)
        yield mean, variance
        following = mean
        if generator is not None and variance is not None:
            noise = torch.randn(mean.shape, generator=generator).to(mean)
            following = mean + variance.sqrt() * noise
        past = torch.cat([past, following], 1)[:, -lookback:]
        done += mean.shape[1]


# -- intervals -------------------------------------------------------------------------------------


def _gaussian_forecast(
    model: ForecastingTask, past: Tensor, mean: Tensor, level: float
) -> Forecast:
    half_width = (
        NormalDist().inv_cdf((1 + level) / 2)
        * future_variance(model, past, len(mean)).to(mean).sqrt()
    )
    horizon = int(model.hparams["horizon"])
    method = "the model's own variance"
    if len(mean) > horizon:
        method += (
            f"; after step {horizon}, also that of {NUM_PATHS:,} sampled futures that were fed back"
        )
    return Forecast(mean, mean - half_width, mean + half_width, method)


def future_variance(model: ForecastingTask, past: Tensor, steps: int, seed: int = 0) -> Tensor:
    """Compute the variance of future steps under a model that predicts variances, (steps, C).

    Up to the horizon it is the model's. Further steps follow from sampled values of the steps
    before: by the law of total variance, the mean of the predicted variances plus the variance of
    the predicted means. Steps of a sampled horizon are independent given the past.

    Args:
        model: the model.
        past: the past, (1, L, C).
        steps: number of steps.
        seed: random seed of the samples, default 0.
    """
    first = model.moments(past)[1]
    assert first is not None
    if steps <= first.shape[1]:
        return first[0, :steps].double()
    generator = torch.Generator().manual_seed(seed)
    center = roll_out(model, past, steps)[0].double()
    sums = torch.zeros(3, *center.shape, dtype=torch.float64, device=center.device)
    for _ in range(NUM_PATHS // PATHS_AT_A_TIME):
        paths = past.expand(PATHS_AT_A_TIME, -1, -1)
        means, variances = zip(*_blocks(model, paths, steps, generator), strict=True)
        deviation = torch.cat(means, 1)[:, :steps].double() - center
        variance = torch.cat(variances, 1)[:, :steps].double()
        sums += torch.stack([variance.sum(0), deviation.sum(0), deviation.square().sum(0)])
    variance, deviation, square = sums / NUM_PATHS
    spread = (square - deviation.square()) * NUM_PATHS / (NUM_PATHS - 1)
    return torch.cat([first[0].double(), (variance + spread)[first.shape[1] :]])


def error_quantiles(
    model: ForecastingTask, earlier: Earlier, steps: int, level: float
) -> tuple[Tensor, Tensor, int]:
    """Compute quantiles of the errors of earlier forecasts, for each step ahead and series.

    With n errors, the interval ends at the ⌊(n + 1) (1 − level)/2⌋-th smallest and largest error,
    which covers a further one with at least the given probability if the errors are exchangeable
    (split conformal prediction). Where n is too small, both ends are NaN.

    Args:
        model: the model.
        earlier: the forecasts; of more than 2,000, evenly spaced ones are used.
        steps: number of steps of each forecast.
        level: probability that the interval is to contain.

    Returns:
        Lower and upper ends, (steps, C) each, and the number of forecasts.

    Source: Vovk et al., Algorithmic learning in a random world, 2005.
    """
    lookback = int(model.hparams["lookback"])
    values = earlier.values.to(model.device)
    starts = earlier.starts[(earlier.starts >= lookback) & (earlier.starts < len(values))]
    if len(starts) > MAX_WINDOWS:
        starts = starts[torch.linspace(0, len(starts) - 1, MAX_WINDOWS).long()]
    padded = F.pad(values, (0, 0, 0, steps), value=math.nan)
    offsets = torch.arange(-lookback, steps)
    errors = [values.new_empty(0, steps, values.shape[1])]
    for batch in starts.split(BATCH_SIZE):
        windows = padded[(batch[:, None] + offsets).to(values.device)]
        errors.append(windows[:, lookback:] - roll_out(model, windows[:, :lookback], steps))
    ordered = torch.cat(errors).sort(0).values  # NaN, where the future is unknown, comes last
    ends = values.new_full((2, steps, values.shape[1]), math.nan)
    for step in range(steps):
        count = int((starts + step < len(values)).sum())
        rank = math.floor((count + 1) * (1 - level) / 2 + 1e-9)
        if rank >= 1:
            ends[0, step], ends[1, step] = ordered[rank - 1, step], ordered[count - rank, step]
    return ends[0], ends[1], len(starts)
