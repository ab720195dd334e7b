"""Metrics of forecasts."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics import MeanAbsoluteError


class SeriesMAE(MeanAbsoluteError):
    """Mean absolute error of one of several series, in its own units.

    Args:
        index: position of the series.
        std: standard deviation by which its values were divided.
    """

    def __init__(self, index: int, std: float, **metric: Any) -> None:
        super().__init__(**metric)
        self.index, self.std = index, std

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add the errors of forecasts (B, H, C) of targets (B, H, C)."""
        scaled = (self.std * values[..., self.index].flatten() for values in (preds, target))
        super().update(*scaled)
