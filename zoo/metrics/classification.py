"""Metrics of classifiers."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Balanced accuracy: recall of each class, mean over the classes that have samples.

    Args:
        num_classes: number of classes, K.

    Inputs: logits or probabilities (B, K), and class indices (B,).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)

    def compute(self) -> Tensor:
        counts = super().compute()  # rows: classes, columns: predictions
        samples = counts.sum(1)
        return (counts.diagonal() / samples)[samples > 0].mean()
