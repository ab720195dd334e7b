"""Classifier: a task that predicts one of K classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError

from zoo.core.predictions import class_columns
from zoo.core.task import Task
from zoo.errors import (
    InputError,
    check_at_least,
    check_non_negative,
    check_positive,
    check_probability,
)
from zoo.functional.precision import widen
from zoo.metrics.classification import BalancedAccuracy


class Classifier(Task):
    """A task that predicts one of K classes by cross-entropy.

    Loss: −Σ_k q_k log softmax(logits)_k, where q is the one-hot label smoothed by
    ``label_smoothing``. A subclass provides ``logits``.

    Args:
        num_classes: number of classes, K.
        label_smoothing: probability mass distributed evenly over all classes in the loss, default
            0.
        mixup: α of mixup, default 0 (none): each training input is interpolated with another of its
            batch, x̃ = λ x + (1−λ) x′ with λ ~ Beta(α, α), and so is the loss (Zhang et al., mixup:
            Beyond empirical risk minimization, 2018).
        class_weights: weight w_k of each class in the loss, which becomes the mean of w_y · loss
            over samples; default none. Other parts and metrics have no weights.
        **task: see :class:`~zoo.core.task.Task`.

    Batch: (x, y) with y int64 class indices, (B,).

    Raises:
        InputError: numbers out of range; labels in the first batch of an epoch that are not class
            indices.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "nll": "cross-entropy, nats",
        "accuracy": "fraction of samples classified correctly",
        "robust_accuracy": "fraction classified correctly both without and under attack",
        "divergence": "KL(p(x) ‖ p(x′)) of TRADES, x′ under attack, nats",
        "balanced_accuracy": "recall of each class, mean over classes",
        "ece": "expected calibration error: mean |confidence − accuracy| over 15 bins",
    }

    #: whether every logit is an output of its own, and not 0 for one class or normalized
    has_output_per_class: ClassVar[bool] = True

    class_weights: Tensor | None

    #: whether a weighted mean of two inputs is a valid input
    supports_mixup: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        class_weights: tuple[float, ...] | None = None,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(2, num_classes=num_classes)
        check_probability(label_smoothing=label_smoothing)
        check_non_negative(mixup=mixup)
        if mixup and not self.supports_mixup:
            raise InputError(
                f"{type(self).__name__} does not support mixup, as its inputs cannot be averaged: "
                "leave mixup at 0"
            )
        self.num_classes = num_classes
        weights = class_weight_tensor(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)

    def logits(self, x: Tensor) -> Tensor:
        """Compute the logits, (B, ...) → (B, K): no logging, no state, differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no logits(x)")

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return len(batch[0]), self.num_classes

    def scores(self, x: Tensor) -> Tensor:
        """Compute the input of ``parts``: the logits; for an ensemble, those of every member."""
        return self.logits(x)

    def parts(self, scores: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Compute the loss and named parts from scores and class indices."""
        nll = F.cross_entropy(scores, y)
        is_plain = self.class_weights is None and not self.hparams["label_smoothing"]
        loss = nll if is_plain else self.cross_entropy(scores, y)
        return {"loss": loss, "nll": nll, "accuracy": (scores.argmax(1) == y).float().mean()}

    def cross_entropy(self, scores: Tensor, y: Tensor) -> Tensor:
        """Compute the cross-entropy with label smoothing and class weights, mean over samples."""
        smoothing = self.hparams["label_smoothing"]
        if self.class_weights is None:
            return F.cross_entropy(scores, y, label_smoothing=smoothing)
        losses = F.cross_entropy(scores, y, label_smoothing=smoothing, reduction="none")
        return (self.class_weights[y] * losses).mean()

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return class probabilities, (B, K)."""
        return scores.softmax(1)

    def scores_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return the scores and class indices of the labeled samples, nodes or vertices."""
        x, y = batch
        return self.scores(x), y

    def step(self, batch: Any) -> dict[str, Any]:
        alpha = self.hparams["mixup"]
        if self.training and alpha:
            x, y = batch
            return self._mixup_step(x, y, alpha)
        scores, y = self.scores_and_labels(batch)
        scores = widen(scores)
        parts: dict[str, Any] = self.parts(scores, y)
        if not self.training:
            parts["outputs"] = (self.probabilities(scores.detach()), y)
        return parts

    def _mixup_step(self, x: Tensor, y: Tensor, alpha: float) -> dict[str, Any]:
        weight = torch.distributions.Beta(alpha, alpha).sample().to(x)
        partner = torch.randperm(len(x), device=x.device)
        scores = widen(self.scores(torch.lerp(x[partner], x, weight)))
        own, other = self.parts(scores, y), self.parts(scores, y[partner])
        return {name: torch.lerp(other[name], own[name], weight.to(own[name])) for name in own}

    # -- input checks ---------------------------------------------------------------------------

    def labels(self, batch: Any) -> Any:
        """Return the labels of a batch, of any shape; None if it has none."""
        if isinstance(batch, tuple | list):
            return batch[1] if len(batch) > 1 else None
        return getattr(batch, "y", None)

    def check_batch(self, batch: Any) -> None:
        super().check_batch(batch)
        y = self.labels(batch)
        if not isinstance(y, Tensor) or not y.numel():
            return
        if y.is_floating_point():
            raise InputError(
                f"{type(self).__name__} needs class indices, but the data have numbers: choose "
                "multi_label for several labels per sample, or a regression model"
            )
        low, high = (int(v) for v in y.aminmax())
        if low < 0 or high >= self.num_classes:
            raise InputError(
                f"labels must be 0 to {self.num_classes - 1} for num_classes={self.num_classes}, "
                f"the data has {low} to {high}: choose other data or num_classes"
            )

    def make_metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {
            "ece": MulticlassCalibrationError(self.num_classes, n_bins=15)
        }
        if self.class_weights is not None:
            metrics["balanced_accuracy"] = BalancedAccuracy(self.num_classes)
        return metrics

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        probabilities = self.probabilities(widen(self.scores_and_labels(batch)[0]))
        return {"class": probabilities.argmax(1), "probabilities": probabilities}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the class of each sample by name, its probability, and those of all classes."""
        return class_columns(outputs["probabilities"], getattr(data, "class_names", None))


def class_weight_tensor(weights: Sequence[float] | None, num_classes: int) -> Tensor | None:
    """Return the weights of the classes, (K,), or None without weights.

    Raises:
        InputError: a weight is not positive, or they are not ``num_classes`` numbers.
    """
    if weights is None:
        return None
    check_positive(class_weights=weights)
    if len(weights) != num_classes:
        raise InputError(
            f"class_weights must be {num_classes} numbers, one for each class, got {len(weights)}"
        )
    return torch.tensor(weights)
