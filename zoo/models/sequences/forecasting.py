"""ForecastingTask: base class of models that forecast time series."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from zoo.core.task import Task
from zoo.functional.likelihoods import gaussian_log_prob

Z90 = 1.6448536269514722  # 90% of a normal distribution lies within ±Z90 standard deviations


class ForecastingTask(Task):
    """A task that forecasts the next H steps of C time series from the last L.

    Loss: the squared error, mean over samples, steps and series; for a model that also predicts
    variances, −log N(y; mean, variance), averaged in the same way. The squared error of a naive
    forecast, which repeats the last value, is measured for comparison.

    A subclass provides ``moments``.

    Args:
        **task: see :class:`~zoo.core.task.Task`.

    Batch: (x, y), the past (B, L, C) and the future (B, H, C).

    Raises:
        ValueError: targets whose shape differs from that of the forecasts.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error, mean over steps and series, in the data's units²",
        "mae": "absolute error, mean over steps and series, in the data's units",
        "naive_mse": "squared error of repeating the last value, in the data's units²",
        "nll": "−log N(y; mean, variance), nats per value",
        "coverage_90": "fraction of values within the predicted 90% interval",
    }

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the mean of the next H steps and, if it is predicted, their variance.

        Args:
            x: the past, (B, L, C).

        Returns:
            Mean and variance, (B, H, C) each; the variance is None if it is not predicted.
        """
        raise NotImplementedError(f"{type(self).__name__} has no moments(x)")

    def forecast(self, x: Tensor) -> Tensor:
        """Compute the forecast, (B, L, C) → (B, H, C): no logging, no state, differentiable."""
        return self.moments(x)[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.forecast(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return tuple(batch[1].shape)

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        mean, variance = self.moments(x)
        if mean.shape != y.shape:
            raise ValueError(
                "forecasts and targets must have the same shape, got forecasts "
                f"{tuple(mean.shape)} and targets {tuple(y.shape)}"
            )
        mse = F.mse_loss(mean, y)
        parts = {"loss": mse, "mse": mse, "mae": F.l1_loss(mean, y)}
        if variance is not None:
            nll = -gaussian_log_prob(mean, 0.5 * variance.log(), y).mean() / y[0].numel()
            is_covered = (y - mean).abs() <= Z90 * variance.sqrt()
            parts |= {"loss": nll, "nll": nll, "coverage_90": is_covered.to(y).mean()}
        return parts | {"naive_mse": F.mse_loss(x[:, -1:].expand_as(y), y)}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        mean, variance = self.moments(batch[0])
        return {"forecast": mean, **({} if variance is None else {"variance": variance})}
