"""Classifier and Regressor: the tasks that predict a label or numbers from an input."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError

from zoo.errors import InputError
from zoo.functional.likelihoods import gaussian_log_prob
from zoo.metrics.regression import R2
from zoo.task import Task


class Classifier(Task):
    """A task whose network gives one score per class: cross-entropy and accuracy.

    Loss: −Σ_k q_k log softmax(logits)_k, with q the one-hot label smoothed by ``label_smoothing``.

    Args:
        num_classes: K.
        label_smoothing: mass spread evenly over all classes in the loss, default 0.
        mixup: α of the share λ ~ Beta(α, α) by which each training input is mixed with another of
            its batch, x̃ = λ x + (1−λ) x′, and the loss likewise; default 0, none (Zhang et al.,
            2018).
        **task: see :class:`Task`.

    Batch: (x, y) with y int64 class indices, (B,).

    Raises:
        InputError: labels that are no classes, in the first batch of a pass.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "nll": "cross-entropy, nats",
        "accuracy": "fraction of samples classified correctly",
        "robust_accuracy": "fraction classified correctly without an attack and under it",
        "divergence": "KL(p(x) ‖ p(x′)) of TRADES, x′ under attack, nats",
        "ece": "expected calibration error: |confidence − accuracy| over 15 bins",
    }

    mixes: ClassVar[bool] = True  # whether a weighted mean of two inputs is an input

    def __init__(
        self, num_classes: int, label_smoothing: float = 0.0, mixup: float = 0.0, **task: Any
    ) -> None:
        super().__init__(**task)
        if num_classes < 2:
            raise ValueError(
                f"a classifier needs at least two classes, got num_classes={num_classes}"
            )
        if mixup < 0:
            raise ValueError(f"mixup must not be negative, got {mixup}")
        if mixup and not self.mixes:
            raise ValueError(f"{type(self).__name__} has no mixup: its inputs cannot be added")
        self.num_classes = num_classes

    def logits(self, x: Tensor) -> Tensor:
        """Scores before the softmax, (B, ...) → (B, K): no logging, no state, differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no logits(x)")

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def scores(self, x: Tensor) -> Tensor:
        """What ``parts`` is computed from: the logits; an ensemble has one set for each member."""
        return self.logits(x)

    def parts(self, scores: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Loss and named parts from scores and classes."""
        nll = F.cross_entropy(scores, y)
        smoothing = self.hparams["label_smoothing"]
        loss = F.cross_entropy(scores, y, label_smoothing=smoothing) if smoothing else nll
        return {"loss": loss, "nll": nll, "accuracy": (scores.argmax(1) == y).float().mean()}

    def probabilities(self, scores: Tensor) -> Tensor:
        """Class probabilities, (B, K)."""
        return scores.softmax(1)

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Scores and classes of what a batch asks for."""
        x, y = batch
        return self.scores(x), y

    def step(self, batch: Any) -> dict[str, Any]:
        alpha = self.hparams["mixup"]
        if self.training and alpha:
            x, y = batch
            return self._mixed_step(x, y, alpha)
        scores, y = self.judged(batch)
        parts: dict[str, Any] = self.parts(scores, y)
        if not self.training:
            parts["outputs"] = (self.probabilities(scores.detach()), y)
        return parts

    def _mixed_step(self, x: Tensor, y: Tensor, alpha: float) -> dict[str, Any]:
        share = torch.distributions.Beta(alpha, alpha).sample().to(x)
        partner = torch.randperm(len(x), device=x.device)
        scores = self.scores(torch.lerp(x[partner], x, share))
        one, other = self.parts(scores, y), self.parts(scores, y[partner])
        return {name: torch.lerp(other[name], one[name], share.to(one[name])) for name in one}

    # -- bad input ------------------------------------------------------------------------------

    def labels_of(self, batch: Any) -> Any:
        """Classes of what a batch asks for, of any shape; None where it has none."""
        if isinstance(batch, tuple | list):
            return batch[1] if len(batch) > 1 else None
        return getattr(batch, "y", None)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._check_labels(batch, batch_idx)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        self._check_labels(batch, batch_idx)

    def on_test_batch_start(self, batch: Any, batch_idx: int, *_: Any) -> None:
        self._check_labels(batch, batch_idx)

    def _check_labels(self, batch: Any, batch_idx: int) -> None:
        """The first batch of a pass: to look at each one would stop the device in every step."""
        if batch_idx:
            return
        y = self.labels_of(batch)
        if not isinstance(y, Tensor) or y.is_floating_point() or not y.numel():
            return
        low, high = (int(v) for v in y.aminmax())
        if low < 0 or high >= self.num_classes:
            raise InputError(
                f"the data has labels {low} to {high}, {type(self).__name__} was made for "
                f"num_classes={self.num_classes}: 0 to {self.num_classes - 1}"
            )

    def make_metrics(self) -> dict[str, Metric]:
        return {"ece": MulticlassCalibrationError(self.num_classes, n_bins=15)}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        probabilities = self.probabilities(self.judged(batch)[0])
        return {"class": probabilities.argmax(1), "probabilities": probabilities}


class Regressor(Task):
    """A task whose network gives numbers, and perhaps how far they may be off.

    Loss: (1/BT) Σ (ŷ − y)², or, for a model that predicts variances too, −log N(y; ŷ, σ²) summed
    over the targets, mean over the batch.

    A subclass provides ``predict``, or ``moments`` where it predicts variances.

    Args:
        num_targets: T, numbers per sample.
        **task: see :class:`Task`.

    Batch: (x, y) with y float, (B, T), or (B,) for one target.

    Raises:
        ValueError: targets of another shape than the predictions.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "mse": "squared error, mean over samples and targets, in the targets' units²",
        "mae": "absolute error, mean over samples and targets, in the targets' units",
        "nll": "−log N(y; mean, variance), nats per sample, summed over targets",
        "r2": "share of the targets' variance that is explained",
    }

    def __init__(self, num_targets: int, **task: Any) -> None:
        super().__init__(**task)
        if num_targets < 1:
            raise ValueError(f"a regressor needs a target, got num_targets={num_targets}")
        self.num_targets = num_targets

    def predict(self, x: Tensor) -> Tensor:
        """(B, ...) → (B, T): no logging, no state, differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no predict(x)")

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x)

    def moments(self, x: Tensor) -> Tensor:
        """Mean alone, (B, ...) → (B, T, 1), or mean and variance of each target, (B, T, 2)."""
        return self.predict(x)[..., None]

    def loss(self, moments: Tensor, y: Tensor) -> Tensor:
        """What training minimises, without the penalties."""
        return gaussian_nll(moments, y) if _has_variance(moments) else _mse(moments, y)

    def parts(self, moments: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Loss and named parts from moments and targets."""
        parts = {
            "loss": self.loss(moments, y),
            "mse": _mse(moments, y),
            "mae": (moments[..., 0] - y).abs().mean(),
        }
        return parts | ({"nll": gaussian_nll(moments, y)} if _has_variance(moments) else {})

    def step(self, batch: Any) -> dict[str, Any]:
        moments = self.moments(batch[0])
        prediction = moments[..., 0]
        y = self._targets(batch[1], prediction)
        return {**self.parts(moments, y), "outputs": (prediction.detach(), y)}

    @staticmethod
    def _targets(y: Tensor, prediction: Tensor) -> Tensor:
        """Targets in the shape of the predictions; broadcasting here would be a silent error."""
        y = y[:, None] if y.ndim == 1 else y
        if y.shape != prediction.shape:
            raise ValueError(f"targets {tuple(y.shape)} for predictions {tuple(prediction.shape)}")
        return y.to(prediction)

    def make_metrics(self) -> dict[str, Metric]:
        return {"r2": R2()}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        moments = self.moments(batch[0])
        spread = {"variance": moments[..., 1]} if _has_variance(moments) else {}
        return {"prediction": moments[..., 0], **spread}


def gaussian_nll(moments: Tensor, y: Tensor) -> Tensor:
    """−log N(y; mean, variance) in nats, summed over targets, mean over the batch.

    Args:
        moments: mean and variance, (B, T, 2).
        y: targets, (B, T).
    """
    mean, variance = moments.unbind(-1)
    return -gaussian_log_prob(mean, 0.5 * variance.log(), y).mean()


def _mse(moments: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(moments[..., 0], y)


def _has_variance(moments: Tensor) -> bool:
    return moments.shape[-1] == 2
