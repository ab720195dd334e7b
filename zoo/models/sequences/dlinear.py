"""DLinear: a linear forecaster."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InputError, check_at_least
from zoo.models.sequences.forecasting import ForecastingTask


class DLinear(ForecastingTask):
    """DLinear: linear maps over time of the trend of each series and of the remainder.

    ŷ = W_t trend(x) + b_t + W_r (x − trend(x)) + b_r. The trend is a moving average, with the first
    and the last value repeated beyond the ends. DLinear is a strong baseline that many
    transformers did not beat.

    Args:
        num_series: number of series, C.
        lookback: number of past steps, L.
        horizon: number of steps to forecast, H.
        kernel_size: number of steps of the moving average, odd, default 25.
        individual: whether each series has its own maps, default False.
        **task: see :class:`~zoo.core.task.Task`.

    Shapes: (B, L, C) → (B, H, C).

    Raises:
        InputError: an even ``kernel_size``, or numbers out of range.

    Source: Zeng et al., Are transformers effective for time series forecasting?, 2023, section 4.
    """

    def __init__(
        self,
        num_series: int,
        lookback: int,
        horizon: int,
        kernel_size: int = 25,
        individual: bool = False,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(1, num_series=num_series, lookback=lookback, horizon=horizon)
        check_at_least(1, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {kernel_size}")
        self.kernel_size = kernel_size

    def build(self) -> None:
        hp = self.hparams
        maps = hp["num_series"] if hp["individual"] else 1
        lookback, horizon = hp["lookback"], hp["horizon"]
        # the initial forecast is the mean of the past
        self.weight = nn.Parameter(torch.full((2, maps, lookback, horizon), 1 / lookback))
        self.bias = nn.Parameter(torch.zeros(2, maps, 1, horizon))

    def trend(self, x: Tensor) -> Tensor:
        """Compute the moving average over time, (B, C, L) → (B, C, L)."""
        padding = self.kernel_size // 2
        padded = F.pad(x, (padding, padding), mode="replicate")
        return F.avg_pool1d(padded, self.kernel_size, stride=1)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = x.mT  # (B, C, L)
        trend = self.trend(x)
        parts = torch.stack([trend, x - trend]).transpose(1, 2)  # (2, C, B, L)
        forecasts = (parts @ self.weight + self.bias).sum(0)  # (C, B, H)
        return forecasts.permute(1, 2, 0), None
