"""ForecastingTask: base class of models that forecast time series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from zoo.core.precision import keep_targets
from zoo.core.predictions import loader_positions
from zoo.core.task import Task
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.functional.precision import widen
from zoo.metrics.forecasting import SeriesMAE

Z90 = 1.6448536269514722  # 90% of a normal distribution lies within ±Z90 standard deviations
MAX_LISTED_SERIES = 10  # the errors of more series are not listed one by one


class ForecastingTask(Task):
    """A task that forecasts the next H steps of C time series from the last L.

    Loss: the squared error, mean over samples, steps and series; for a model that also predicts
    variances, −log N(y; mean, variance), averaged in the same way. The squared error of a naive
    forecast, which repeats the last value, is measured for comparison.

    If the data module has standardized the series, then so are these errors, as in the literature;
    ``mae_NAME`` is the absolute error of each series in its own units, for up to 10 series.

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

    def series_std(self) -> dict[str, float]:
        """Return the standard deviation by which the data module divided each series, by name."""
        data: Any = getattr(self._trainer, "datamodule", None)
        if not hasattr(data, "series_std"):
            return {}
        return dict(zip(data.series_names, data.series_std.tolist(), strict=True))

    def make_metrics(self) -> dict[str, Metric]:
        std = self.series_std()
        if len(std) > MAX_LISTED_SERIES:
            return {}
        return {f"mae_{name}": SeriesMAE(i, std[name]) for i, name in enumerate(std)}

    def describe_metrics(self) -> dict[str, str]:
        notes = super().describe_metrics()
        std = self.series_std()
        if not std:
            return notes
        for name in ("mse", "mae", "naive_mse"):
            notes[name] = notes[name].split(", in the data's")[0] + ", of standardized series"
        return notes | {f"mae_{name}": f"absolute error of {name}, in its units" for name in std}

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
        x, y, mean = widen(x), widen(y), widen(mean)
        if mean.shape != y.shape:
            raise ValueError(
                "forecasts and targets must have the same shape, got forecasts "
                f"{tuple(mean.shape)} and targets {tuple(y.shape)}"
            )
        mse = F.mse_loss(mean, y)
        parts = {"loss": mse, "mse": mse, "mae": F.l1_loss(mean, y)}
        if variance is not None:
            variance = widen(variance)
            nll = -gaussian_log_prob(mean, 0.5 * variance.log(), y).mean() / y[0].numel()
            is_covered = (y - mean).abs() <= Z90 * variance.sqrt()
            parts |= {"loss": nll, "nll": nll, "coverage_90": is_covered.to(y).mean()}
        naive = F.mse_loss(x[:, -1:].expand_as(y), y)
        return parts | {"naive_mse": naive, "outputs": (mean.detach(), y)}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        keep_targets(self.trainer.precision_plugin)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        mean, variance = self.moments(batch[0])
        return {"forecast": mean, **({} if variance is None else {"variance": variance})}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return a row for each forecast step of each window: its time, or its number from 1 on,
        and the forecast of each series in the units of the data."""
        mean = outputs["forecast"].float().cpu()
        windows, horizon, num_series = mean.shape
        names = getattr(data, "series_names", [f"series {i + 1}" for i in range(num_series)])
        columns: dict[str, Sequence[Any]] = {
            "sample": torch.arange(windows).repeat_interleave(horizon).tolist()
        }
        if hasattr(data, "target_times"):
            positions = loader_positions(self.trainer.predict_dataloaders)[:windows]
            times = data.target_times(positions)
            columns[data.axis.name] = [time for window in times for time in window]
        else:
            columns["step"] = torch.arange(1, horizon + 1).repeat(windows).tolist()
        values, std = mean.double(), torch.ones(num_series, dtype=torch.float64)
        if hasattr(data, "to_original_units"):
            values, std = data.to_original_units(mean), data.series_std
        columns |= {name: values[..., i].flatten().tolist() for i, name in enumerate(names)}
        if "variance" in outputs:
            stds = outputs["variance"].double().cpu().sqrt() * std
            columns |= {f"std({n})": stds[..., i].flatten().tolist() for i, n in enumerate(names)}
        return columns
