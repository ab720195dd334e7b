"""MultiLabelClassifier: any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

from zoo.core.classification import Classifier, class_weight_tensor
from zoo.core.create import create_model
from zoo.core.predictions import column
from zoo.core.registry import import_class, recipe_for
from zoo.core.task import Task
from zoo.errors import InputError, check_at_least
from zoo.functional.precision import widen


class MultiLabelClassifier(Task):
    """Classifier that predicts any number of K labels: p(label k | x) = σ(logit_k(x)).

    The logits are those of one of the zoo's classifiers. Loss: binary cross-entropy
    −Σ_k [w_k y_k log p_k + (1 − y_k) log(1 − p_k)], mean over samples. A label is predicted where
    p_k ≥ ½.

    Args:
        input_shape: shape of one sample.
        num_classes: number of labels, K.
        network: name of the recipe of the classifier that computes the logits, default ``cnn``.
        network_settings: arguments of that classifier, default those of the recipe; the optimizer
            and schedule are arguments of this model instead.
        class_weights: weight w_k of each label where it is present, default none.
        **task: see :class:`~zoo.core.task.Task`.

    Shapes: (B, *input_shape) → logits (B, K).

    Batch: (x, y) with y float (B, K), 1 where a sample has a label and 0 elsewhere.

    Raises:
        InputError: a network that is not a classifier with one output per label; weights out of
            range; labels that are not zeros and ones.
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "loss": "binary cross-entropy with the weights of the labels, summed over labels, nats",
        "nll": "binary cross-entropy, summed over labels, nats per sample",
        "accuracy": "fraction of labels predicted correctly, present or absent",
        "exact_match": "fraction of samples of which all labels are predicted correctly",
        "f1": "harmonic mean of precision and recall, mean over labels",
        "mean_average_precision": "area under the precision-recall curve, mean over labels",
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        network: str = "cnn",
        network_settings: dict[str, Any] | None = None,
        class_weights: tuple[float, ...] | None = None,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        check_at_least(2, num_classes=num_classes)
        self.input_shape, self.num_classes = tuple(input_shape), num_classes
        weights = class_weight_tensor(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)

    class_weights: Tensor | None

    def build(self) -> None:
        self.network = self.make_network()

    def make_network(self) -> Classifier:
        """Create the classifier that computes the logits."""
        name, settings = self.hparams["network"], self.hparams["network_settings"] or {}
        cls = import_class(recipe_for(name)[1]["model"]["class_path"])
        if not issubclass(cls, Classifier) or not cls.has_output_per_class:
            raise InputError(
                f"network must be a classifier with one output per class, such as cnn, mlp or "
                f"resnet, got {name!r}"
            )
        data = {
            "input_shape": self.input_shape,
            "num_classes": self.num_classes,
            "class_weights": None,
        }
        model: Any = create_model(name, **{**settings, **data})
        return model

    def logits(self, x: Tensor) -> Tensor:
        """Compute the logits, (B, *input_shape) → (B, K)."""
        return self.network.logits(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return len(batch[0]), self.num_classes

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        logits = widen(self.logits(x))
        nll = self._cross_entropy(logits, y, None)
        is_weighted = self.class_weights is not None
        correct = (logits >= 0) == (y > 0)
        parts: dict[str, Any] = {
            "loss": self._cross_entropy(logits, y, self.class_weights) if is_weighted else nll,
            "nll": nll,
            "accuracy": correct.float().mean(),
            "exact_match": correct.all(1).float().mean(),
        }
        if not self.training:
            parts["outputs"] = logits.detach().sigmoid(), y.int()
        return parts

    @staticmethod
    def _cross_entropy(logits: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        total = F.binary_cross_entropy_with_logits(
            logits, y.to(logits), pos_weight=weights, reduction="sum"
        )
        return total / len(logits)

    def check_batch(self, batch: Any) -> None:
        super().check_batch(batch)
        y = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        if not isinstance(y, Tensor) or y.ndim != 2 or not ((y == 0) | (y == 1)).all():
            raise InputError(
                f"{type(self).__name__} needs zeros and ones, (B, {self.num_classes}), as labels: "
                "choose data with several labels, or for one class per sample a model such as cnn"
            )
        if y.shape[1] != self.num_classes:
            raise InputError(
                f"the data have {y.shape[1]} labels, but num_classes={self.num_classes}"
            )

    def make_metrics(self) -> dict[str, Metric]:
        return {
            "f1": MultilabelF1Score(self.num_classes),
            "mean_average_precision": MultilabelAveragePrecision(self.num_classes),
        }

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        probabilities = widen(self.logits(batch[0])).sigmoid()
        return {"labels": probabilities >= 0.5, "probabilities": probabilities}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the names of the predicted labels, joined by ``|``, and all probabilities."""
        names = list(getattr(data, "class_names", None) or [])
        if len(names) != self.num_classes:
            names = [str(k) for k in range(self.num_classes)]
        found = [
            "|".join(name for name, is_present in zip(names, row, strict=True) if is_present)
            for row in outputs["labels"].tolist()
        ]
        probabilities = outputs["probabilities"]
        return {
            "labels": found,
            **{f"p({name})": column(probabilities[:, k]) for k, name in enumerate(names)},
        }
