"""Regressor: a task that predicts real numbers, with or without their variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from zoo.core.precision import keep_targets
from zoo.core.predictions import column
from zoo.core.task import Task
from zoo.errors import InputError, check_at_least
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.functional.precision import widen
from zoo.metrics.regression import R2


class Regressor(Task):
    """A task that predicts real numbers, and optionally their variances.

    Loss: the mean squared error (1/BT) Σ (ŷ − y)²; for a model that also predicts variances,
    −log N(y; ŷ, σ²), summed over targets, mean over the batch.

    A subclass provides ``predict``, or ``moments`` if it predicts variances.

    Args:
        num_targets: number of targets per sample, T.
        **task: see :class:`~zoo.core.task.Task`.

    Batch: (x, y) with y float, (B, T), or (B,) for one target.

    Raises:
        InputError: targets that are integers.
        ValueError: targets whose shape differs from that of the predictions.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error, mean over samples and targets, in the targets' units²",
        "mae": "absolute error, mean over samples and targets, in the targets' units",
        "nll": "−log N(y; mean, variance), nats per sample, summed over targets",
        "r2": "coefficient of determination: explained fraction of the targets' variance",
    }

    def __init__(self, num_targets: int, **task: Any) -> None:
        super().__init__(**task)
        check_at_least(1, num_targets=num_targets)
        self.num_targets = num_targets

    def predict(self, x: Tensor) -> Tensor:
        """Compute predictions, (B, ...) → (B, T): no logging, no state, differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no predict(x)")

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return len(batch[0]), self.num_targets

    def moments(self, x: Tensor) -> Tensor:
        """Compute the mean of each target, (B, T, 1), or its mean and variance, (B, T, 2)."""
        return self.predict(x)[..., None]

    def loss(self, moments: Tensor, y: Tensor) -> Tensor:
        """Compute the training objective without penalties."""
        return gaussian_nll(moments, y) if _has_variance(moments) else _mse(moments, y)

    def parts(self, moments: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Compute the loss and named parts from moments and targets."""
        parts = {
            "loss": self.loss(moments, y),
            "mse": _mse(moments, y),
            "mae": (moments[..., 0] - y).abs().mean(),
        }
        return parts | ({"nll": gaussian_nll(moments, y)} if _has_variance(moments) else {})

    def step(self, batch: Any) -> dict[str, Any]:
        moments = widen(self.moments(batch[0]))
        prediction = moments[..., 0]
        y = self._targets(batch[1], prediction)
        return {**self.parts(moments, y), "outputs": (prediction.detach(), y)}

    @staticmethod
    def _targets(y: Tensor, prediction: Tensor) -> Tensor:
        """Return the targets in the shape of the predictions, without broadcasting."""
        y = y[:, None] if y.ndim == 1 else y
        if y.shape != prediction.shape:
            raise ValueError(
                f"targets have shape {tuple(y.shape)}, predictions {tuple(prediction.shape)}"
            )
        if not y.is_floating_point():
            raise InputError(
                "the targets are integers, like the class labels of a classification: choose a "
                "classifier, or convert targets to floating-point numbers"
            )
        return y.to(prediction)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        keep_targets(self.trainer.precision_plugin)

    def make_metrics(self) -> dict[str, Metric]:
        return {"r2": R2()}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        moments = self.moments(batch[0])
        variance = {"variance": moments[..., 1]} if _has_variance(moments) else {}
        return {"prediction": moments[..., 0], **variance}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the prediction of each target by name, and its standard deviation if known."""
        means = outputs["prediction"]
        names = getattr(data, "target_names", None) or []
        if len(names) != means.shape[1]:
            names = [f"target_{i + 1}" for i in range(means.shape[1])]
        columns = {name: column(means[:, i]) for i, name in enumerate(names)}
        if "variance" in outputs:
            std = outputs["variance"].float().sqrt()
            columns |= {f"std({name})": column(std[:, i]) for i, name in enumerate(names)}
        return columns


def gaussian_nll(moments: Tensor, y: Tensor) -> Tensor:
    """Compute −log N(y; mean, variance) in nats, summed over targets, mean over the batch.

    Args:
        moments: mean and variance of each target, (B, T, 2).
        y: targets, (B, T).
    """
    mean, variance = moments.unbind(-1)
    return -gaussian_log_prob(mean, 0.5 * variance.log(), y).mean()


def _mse(moments: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(moments[..., 0], y)


def _has_variance(moments: Tensor) -> bool:
    return moments.shape[-1] == 2
