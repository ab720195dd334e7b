"""PointSegmenter: segmentation of point clouds into parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from zoo.core.predictions import column
from zoo.models.geometric.point_model import PointModel
from zoo.networks.point_clouds import PointFeatures, SharedMLP


class PointSegmenter(PointModel):
    """Segmentation of point clouds: a classifier of their points, by an MLP on each point.

    Args:
        num_classes: number of parts of all shapes together, K.
        **points: see :class:`~zoo.models.geometric.point_model.PointModel`.

    Shapes: (B, N, 3) → logits (B, N, K).

    Batch: (x, y), points (B, N, 3) and the index of each point's part (B, N).
    """

    metric_notes: ClassVar[dict[str, str]] = {
        "accuracy": "fraction of points classified correctly",
        "iou": "intersection over union of predicted and true points, mean over parts",
    }

    def build(self) -> None:
        hp, width = self.hparams, self.hparams["width"]
        self.network = self.make_network(per_point=True)
        self.head = nn.Sequential(
            SharedMLP([self.network.point_dim, 4 * width, 2 * width]),
            nn.Dropout(hp["dropout"]),
            nn.Linear(2 * width, self.num_classes),
        )

    def logits_from_features(self, features: PointFeatures) -> Tensor:
        return self.head(features.points)

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return (*batch[1].shape, self.num_classes)

    def make_metrics(self) -> dict[str, Metric]:
        return super().make_metrics() | {"iou": MulticlassJaccardIndex(self.num_classes)}

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        probabilities = self.logits(batch[0]).softmax(-1)  # (B, N, K)
        return {"class": probabilities.argmax(-1), "probabilities": probabilities}

    def prediction_columns(self, outputs: dict[str, Tensor], data: Any) -> dict[str, Sequence[Any]]:
        """Return the fraction of each cloud's points in each part."""
        fractions = F.one_hot(outputs["class"], self.num_classes).float().mean(1)  # (B, K)
        names = data.class_names
        return {f"fraction({name})": column(fractions[:, k]) for k, name in enumerate(names)}

    @torch.no_grad()
    def segment(self, x: Tensor) -> Tensor:
        """Return the most likely part of each point, (B, N, 3) → (B, N)."""
        return self.logits(x).argmax(-1)
