"""Forecasts after the end of series: exact variances, coverage, steps beyond the horizon."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.evaluation.forecast import (
    Earlier,
    error_quantiles,
    errors_needed,
    forecast_future,
    future_variance,
    roll_out,
)
from zoo.models.sequences.forecasting import ForecastingTask

HORIZON = 4


class LastValue(ForecastingTask):
    """The best forecast of Brownian motion with steps of variance 1, with or without its variance.

    Args:
        predict_variance: whether the variance is predicted, default True.
        drift: added to the forecast at each step, default 0.
    """

    def __init__(
        self,
        predict_variance: bool = True,
        drift: float = 0.0,
        lookback: int = 3,
        horizon: int = HORIZON,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        self.predict_variance, self.drift = predict_variance, drift

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        ahead = torch.arange(1.0, HORIZON + 1)[None, :, None]
        mean = x[:, -1:] + self.drift * ahead
        return mean, ahead.expand_as(mean) if self.predict_variance else None


def brownian(steps: int, series: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, series, generator=generator).cumsum(0)


def test_forecasts_are_fed_back() -> None:
    model = LastValue(drift=2.0)
    past = torch.tensor([[[0.0], [1.0], [5.0]]])
    assert roll_out(model, past, 10)[0, :, 0].tolist() == [5 + 2.0 * h for h in range(1, 11)]
    assert roll_out(model, past, 2)[0, :, 0].tolist() == [7.0, 9.0]


def test_the_variance_of_brownian_motion_grows_by_one_in_each_step() -> None:
    """Exactly up to the horizon; within 4 standard errors of 1,000 sampled futures beyond it."""
    model = LastValue()
    variance = future_variance(model, brownian(3, 5)[None], 11)
    expected = torch.arange(1.0, 12).double()[:, None].expand(11, 5)
    torch.testing.assert_close(variance[:HORIZON], expected[:HORIZON])
    torch.testing.assert_close(variance, expected, rtol=4 * math.sqrt(2 / 1000), atol=0)
    again = future_variance(model, brownian(3, 5)[None], 11)
    assert torch.equal(variance, again)


@pytest.mark.parametrize("level", [0.5, 0.9])
@pytest.mark.parametrize("predict_variance", [True, False])
def test_intervals_contain_their_probability(predict_variance: bool, level: float) -> None:
    """4,000 independent series: the fraction within the interval, at each step ahead."""
    values = brownian(400 + 10, 4_000)
    known, future = values[:400], values[400:]
    earlier = Earlier(known, torch.arange(200, 400), "")
    forecast = forecast_future(LastValue(predict_variance), known, 10, earlier, level)
    is_covered = (future >= forecast.lower) & (future <= forecast.upper)
    coverage = is_covered.float().mean(1)
    # overlapping errors of one series are few independent ones, so that quantiles vary
    margin = 4 * math.sqrt(level * (1 - level) / 4_000) + (0 if predict_variance else 0.03)
    torch.testing.assert_close(coverage, torch.full((10,), level), atol=margin, rtol=0)
    if predict_variance:
        torch.testing.assert_close(forecast.mean, known[-1].expand(10, -1))


def test_quantiles_of_known_errors() -> None:
    """Errors of a repeated last value on a line with slope 1 are the number of steps ahead."""
    values = torch.arange(60.0)[:, None]
    earlier = Earlier(values, torch.arange(20, 60), "")
    lower, upper, count = error_quantiles(LastValue(False), earlier, 6, 0.9)
    assert count == 40
    assert lower[:, 0].tolist() == upper[:, 0].tolist() == [1, 2, 3, 4, 5, 6]


def test_the_interval_ends_at_ranks_of_split_conformal_prediction() -> None:
    """19 errors −9 … 9: the 90% interval is their range; 18 errors are too few."""
    jumps = torch.tensor([float(e) for e in range(-9, 10)])
    values = torch.cat([torch.zeros(3), jumps.cumsum(0)])[:, None]
    starts = torch.arange(3, 22)
    ends = error_quantiles(LastValue(False), Earlier(values, starts, ""), 1, 0.9)
    assert (float(ends[0]), float(ends[1])) == (-9, 9)
    ends = error_quantiles(LastValue(False), Earlier(values, starts, ""), 1, 0.5)
    assert (float(ends[0]), float(ends[1])) == (-5, 5)
    ends = error_quantiles(LastValue(False), Earlier(values, starts[1:], ""), 1, 0.9)
    assert math.isnan(float(ends[0]))


def test_steps_with_too_few_errors_have_no_interval() -> None:
    values = brownian(50, 2)
    earlier = Earlier(values, torch.arange(20, 50), "")
    lower, upper, _ = error_quantiles(LastValue(False), earlier, 20, 0.9)
    known = lower.isfinite().all(1)
    assert known.tolist() == [True] * 12 + [False] * 8  # 30 − 11 = 19 errors at step 12
    assert torch.equal(upper.isfinite().all(1), known)
    assert errors_needed(0.9) == 19
    assert earlier.count(3, 12) == 19
    assert Earlier(values, torch.arange(2, 50), "").count(3, 1) == 47


def test_the_method_is_stated() -> None:
    values = brownian(100, 1)
    earlier = Earlier(values, torch.arange(50, 100), "on the validation split")
    method = forecast_future(LastValue(False), values, 2, earlier).method
    assert method == "quantiles of the errors of 50 forecasts on the validation split"
    assert forecast_future(LastValue(), values, 4, earlier).method == "the model's own variance"
    beyond = forecast_future(LastValue(), values, 5, earlier).method
    assert beyond.endswith("after step 4, also that of 1,000 sampled futures that were fed back")
